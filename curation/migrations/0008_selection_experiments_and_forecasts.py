from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0007_views_threads_and_bulk_decisions'),
    ]

    operations = []

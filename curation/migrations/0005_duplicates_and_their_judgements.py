from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0004_labels_of_every_task_type'),
    ]

    operations = []

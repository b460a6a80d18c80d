from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0009_snapshot_checks_comments_and_tombstones'),
    ]

    operations = []

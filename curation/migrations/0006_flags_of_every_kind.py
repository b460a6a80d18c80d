from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0005_duplicates_and_their_judgements'),
    ]

    operations = []

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0006_flags_of_every_kind'),
    ]

    operations = []

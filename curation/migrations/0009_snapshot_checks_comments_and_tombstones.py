from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0008_selection_experiments_and_forecasts'),
    ]

    operations = []

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("training", "0004_task_types")]
    operations = []

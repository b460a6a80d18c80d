from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("training", "0007_recipes")]
    operations = []

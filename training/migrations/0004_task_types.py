from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("training", "0003_arms_learned_by_lora")]
    operations = []

from django.db import migrations

from projects.immutable import forbid_change


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]
    operations = [forbid_change("training_run", "training_evaluation", "training_verdict", "training_testlook")]

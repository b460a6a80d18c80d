from django.db import migrations

from projects.immutable import forbid_change


class Migration(migrations.Migration):
    dependencies = [("labeling", "0001_initial")]
    operations = [forbid_change("labeling_annotation")]

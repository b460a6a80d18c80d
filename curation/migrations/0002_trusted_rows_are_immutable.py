from django.db import migrations

from projects.immutable import forbid_change


class Migration(migrations.Migration):
    dependencies = [("curation", "0001_initial")]
    operations = [forbid_change("curation_decision", "curation_snapshot", "curation_snapshotrow", "curation_approval")]

from django.db import migrations

from projects.immutable import Blanking, forbid_change_but


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0009_executors"),
        ("curation", "0009_snapshot_checks_comments_and_tombstones"),
    ]
    operations = [
        # An example that its prompt quotes was erased; the prompt's hash stays: see training.services.quoting.
        forbid_change_but("training_run", Blanking(
            {}, "EXISTS (SELECT 1 FROM curation_erasure JOIN curation_snapshot USING (project_id) "
                "WHERE curation_snapshot.id = OLD.snapshot_id)", inside={"config": ("prompt", "shots")})),
    ]

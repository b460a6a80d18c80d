from django.db import migrations

from projects.immutable import Blanking, forbid_change_but


class Migration(migrations.Migration):
    dependencies = [("training", "0010_a_quoted_example_may_be_erased")]
    operations = [
        # Since people write prompts, an erased text may stand in any words of one; all around the prompt stays.
        forbid_change_but("training_run", Blanking(
            {}, "EXISTS (SELECT 1 FROM curation_erasure JOIN curation_snapshot USING (project_id) "
                "WHERE curation_snapshot.id = OLD.snapshot_id)", inside={"config": ("prompt",)})),
    ]

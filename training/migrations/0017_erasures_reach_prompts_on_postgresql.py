from django.db import migrations

from projects.immutable import Blanking, forbid_change_but


class Migration(migrations.Migration):
    """The same rules as before, said again: on PostgreSQL their functions took a path in two braces, and failed."""

    dependencies = [("training", "0016_promotions")]
    operations = [
        forbid_change_but("training_run", Blanking(
            {}, "EXISTS (SELECT 1 FROM curation_erasure JOIN curation_snapshot USING (project_id) "
                "WHERE curation_snapshot.id = OLD.snapshot_id)", inside={"config": ("prompt",)})),
        forbid_change_but("training_promptversion", Blanking(
            {}, "EXISTS (SELECT 1 FROM curation_erasure WHERE curation_erasure.project_id = OLD.project_id)",
            inside={"content": ("words",)})),
    ]

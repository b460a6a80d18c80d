from django.db import migrations

from projects.immutable import Blanking, forbid_change_but


class Migration(migrations.Migration):
    dependencies = [("curation", "0010_maps")]
    operations = [
        # The words of its filter were looked for in a text that is erased: see curation.services.erasing.
        forbid_change_but("curation_bulkdecision", Blanking(
            {"query": ["'[erased]'"], "reason": ["''"]},
            "EXISTS (SELECT 1 FROM curation_erasure WHERE project_id = OLD.project_id)")),
    ]

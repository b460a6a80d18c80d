import django.db.models.deletion
from django.db import migrations, models

from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [("training", "0008_evaluations")]
    operations = [
        migrations.AddField(
            model_name="run",
            name="executor",
            field=models.CharField(default="local", help_text="what trains it: a name of EXECUTORS", max_length=20),
        ),
        migrations.CreateModel(
            name="Submission",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bundle_id", models.CharField(help_text="sha256 of the bundle's SHA256SUMS", max_length=64)),
                ("remote_id", models.CharField(blank=True, help_text="the job's name on a cluster", max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("run", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="submissions",
                                          to="training.run")),
            ],
            options={"ordering": ["pk"]},
        ),
        migrations.AddConstraint(
            model_name="submission",
            constraint=models.UniqueConstraint(fields=("run", "bundle_id", "remote_id"),
                                               name="a_bundle_is_submitted_once_under_a_name"),
        ),
        forbid_change("training_run", "training_submission"),
    ]

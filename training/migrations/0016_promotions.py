import django.db.models.deletion
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Q

from projects.immutable import forbid_change


def write_what_the_audit_log_tells(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """A row of every promotion and roll-back so far; all of them were of adapters."""
    promotions, users = apps.get_model("training", "Promotion"), apps.get_model("auth", "User")
    runs = dict(apps.get_model("training", "Adapter").objects.values_list("pk", "run_id"))
    verdicts, serving = apps.get_model("training", "Verdict"), {}
    for event in apps.get_model("projects", "AuditEvent").objects.filter(what__in=("promote", "roll_back")).order_by(
            "project_id", "sequence"):
        detail, run = event.detail, runs.get(event.detail.get("adapter"))
        if run is None:
            continue
        best = verdicts.objects.filter(snapshot__project=event.project_id, created_at__lte=event.at).order_by(
            "-pk").values_list("best_prompt_id", flat=True).first()
        way = "rolled_back" if event.what == "roll_back" else "proven" if detail.get("allowed") else "overridden"
        promotions.objects.create(
            project_id=event.project_id, run_id=run, instead_of_id=serving.get(event.project_id, best), way=way,
            reason=detail.get("reason", "") or detail.get("override", "") or ("" if way == "proven" else "not said"),
            by=users.objects.filter(username=event.who).first(), created_at=event.at)
        serving[event.project_id] = run


class Migration(migrations.Migration):

    dependencies = [
        ("projects", "0002_audit_is_append_only"),
        ("training", "0015_redacted_predictions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Promotion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("way", models.CharField(choices=[
                    ("proven", "with the proof that the gate asks for"),
                    ("overridden", "against the gate, for a reason"),
                    ("rolled_back", "back to an earlier one, for a reason")], max_length=11)),
                ("reason", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("by", models.ForeignKey(
                    help_text="null: an account of this name is gone; the audit log has it", null=True,
                    on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL)),
                ("instead_of", models.ForeignKey(
                    help_text="what served until then; null: nothing did", null=True,
                    on_delete=django.db.models.deletion.PROTECT, related_name="+", to="training.run")),
                ("project", models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT, related_name="promotions", to="projects.project")),
                ("run", models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT, related_name="promotions", to="training.run")),
            ],
            options={
                "ordering": ["-pk"],
                "constraints": [models.CheckConstraint(
                    condition=Q(way="proven") | ~Q(reason=""),
                    name="a_champion_without_the_gates_proof_has_a_reason")],
            },
        ),
        forbid_change("training_promotion"),
        migrations.RunPython(write_what_the_audit_log_tells, migrations.RunPython.noop),
    ]

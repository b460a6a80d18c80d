"""Django's admin: superusers look, nobody writes. Its one action goes through the service that the page uses."""

from typing import Any

from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from curation.models import Approval, Decision, GoldSet, QualityReport, Snapshot
from jobs.models import Job, JobEvent
from labeling.models import Annotation, Annotator, Assignment, Batch, Desk, Example, Upload
from projects.errors import UserError
from projects.models import AuditEvent, Membership, Project
from projects.rights import can
from training.models import (
    Adapter,
    Cap,
    CriticalSlices,
    Evaluation,
    GeneralCheck,
    MergedExport,
    Price,
    ProjectEconomics,
    Quote,
    Receipt,
    Run,
    TestLook,
    Verdict,
    Weighing,
)
from training.services.runs import start_training

admin.site.site_header = admin.site.site_title = "Goldpan, read-only"
admin.site.index_title = "Everything, as it is in the database"
for model in (User, Group, EmailAddress):  # their own pages could edit
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class Looking(BaseModelAdmin):
    """Superusers may look; nobody adds, changes or deletes a row here."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return isinstance(request.user, User) and request.user.is_active and request.user.is_superuser

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnly(Looking, admin.ModelAdmin):
    list_per_page = 50
    show_full_result_count = False  # a second count of a large table


class ReadOnlyInline(Looking, admin.TabularInline):
    extra = 0


@admin.register(User)
class UserAdmin(ReadOnly):
    list_display = ("username", "is_active", "is_superuser", "last_login", "date_joined")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("username",)
    exclude = ("password", "groups", "user_permissions")


class MembershipInline(ReadOnlyInline):
    model = Membership


@admin.register(Project)
class ProjectAdmin(ReadOnly):
    list_display = ("name", "task_type", "target_metric", "target_value", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name",)
    inlines = (MembershipInline,)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = ("project", "sequence", "at", "who", "what", "detail")
    list_select_related = ("project",)
    list_filter = ("project", "what")
    search_fields = ("who", "what")
    ordering = ("project", "-sequence")


class JobEventInline(ReadOnlyInline):
    model = JobEvent


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ("id", "title", "project", "state", "stage", "attempt", "owner", "created_at", "finished_at")
    list_select_related = ("project",)
    list_filter = ("state", "kind", "project")
    search_fields = ("title", "error")
    inlines = (JobEventInline,)


@admin.register(Upload)
class UploadAdmin(ReadOnly):
    list_display = ("name", "project", "kind", "n_good", "n_bad", "n_imported", "created_by", "imported_at")
    list_select_related = ("project", "created_by")
    list_filter = ("project", "kind")


@admin.register(Example)
class ExampleAdmin(ReadOnly):
    list_display = ("key", "project", "split", "beginning", "group")
    list_select_related = ("project",)
    list_filter = ("project", "split")
    search_fields = ("key", "text")

    @admin.display(description="text")
    def beginning(self, example: Example) -> str:
        return example.text[:80]


@admin.register(Annotator)
class AnnotatorAdmin(ReadOnly):
    list_display = ("name", "project", "user", "ls_email", "ls_user_id")
    list_select_related = ("project", "user")
    list_filter = ("project",)
    exclude = ("ls_password_encrypted",)


@admin.register(Annotation)
class AnnotationAdmin(ReadOnly):
    list_display = ("id", "example", "annotator", "value", "skipped", "retracted", "source", "seconds")
    list_select_related = ("example", "annotator")
    list_filter = ("source", "skipped", "retracted")
    search_fields = ("example__key", "annotator__name")
    ordering = ("-id",)


@admin.register(Batch)
class BatchAdmin(ReadOnly):
    list_display = ("number", "title", "project", "state", "n_labels", "max_labels", "vendor", "created_at")
    list_select_related = ("project",)
    list_filter = ("project", "state")


@admin.register(Assignment)
class AssignmentAdmin(ReadOnly):
    list_display = ("id", "example", "annotator", "purpose", "state", "reserved_at", "expires_at", "ended_at")
    list_select_related = ("example", "annotator")
    list_filter = ("state", "purpose")
    search_fields = ("example__key",)


@admin.register(Desk)
class DeskAdmin(ReadOnly):
    list_display = ("annotator", "project", "url", "ls_project_id", "state", "pulled_at", "reconciled_at")
    list_select_related = ("project", "annotator")
    exclude = ("webhook_secret",)


@admin.register(QualityReport)
class QualityReportAdmin(ReadOnly):
    list_display = ("id", "project", "n_examples", "n_scored", "n_issues", "n_clusters", "n_crossing", "created_at")
    list_select_related = ("project",)
    list_filter = ("project",)


@admin.register(Decision)
class DecisionAdmin(ReadOnly):
    list_display = ("id", "example", "verdict", "value", "reason", "decided_by", "created_at")
    list_select_related = ("example", "decided_by")
    list_filter = ("verdict",)
    search_fields = ("example__key", "reason")
    ordering = ("-id",)


@admin.register(GoldSet)
class GoldSetAdmin(ReadOnly):
    list_display = ("project", "size", "min_quality", "min_per_label", "allow_flagged", "seed", "edited_at")
    list_select_related = ("project",)


class ApprovalInline(ReadOnlyInline):
    model = Approval
    fields = ("decision", "approver", "self_approved", "comment")


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnly):
    list_display = ("number", "project", "train", "dev", "test", "decision", "created_by", "created_at", "hash")
    list_select_related = ("project", "created_by", "approval")
    list_filter = ("project",)
    ordering = ("project", "-number")
    inlines = (ApprovalInline,)
    actions = ("start_lora_run",)

    @admin.display
    def hash(self, snapshot: Snapshot) -> str:
        return f"{snapshot.sha256[:12]}…"

    @admin.display
    def train(self, snapshot: Snapshot) -> int:
        return int(snapshot.counts["train"])

    @admin.display
    def dev(self, snapshot: Snapshot) -> int:
        return int(snapshot.counts["dev"])

    @admin.display
    def test(self, snapshot: Snapshot) -> int:
        return int(snapshot.counts["test"])

    @admin.display(description="approval")
    def decision(self, snapshot: Snapshot) -> str:
        return snapshot.approval.decision if hasattr(snapshot, "approval") else "waits"

    @admin.action(description="Start a LoRA run")
    def start_lora_run(self, request: HttpRequest, snapshots: QuerySet[Snapshot]) -> None:
        """The same service as on the training page, for a person who may train in the snapshot's project."""
        assert isinstance(request.user, User)
        for snapshot in snapshots.select_related("project"):
            if not can(request.user, "train", snapshot.project):
                self.message_user(request, f"Only an admin of “{snapshot.project}” starts a training run; "
                                  f"{request.user} is none.", messages.ERROR)
                continue
            try:
                run = start_training(snapshot, by=request.user)
            except UserError as error:
                self.message_user(request, f"{snapshot} of “{snapshot.project}”: {error}", messages.ERROR)
            else:
                self.message_user(request, f"{run} waits for a worker.", messages.SUCCESS)


class EvaluationInline(ReadOnlyInline):
    model = Evaluation
    fields = ("split", "n", "n_right", "seconds", "predictions_sha256")


@admin.register(Run)
class RunAdmin(ReadOnly):
    list_display = ("id", "kind", "project_name", "snapshot", "state", "created_by", "created_at", "overridden")
    list_select_related = ("snapshot__project", "job", "created_by")
    list_filter = ("kind", "snapshot__project")
    inlines = (EvaluationInline,)

    @admin.display(description="project")
    def project_name(self, run: Run) -> str:
        return run.project.name

    @admin.display
    def state(self, run: Run) -> str:
        return run.job.state

    @admin.display(boolean=True, description="against the gate")
    def overridden(self, run: Run) -> bool:
        return bool(run.override_reason)


@admin.register(Verdict)
class VerdictAdmin(ReadOnly):
    list_display = ("snapshot", "outcome", "best_prompt", "target_value", "lower", "upper", "created_at")
    list_select_related = ("snapshot", "best_prompt")


@admin.register(Weighing)
class WeighingAdmin(ReadOnly):
    list_display = ("verdict", "outcome", "next_step", "economics", "quote", "created_at")
    list_select_related = ("verdict", "economics", "quote")


@admin.register(ProjectEconomics)
class ProjectEconomicsAdmin(ReadOnly):
    list_display = ("project", "requests", "months", "value", "currency", "created_by", "created_at")
    list_select_related = ("project", "created_by")
    list_filter = ("project",)


@admin.register(Price)
class PriceAdmin(ReadOnly):
    list_display = ("kind", "name", "per_hour", "per_million_in", "per_million_out", "currency", "since", "source",
                    "is_withdrawn", "created_by")
    list_select_related = ("created_by",)
    list_filter = ("kind",)


@admin.register(Quote)
class QuoteAdmin(ReadOnly):
    list_display = ("id", "snapshot", "seconds", "peak_mb", "money", "currency", "cap_seconds", "created_by",
                    "created_at")
    list_select_related = ("snapshot", "created_by")


@admin.register(Cap)
class CapAdmin(ReadOnly):
    list_display = ("run", "quote", "seconds", "money", "created_by", "created_at")
    list_select_related = ("run", "quote", "created_by")


@admin.register(Receipt)
class ReceiptAdmin(ReadOnly):
    list_display = ("run", "quote", "seconds", "peak_mb", "money", "steps", "is_whole", "created_at")
    list_select_related = ("run", "quote")


@admin.register(CriticalSlices)
class CriticalSlicesAdmin(ReadOnly):
    list_display = ("project", "kinds", "created_by", "created_at")
    list_select_related = ("project", "created_by")


@admin.register(GeneralCheck)
class GeneralCheckAdmin(ReadOnly):
    list_display = ("adapter", "n", "n_base", "n_adapter", "p_value", "seconds", "created_at")
    list_select_related = ("adapter",)


@admin.register(MergedExport)
class MergedExportAdmin(ReadOnly):
    list_display = ("adapter", "sha256", "size", "n", "n_equal", "seconds", "created_at")
    list_select_related = ("adapter",)


@admin.register(TestLook)
class TestLookAdmin(ReadOnly):
    list_display = ("run", "project", "n", "at")
    list_select_related = ("run", "project")
    list_filter = ("project",)


@admin.register(Adapter)
class AdapterAdmin(ReadOnly):
    list_display = ("id", "project", "run", "stage", "created_at", "hashes")
    list_select_related = ("project", "run")
    list_filter = ("stage", "project")

    @admin.display
    def hashes(self, adapter: Adapter) -> str:
        return ", ".join(f"{name} {sha256[:12]}…" for name, sha256 in adapter.files.items())

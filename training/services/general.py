"""Asking a new adapter the general questions: has it forgotten what the base model knew?"""

import shutil

from django.conf import settings
from django.contrib.auth.models import User

from jobs.child import run_child
from jobs.models import Job
from jobs.progress import Progress
from jobs.services import completing, enqueue, work_folder
from projects.errors import UserError
from projects.services import audit
from training.general_suite import p_forgotten
from training.models import Adapter, GeneralCheck
from training.services.stored import materialise


def queue_general_check(adapter: Adapter, *, by: User | None, wake: bool = True) -> Job:
    """Queue the general questions; a check that is queued already is returned.

    Raises UserError if they have been asked.
    """
    if GeneralCheck.objects.filter(adapter=adapter).exists():
        raise UserError(f"{adapter} has been asked already; the questions and its weights stay as they are.")
    return enqueue("general_check", adapter.project, title=f"General questions to {adapter}", requested_by=by,
                   params={"adapter": adapter.pk}, dedupe_key=f"general:{adapter.pk}", wake=wake)


def run_general_check(job: Job, progress: Progress) -> None:
    adapter = Adapter.objects.select_related("project").get(pk=job.params["adapter"])
    folder = work_folder(job)
    found = run_child("training.general_suite", {
        "model": str(settings.GOLDPAN_BASE_MODEL), "adapter": str(materialise(adapter, folder / "adapter")),
        "threads": settings.GOLDPAN_THREADS}, folder=folder, progress=progress)
    with completing(job) as result:
        check = GeneralCheck.objects.create(
            adapter=adapter, suite_sha256=found["suite_sha256"], base_right=found["base"],
            adapter_right=found["adapter"], p_value=p_forgotten(found["base"], found["adapter"]),
            seconds=found["seconds"])
        said = {"adapter": adapter.pk, "n": check.n, "n_base": check.n_base, "n_adapter": check.n_adapter}
        audit(adapter.project, job.requested_by, "general_check", said)
        result |= said
    shutil.rmtree(settings.GOLDPAN_JOBS / str(job.pk), ignore_errors=True)

from django.http import HttpRequest

from jobs.models import Job


def running_jobs(request: HttpRequest) -> dict[str, int]:
    """How many jobs run or wait in what this person may see, for the header of every page."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {"n_running_jobs": Job.objects.visible_to(user).active().count()}

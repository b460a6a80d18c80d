from django.contrib.auth.models import User
from django.db.models import F, Func, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from jobs.models import Job
from projects.models import InboxItem


def header_counts(request: HttpRequest) -> dict[str, int]:
    """What the header of every page counts, in one query: jobs that run or wait in what this person may see, and
    notices that they have not read.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    me = OuterRef("pk")
    jobs = Job.objects.filter(state__in=Job.ACTIVE, project__memberships__user=me)
    unread = InboxItem.objects.filter(user=me, read_at=None, notice__project__memberships__user=me)
    n_jobs, n_unread = User.objects.filter(pk=user.pk).values_list(_number_of(jobs), _number_of(unread)).get()
    return {"n_running_jobs": n_jobs, "n_unread": n_unread}


def _number_of(rows: QuerySet) -> Subquery:
    number = Func(F("pk"), function="COUNT")  # Count() would group, and have no row where there is none
    return Subquery(rows.order_by().annotate(number=number).values("number"))

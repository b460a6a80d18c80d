import hmac

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from labeling.models import Desk
from labeling.services.sync import sync_soon
from projects.rights import public

WEBHOOK_MAX_BYTES = 1_000_000


@public
@csrf_exempt
@require_POST
def webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """Label Studio says that something changed. Its body is not read: what changed is found out by a round."""
    desk = Desk.objects.select_related("project").filter(pk=pk).first()
    expected = f"Bearer {desk.webhook_secret if desk else ''}"
    given = request.headers.get("Authorization", "")
    is_right = hmac.compare_digest(given.encode(), expected.encode())
    if desk is None or not is_right:  # nobody learns here which desks there are
        return HttpResponse("The secret is not right.\n", status=401, content_type="text/plain")
    if int(request.headers.get("Content-Length") or 0) > WEBHOOK_MAX_BYTES:
        return HttpResponse("At most 1 MB.\n", status=413, content_type="text/plain")
    sync_soon(desk)
    return HttpResponse("A round is queued.\n", status=202, content_type="text/plain")

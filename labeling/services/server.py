"""The Label Studio server that the settings name: its client, and its errors in words."""

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from labeling.label_studio import AuthFailed, LabelStudioError, NotFound
from labeling.models import Desk, LabelStudioToken
from projects.services.sealing import decrypt, encrypt


def label_studio() -> Any:
    """A client for the configured server, its token made and stored on the first use."""
    stored = LabelStudioToken.objects.filter(url=settings.GOLDPAN_LABEL_STUDIO_URL).first()
    if stored is None:
        bootstrap = import_string(settings.GOLDPAN_LABEL_STUDIO_BOOTSTRAP)
        token = bootstrap(settings.GOLDPAN_LABEL_STUDIO_URL, settings.GOLDPAN_LABEL_STUDIO_EMAIL,
                          settings.GOLDPAN_LABEL_STUDIO_PASSWORD)
        stored, _ = LabelStudioToken.objects.update_or_create(
            url=settings.GOLDPAN_LABEL_STUDIO_URL, defaults={"token_encrypted": encrypt(token)})
    return import_string(settings.GOLDPAN_LABEL_STUDIO_CLIENT)(stored.url, decrypt(stored.token_encrypted))


def note_trouble(error: LabelStudioError, *desks: Desk) -> None:
    """Write on the desks what is wrong, for the pages; a refused token is forgotten, so that the next try makes one."""
    state = (Desk.State.gone if isinstance(error, NotFound) else
             Desk.State.auth_failed if isinstance(error, AuthFailed) else Desk.State.unavailable)
    Desk.objects.filter(pk__in=[desk.pk for desk in desks]).update(state=state, message=str(error))
    if isinstance(error, AuthFailed):
        LabelStudioToken.objects.filter(url=settings.GOLDPAN_LABEL_STUDIO_URL).delete()

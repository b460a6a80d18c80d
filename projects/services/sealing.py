"""Secrets of others that have to be read again: encrypted in the database, the key is kept outside it."""

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from projects.errors import UserError


def encrypt(text: str) -> str:
    return Fernet(settings.GOLDPAN_FERNET_KEY).encrypt(text.encode()).decode()


def decrypt(text: str) -> str:
    """Raises UserError if it was written with another key."""
    try:
        return Fernet(settings.GOLDPAN_FERNET_KEY).decrypt(text.encode()).decode()
    except InvalidToken:
        raise UserError("A stored password, token or secret cannot be read: GOLDPAN_FERNET_KEY is not the key it was "
                        "written with. Put the old key back into secrets.env.") from None

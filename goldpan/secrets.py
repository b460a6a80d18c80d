"""The secrets of an installation: made at random on the first start, kept in one file only its owner can read."""

import os
import secrets
from pathlib import Path

NAMES = ("GOLDPAN_SECRET_KEY", "LABEL_STUDIO_SECRET_KEY", "LABEL_STUDIO_ADMIN_PASSWORD", "GOLDPAN_FERNET_KEY")


def load_secrets(path: Path) -> dict[str, str]:
    """Return the secrets in `path`, making the file (mode 0600) and missing entries at random first.

    The file's lines read NAME=value. Two processes that start at once agree: the first to link the file wins.
    """
    is_there = path.exists()
    known = _read(path)
    missing = [name for name in NAMES if name not in known]
    if not missing:
        return known
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in missing:
        known[name] = _fernet_key() if name == "GOLDPAN_FERNET_KEY" else secrets.token_urlsafe(48)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in known.items())
        file.flush()
        os.fsync(file.fileno())
    if is_there:
        temporary.replace(path)
    else:
        try:
            os.link(temporary, path)
        except FileExistsError:  # another process was first; its secrets are the ones
            known = _read(path)
        temporary.unlink()
    return known


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _fernet_key() -> str:
    import base64

    return base64.urlsafe_b64encode(os.urandom(32)).decode()

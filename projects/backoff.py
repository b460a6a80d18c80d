"""How long to wait before something that failed is tried again: longer each time, for about a day."""

FIRST_SECONDS = 30.0
LONGEST_SECONDS = 4 * 3600.0
MAX_TRIES = 15  # without jitter the last one comes 24 h 15 min after the first
JITTER = 0.2


def wait_seconds(n_tries: int, draw: float) -> float | None:
    """Return the seconds until the next try, or None if there is none: time to give up.

    n_tries: how often it was tried, 1 or more. The pause doubles from 30 s up to 4 h.
    draw: a random number in [0, 1) that moves the pause by up to a fifth either way, so that receivers which came back
    are not asked by everybody at once.
    """
    if n_tries < 1:
        raise ValueError(f"n_tries counts from 1, got {n_tries}")
    if n_tries >= MAX_TRIES:
        return None
    pause: float = min(FIRST_SECONDS * 2 ** (n_tries - 1), LONGEST_SECONDS)
    return pause * (1 - JITTER + 2 * JITTER * draw)

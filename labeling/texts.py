"""What makes two texts the same text, and which split an example belongs to, for ever."""

import hashlib
import unicodedata

SHARES = (0.64, 0.08, 0.28)  # of the groups that go to pool, dev and test


def normalise(text: str) -> str:
    """Return the text as it is compared: NFKC, case folded, each run of white space one space, none at the ends.

    normalise(normalise(text)) == normalise(text).
    """
    if text.isascii():  # NFKC changes no ASCII, and lower() is its case folding
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())  # folding can undo NFKC


def content_sha256(text: str) -> str:
    """Return the sha256 of the normalised text, 64 hex digits: equal exactly for texts that are compared as equal.

    Raises ValueError if the text has a lone surrogate.
    """
    return hashlib.sha256(normalise(text).encode()).hexdigest()


def split_of(group: str, salt: str, shares: tuple[float, float, float] = SHARES) -> str:
    """Return "pool", "dev" or "test", from sha256(salt, group) alone.

    shares: of pool, dev and test, each in [0, 1], together 1. Changing them moves groups, so they are locked at the
    first import.
    Raises ValueError if the shares do not add up to 1.
    """
    pool, dev, test = shares
    if min(shares) < 0 or abs(pool + dev + test - 1) > 1e-9:
        raise ValueError(f"shares must be at least 0 and add up to 1, got {shares}")
    digest = hashlib.sha256(f"{salt}\0{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < pool:
        return "pool"
    return "dev" if position < pool + dev else "test"

"""Passwords for people: random, easy to read aloud, shown once."""

import secrets

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no l, i, o, 0, 1


def new_password() -> str:
    """Four groups of four characters, about 79 bits."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))

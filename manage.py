#!/usr/bin/env python
"""Goldpan's commands: `python manage.py help`."""

import os
import sys

import goldpan  # noqa: F401  # swaps a newer SQLite in, before Django looks


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "goldpan.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

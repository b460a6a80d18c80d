from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, user_of
from projects.people import new_password


class Command(GoldpanCommand):
    help = "Give a user a new random password and print it once."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")

    def work(self, **options: Any) -> dict[str, Any]:
        user = user_of(options["user"])
        password = new_password()
        user.set_password(password)
        user.save(update_fields=["password"])
        return {"user": user.username, "password": password}

import signal
import sys
import traceback
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from goldpan.demo import StepFailed, hand_out_passwords, run_demo
from goldpan.last_screen import last_screen
from goldpan.verification import problems
from projects.errors import UserError


class Command(BaseCommand):
    help = "The demo's steps, for `manage.py demo`, which starts the servers and the worker they need."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true")

    def handle(self, *, once: bool, **options: Any) -> None:
        try:
            project = run_demo(self.stdout.write)
        except StepFailed as error:
            if not isinstance(error.__cause__, UserError):
                traceback.print_exception(error.__cause__)
            self.stdout.write(f"{error}\nThe logs are in var/log. Mend the cause, then run make demo again: it goes on "
                              "where it was.")
            sys.exit(1)
        for problem in problems():
            self.stdout.write(f"verify: {problem}")
        self.stdout.write(last_screen(project))
        passwords = hand_out_passwords()
        for user, password in passwords.items():
            self.stdout.write(f"Goldpan       {user:<28} {password}")
        if not once:
            call_command("addresses", stdout=self.stdout)
            signal.pause()

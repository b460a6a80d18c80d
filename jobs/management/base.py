import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from jobs import services
from jobs.models import Job
from projects.errors import UserError
from projects.models import Project


class GoldpanCommand(BaseCommand):
    """A command over one service: `--json` prints its result as one JSON object, a UserError is exit code 1.

    A subclass says what it takes in `arguments` and returns its result, a dict, from `work`; `say` turns the
    result into a sentence for people.
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        self.arguments(parser)

    def arguments(self, parser: ArgumentParser) -> None:
        raise CommandError("this command takes nothing")

    def work(self, **options: Any) -> dict[str, Any]:
        raise CommandError("this command does nothing")

    def say(self, result: dict[str, Any]) -> str:
        return ", ".join(f"{name}: {value}" for name, value in result.items())

    def exit_code(self, result: dict[str, Any]) -> int:
        """What the shell sees when the work came to its end; a result that is bad news can say so."""
        return 0

    def handle(self, **options: Any) -> None:
        self.quiet = options["json"]
        try:
            result = self.work(**options)
        except UserError as error:
            if self.quiet:
                self.stdout.write(json.dumps({"error": str(error)}))
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(result, default=str) if self.quiet else self.say(result))
        if code := self.exit_code(result):
            sys.exit(code)

    def finish(self, job: Job, *, on_worker: bool) -> Job:
        """Bring a queued job to its end, here or on a worker, with a progress line; raises UserError if it fails."""
        if not on_worker:
            services.run(job.pk)
        last = ""
        while True:
            job.refresh_from_db()
            line = f"{job.title}: {job.stage} {job.percent} %" if job.stage else f"{job.title}: {job.state}"
            if line != last and not self.quiet and sys.stderr.isatty():
                self.stderr.write(line)
                last = line
            if not job.is_active:
                break
            time.sleep(0.3)
        if job.state != Job.State.succeeded:
            raise UserError(f"{job.title}: {job.state}. {job.error}")
        return job


def add_project(parser: ArgumentParser) -> None:
    parser.add_argument("project", help="the project's name or number")


def add_by(parser: ArgumentParser) -> None:
    parser.add_argument("--by", help="the user name in whose name this is done; the project's creator if left out")


def add_worker(parser: ArgumentParser) -> None:
    parser.add_argument("--worker", action="store_true",
                        help="leave the job to a worker and wait, instead of running it here")


def project_of(name: str) -> Project:
    found = Project.objects.filter(pk=name) if name.isdigit() else Project.objects.filter(name=name)
    project = found.first()
    if project is None:
        there = ", ".join(f"“{project}”" for project in Project.objects.all()) or "none yet"
        raise UserError(f"There is no project “{name}”. The projects are: {there}.")
    return project


def user_of(name: str | None, project: Project | None = None) -> User:
    if name is None and project is not None:
        return project.created_by
    user = User.objects.filter(username=name).first()
    if user is None:
        raise UserError(f"There is no user “{name}”.")
    return user

from argparse import ArgumentParser

from curation.models import Snapshot
from jobs.management.base import add_project
from projects.errors import UserError
from projects.models import Project


def add_snapshot(parser: ArgumentParser) -> None:
    add_project(parser)
    parser.add_argument("--snapshot", type=int, help="its number; the newest if left out")


def snapshot_of(project: Project, number: int | None) -> Snapshot:
    found = Snapshot.objects.filter(project=project)
    snapshot = (found.filter(number=number) if number is not None else found).first()
    if snapshot is None:
        raise UserError(f"“{project}” has no snapshot{'' if number is None else f' {number}'}. Freeze one first.")
    return snapshot

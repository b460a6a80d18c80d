from argparse import ArgumentParser
from typing import Any
from urllib.parse import parse_qsl

from curation.models import BulkDecision, QualityReport
from curation.services.bulk_decisions import decide_all, look_at, undo_all
from curation.services.queue import Queue, read_filter
from curation.services.scoring import latest_report
from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from jobs.models import Job
from projects.errors import UserError
from projects.models import Project


class Command(GoldpanCommand):
    help = ("Decide about all examples of a filter at once. Without --action it only counts them; with one it needs "
            "--n, the count that you have seen. --undo takes the last such decision back.")

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--filter", default="view=flagged", help="as it stands in the address of the review page")
        parser.add_argument("--action", choices=[action for action in BulkDecision.Action.values if action != "undo"])
        parser.add_argument("--label", default="", help="the label, with --action relabel")
        parser.add_argument("--reason", default="")
        parser.add_argument("--n", type=int, help="how many examples there have to be")
        parser.add_argument("--undo", action="store_true")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        by = user_of(options["by"], project)
        if options["undo"]:
            last = BulkDecision.objects.filter(project=project, undoes=None, undone_by=None).first()
            if last is None:
                raise UserError("There is no decision about many examples to take back.")
            return self._told(undo_all(last, by=by, wake=options["worker"]), options["worker"])
        filter_ = read_filter(dict(parse_qsl(options["filter"])))
        seen = look_at(Queue(_report_of(project), filter_)).seen
        if not options["action"]:
            return {"filter": filter_.query, "n": seen.n}
        if options["n"] != seen.n:
            raise UserError(f"The filter “{filter_.query}” holds {seen.n:,} examples. Say --n {seen.n} if you mean all "
                            "of them.")
        return self._told(decide_all(project, filter_, seen=seen, action=options["action"], value=options["label"],
                                     reason=options["reason"], by=by, wake=options["worker"]), options["worker"])

    def _told(self, done: BulkDecision | Job, on_worker: bool) -> dict[str, Any]:
        if isinstance(done, Job):
            return self.finish(done, on_worker=on_worker).result
        return {"bulk": done.pk, "n_decided": done.n_decided, "n_changed": done.n_changed}


def _report_of(project: Project) -> QualityReport:
    if (report := latest_report(project)) is None:
        raise UserError("The project has not been scored. Score it first.")
    return report

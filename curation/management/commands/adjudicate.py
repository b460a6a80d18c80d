from argparse import ArgumentParser
from typing import Any

from curation.models import Decision
from curation.services.adjudication import QUEUES, adjudication_queue, case_of, settle
from curation.services.labels import answers_of
from jobs.management.base import GoldpanCommand, add_by, add_project, project_of, user_of
from labeling.models import Example
from projects.errors import UserError
from projects.models import Project


class Command(GoldpanCommand):
    help = "List the examples whose answers differ and about which nobody else is asked, or settle one (--key)."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--queue", choices=list(QUEUES), default="waiting")
        parser.add_argument("--key", help="settle the example with this key")
        parser.add_argument("--answer", help="the right answer, as a model would write it")
        parser.add_argument("--exclude", action="store_true", help="leave the example out")
        parser.add_argument("--discuss", action="store_true", help="set it aside for discussion")
        parser.add_argument("--cause", default="", choices=Decision.Cause.values, help="why the answers differ")
        parser.add_argument("--note", default="", help="to the annotators")
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        if not options["key"]:
            return {"examples": [_listed(waiting.example_id) for waiting in adjudication_queue(
                project, options["queue"])]}
        example = _example(project, options["key"])
        chosen = [name for name in ("answer", "exclude", "discuss") if options[name]]
        if len(chosen) != 1:
            raise UserError("Give one of --answer, --exclude and --discuss.")
        verdict = Decision.Verdict.relabel if options["answer"] else Decision.Verdict(chosen[0])
        decision = settle(example, verdict=verdict, by=user_of(options["by"], project), cause=options["cause"],
                          written=options["answer"] or "", reason=options["note"])
        return {"decision": decision.pk, "example": example.key, "verdict": decision.verdict, "label": decision.value,
                "cause": decision.cause}

    def say(self, result: dict[str, Any]) -> str:
        if "examples" not in result:
            return super().say(result)
        lines = [f"{one['key']}  {one['split']}  {' | '.join(one['answers']) or 'skipped'}"
                 for one in result["examples"]]
        return "\n".join([*lines, f"{len(lines)} examples."])


def _example(project: Project, key: str) -> Example:
    example = Example.objects.select_related("project").filter(project=project, key=key).first()
    if example is None:
        raise UserError(f"“{project}” has no example with the key “{key}”.")
    return example


def _listed(pk: int) -> dict[str, Any]:
    example = Example.objects.select_related("project").get(pk=pk)
    case, answers = case_of(example), answers_of(example.project)
    return {"key": example.key, "split": example.split,
            "answers": [answers.show(answer.label, source=example.text) for answer in case.answers]}

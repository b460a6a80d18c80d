from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, add_worker, project_of, user_of
from projects.errors import UserError
from projects.models import Project
from training.models import Run, Verdict
from training.services.judges import start_judging
from training.services.pairwise import open_pairwise, weighed
from training.verdict import percent


class Command(GoldpanCommand):
    help = "Ask the configured judge which of two runs' written answers are better, pair by pair in both orders."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        parser.add_argument("--run", type=int, help="the newest evaluated LoRA run if left out")
        parser.add_argument("--with", type=int, dest="other", help="the run to hold it against; if left out the best "
                            "prompt")
        add_worker(parser)
        add_by(parser)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        by, run = user_of(options["by"], project), _run(project, options["run"])
        pairwise = open_pairwise(run, _other(run, options["other"]), by=by)
        job = self.finish(start_judging(pairwise, by=by, wake=options["worker"]), on_worker=options["worker"])
        found = weighed(pairwise)
        return {"pairwise": pairwise.pk, "first": pairwise.first.run_id, "second": pairwise.second.run_id,
                "n_asked": job.result["n"], "n_human": found.n_human,
                "win_rate": found.best.estimate if found.is_counted and found.best else None,
                "words": found.hidden_because or (f"Run {pairwise.second.run_id} wins {percent(found.best.estimate)} "
                                                  "of the pairs." if found.best else "")}


def _run(project: Project, number: int | None) -> Run:
    judged = Run.objects.filter(snapshot__project=project, evaluations__split="test")
    found = (judged.filter(pk=number) if number else judged.filter(kind=Run.Kind.lora)).first()
    if found is None:
        raise UserError(f"Run {number} has not been evaluated in “{project}”." if number else
                        "There is no evaluated LoRA run yet. Evaluate one first.")
    return found


def _other(run: Run, number: int | None) -> Run:
    if number:
        return _run(run.project, number)
    verdict = Verdict.objects.filter(snapshot=run.snapshot).select_related("best_prompt__snapshot__project").first()
    if verdict is None:
        raise UserError("There is no best prompt to hold it against. Run the baseline, or name a run with --with.")
    return verdict.best_prompt

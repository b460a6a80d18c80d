from argparse import ArgumentParser
from typing import Any

from jobs.management.base import GoldpanCommand, add_by, add_project, project_of, user_of
from projects.errors import UserError
from serving.models import Experiment
from serving.services.experiments import (
    SAME,
    Asked,
    Judged,
    challengers_of,
    judge,
    running_experiment,
    size_of,
    start_experiment,
    stop_experiment,
)


class Command(GoldpanCommand):
    help = "Say how a project's newest A/B test stands; --start begins one, --size says how large it has to be."

    def arguments(self, parser: ArgumentParser) -> None:
        add_project(parser)
        add_by(parser)
        parser.add_argument("--start", metavar="CHALLENGER", help=f"adapter-7 or run-12; “{SAME}”: an A/A test")
        parser.add_argument("--stop", metavar="REASON", help="stop the one that runs")
        parser.add_argument("--size", action="store_true", help="only say how large it has to be")
        parser.add_argument("--outcome", default="thumb", choices=Experiment.Outcome.values)
        parser.add_argument("--engine", default="planned looks", choices=Experiment.Engine.values)
        for name, default, words in (("share", 0.5, "of the users that get the challenger"),
                                     ("base", 0.8, "the champion's share of good outcomes"),
                                     ("difference", 0.05, "the smallest that matters, as a share"),
                                     ("feedback-rate", 0.03, "the share of users that give feedback"),
                                     ("units-a-week", 1000.0, "users or threads"),
                                     ("cap", 1.0, "an outcome's value that counts as 1"),
                                     ("slow-seconds", 5.0, "from which on an answer is slow")):
            parser.add_argument(f"--{name}", type=float, default=default, help=words)

    def work(self, **options: Any) -> dict[str, Any]:
        project = project_of(options["project"])
        asked = Asked(**{name: options[name] for name in ("outcome", "base", "difference", "feedback_rate",
                                                           "units_a_week", "share", "cap")})
        if options["size"]:
            size = size_of(asked)
            return {"n_rated": size.n_rated, "n_units": size.n_units, "weeks": size.weeks, "fits": size.fits,
                    "words": [size.words], "challengers": [one.name for one in challengers_of(project)]}
        if options["start"]:
            start_experiment(project, challenger=options["start"], is_aa=options["start"] == SAME, asked=asked,
                             engine=options["engine"], slow_seconds=options["slow_seconds"],
                             by=user_of(options["by"], project))
        if options["stop"]:
            running = running_experiment(project)
            if running is None:
                raise UserError("No A/B test runs.")
            stop_experiment(running, reason=options["stop"], by=user_of(options["by"], project))
        newest = Experiment.objects.filter(project=project).first()
        if newest is None:
            raise UserError(f"There was no A/B test in “{project}” yet.")
        return _told(judge(newest))

    def say(self, result: dict[str, Any]) -> str:
        return "\n".join(result["words"])


def _told(found: Judged) -> dict[str, Any]:
    band = found.band
    return {"test": found.experiment.pk, "outcome": found.outcome, "words": found.words,
            "exposed": [found.champion.n_exposed, found.challenger.n_exposed],
            "rated": [found.champion.n, found.challenger.n],
            "band": [band.estimate, band.low, band.high] if band else None}

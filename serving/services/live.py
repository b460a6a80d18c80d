"""What the page Live shows: what serves and why, what came in, how long it took, what it cost, what came back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from django.conf import settings
from django.utils import timezone

from jobs.models import Job
from projects.charts import Chart, traffic_chart
from projects.models import Project
from projects.wording import count_words, counted
from serving.models import Deployment, Exchange, Replay, ServingRules, TrafficDay
from serving.services.deployments import (
    CHAMPION,
    Choice,
    NotServed,
    backend_of,
    choose,
    names_of,
    prompt_of,
    slug_of,
)
from serving.services.exchanges import kept_since, traffic_of
from serving.services.feedback import FeedbackFacts, facts_of
from serving.services.rules import rules_of
from training.models import Adapter, Evaluation, Promotion, Run
from training.services.champions import Champion, former_champion
from training.services.economics import economics_of

DAYS = 30  # of traffic that is drawn
WEEK = 7  # days that figures rest on
NEWEST = 10_000  # answers that times rest on, at most
WRITTEN_ELSEWHERE = ("The server of adapters writes the label, where the evaluation compared the likelihoods of all "
                     "labels: answers may differ. The check below says how many do.")
EXAMPLE = "The text that is asked about."


@dataclass(frozen=True)
class Standing:
    """What serves a project. title: in a few words. since, why: None and "" where that is not known.

    evaluation: on the test rows. obstacle: why nothing serves, in words; "" where something does. warning: what makes
    it answer otherwise than it was evaluated.
    """

    title: str = ""
    run: Run | None = None
    adapter: Adapter | None = None
    since: datetime | None = None
    why: str = ""
    evaluation: Evaluation | None = None
    obstacle: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Times:
    """Seconds of the newest answers of the last days: all in all, and what Goldpan added to queue and model."""

    n: int
    median: float
    high: float
    added_median: float
    added_high: float

    @property
    def words(self) -> list[tuple[str, str, str]]:
        """What, half of the answers, 95 of 100."""
        return [("From request to answer", milliseconds(self.median), milliseconds(self.high)),
                ("of it added by Goldpan", milliseconds(self.added_median), milliseconds(self.added_high))]


@dataclass(frozen=True)
class Live:
    standing: Standing
    rules: ServingRules
    models: list[str]
    snippets: list[tuple[str, str]]
    chart: Chart | None
    days: list[TrafficDay]
    week: Counter[str]
    times: Times | None
    currency: str
    feedback: FeedbackFacts
    replay: Replay | None
    replay_job: Job | None
    has_traffic: bool
    former: Champion | None

    @property
    def n_requests(self) -> int:
        """Of the week."""
        return self.week["n_answered"] + self.week["n_failed"] + self.week["n_refused"]


def live_of(project: Project, *, now: datetime | None = None) -> Live:
    now = now or timezone.now()
    today = timezone.localtime(now).date()
    standing = standing_of(project)
    days = list(TrafficDay.objects.filter(project=project, day__gte=kept_since(DAYS)))
    week = traffic_of(day for day in days if day.day >= kept_since(WEEK))
    newest = Deployment.objects.filter(project=project, slot=Deployment.Slot.champion).first()
    replay = Replay.objects.filter(deployment=newest).first() if newest and not standing.obstacle else None
    is_present = replay is not None and newest is not None and standing.run is not None and (
        newest.run_id, newest.adapter_id) == (standing.run.pk, standing.adapter.pk if standing.adapter else None)
    return Live(
        standing=standing, rules=rules_of(project), models=names_of(project), snippets=snippets_of(project),
        chart=chart_of(days, today) if days else None, days=days[::-1], week=week,
        times=times_of(project, since=now - timedelta(days=WEEK)), currency=economics_of(project).currency,
        feedback=facts_of(project, since=now - timedelta(days=DAYS)), replay=replay if is_present else None,
        replay_job=Job.objects.filter(project=project, kind="replay").first(), has_traffic=bool(days),
        former=former_champion(project))


def standing_of(project: Project) -> Standing:
    try:
        choice = choose(project, CHAMPION)
        prompt = prompt_of(choice)
    except NotServed as error:
        return Standing(obstacle=str(error))
    evaluation = Evaluation.objects.filter(run=choice.run, split="test").first()
    if evaluation is None:
        return Standing(obstacle=f"{choice.adapter or choice.run} has not been evaluated, so nobody knows how it "
                                 "answers. Evaluate it first.")
    since, why = _since(project, choice)
    is_written_elsewhere = (choice.adapter is not None and prompt.has_labels
                            and backend_of(choice) == Deployment.Backend.endpoint)
    return Standing(
        title=str(choice.adapter) if choice.adapter else choice.run.title, run=choice.run, adapter=choice.adapter,
        since=since, why=why, evaluation=evaluation, warning=WRITTEN_ELSEWHERE if is_written_elsewhere else "")


def _since(project: Project, choice: Choice) -> tuple[datetime | None, str]:
    promotion = Promotion.objects.filter(project=project).select_related("by").first()
    if promotion is None or promotion.run_id != choice.run.pk:
        if choice.adapter is not None:
            return None, ""
        return choice.run.snapshot.verdict.created_at, (f"No adapter is the champion, so the best of the prompts that "
                                                        f"were tried on {choice.run.snapshot} answers.")
    who = promotion.by or "Somebody"
    if promotion.way == Promotion.Way.rolled_back:
        return promotion.created_at, f"{who} went back to it: “{promotion.reason}”"
    if promotion.way == Promotion.Way.proven:
        return promotion.created_at, f"{who} promoted it with the proof that the gate asks for."
    return promotion.created_at, f"{who} promoted it against the gate: “{promotion.reason}”"


def times_of(project: Project, *, since: datetime) -> Times | None:
    rows = Exchange.objects.filter(project=project, at__gte=since, is_answered=True).order_by("-at").values_list(
        "seconds", "waited_seconds", "model_seconds")[:NEWEST]
    numbers = np.array(list(rows), dtype=float)
    if not len(numbers):
        return None
    whole, waited = numbers[:, 0], numbers[:, 1]
    added = np.maximum(whole - waited - numbers[:, 2], 0)
    (median, high), (added_median, added_high) = (np.quantile(values, [0.5, 0.95]) for values in (whole, added))
    return Times(len(numbers), float(median), float(high), float(added_median), float(added_high))


def milliseconds(seconds: float) -> str:
    """A short time span: 0.0123 as "12 ms", 3.4 as "3.4 s"."""
    return f"{seconds * 1000:,.0f}\u202fms" if seconds < 1 else f"{seconds:,.1f}\u202fs"


def chart_of(days: Sequence[TrafficDay], today: date) -> Chart:
    by_day = {day.day: day for day in days}
    shown = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    rows = [(day, *((by_day[day].n_answered, by_day[day].n_failed, by_day[day].n_refused) if day in by_day
                    else (0, 0, 0))) for day in shown]
    total = traffic_of(days)
    n_open = total["n_failed"] + total["n_refused"]
    return traffic_chart(rows, words=(
        f"{counted(total['n_answered'], 'request')} answered in {DAYS} days, {count_words(n_open)} not"))


def snippets_of(project: Project) -> list[tuple[str, str]]:
    """How to call it: for whom, and the lines."""
    url, model = f"{settings.GOLDPAN_GATEWAY_URL}/v1", f"{slug_of(project)}/{CHAMPION}"
    data = ""
    if project.task_type == "preference":
        data = ', "data": {"left": "One answer.", "right": "Another."}'
    elif project.task_type == "chat":
        data = ', "data": {"messages": [{"role": "user", "content": "Hello."}]}'
    typed = (f"curl {url}/projects/{project.pk}/predict \\\n  -H \"Authorization: Bearer $GOLDPAN_KEY\" \\\n"
             f"  -H 'Content-Type: application/json' \\\n  -d '{{\"text\": \"{EXAMPLE}\"{data}}}'")
    chat = (f"from openai import OpenAI\n\nclient = OpenAI(base_url=\"{url}\", api_key=\"gp_…\")\n"
            f"said = client.chat.completions.create(\n    model=\"{model}\",\n"
            f"    messages=[{{\"role\": \"user\", \"content\": \"{EXAMPLE}\"}}])\n"
            "print(said.choices[0].message.content, said.id)")
    back = (f"curl {url}/feedback \\\n  -H \"Authorization: Bearer $GOLDPAN_KEY\" \\\n"
            "  -H 'Content-Type: application/json' \\\n  -H 'Idempotency-Key: order-4711' \\\n"
            "  -d '{\"exchange\": \"ex-…\", \"thumb\": \"down\"}'")
    with_openai = [] if project.task_type == "preference" else [("With OpenAI's client", chat)]
    return [("A typed answer", typed), *with_openai, ("Feedback on an answer", back)]

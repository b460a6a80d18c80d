"""Weeks of traffic through the log's own door, people who label what they are asked, and the tick: a clock to turn."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db.models import Count, Q

from jobs import services as jobs
from jobs.models import Job
from labeling.models import Annotation, Annotator, BatchItem, Example
from projects.models import ApiKey, Project
from serving.exchange_id import Named, new_id
from serving.models import Deployment, Exchange, Look
from serving.services.deployments import serve
from serving.services.exchanges import Entry, Words, write_entries
from serving.services.rules import rules_of
from serving.services.watching import poll
from tests.training.story import WORDS

SYLLABLES = ("ba", "ko", "li", "mu", "ne", "po", "ra", "su", "ti", "va", "wo", "ze", "chi", "dor", "fen", "gul")
OURS = ("look", "count_look")  # the rest that is queued, such as rounds with Label Studio, is not for here


START = datetime(2027, 1, 4, 9, tzinfo=UTC)  # a Monday, after everything that the package's fixture made


class World:
    """A project that serves from `start` on, and the clock, which the product has to see: `django.utils.timezone.now`.

    Days count from the start. truth: what is right about a text that was sent.
    """

    def __init__(self, project: Project, key: ApiKey, *, seed: int = 0, start: datetime = START) -> None:
        self.project, self.key, self.random = project, key, np.random.default_rng(seed)
        self.start = self.now = start
        self.truth: dict[str, str] = {}
        self.n_sent = 0

    def clock(self) -> datetime:
        return self.now

    def begin(self) -> "World":
        """What serves the project serves from now on, and is watched."""
        self.deployment: Deployment = serve(self.project, "")[1]
        poll(now=self.now)
        return self

    def at(self, day: float) -> datetime:
        return self.start + timedelta(days=day)

    def text(self, label: str, words: str = "") -> str:
        said = ["".join(self.random.choice(SYLLABLES, size=3)) for _ in range(6)]
        return " ".join([*said, words, WORDS[label], str(self.n_sent)]).replace("  ", " ")

    def send(self, n: int, *, day: float, accuracy: float = 0.92, words: str = "", group: str = "",
             make: Callable[[str], str] | None = None, probability: float | None = 0.9) -> list[str]:
        """Log n requests of a day; the model is right on a share of them, drawn at random. Returns their texts."""
        labels, entries, rules, sent = self.project.labels, [], rules_of(self.project), []
        for _ in range(n):
            self.n_sent += 1
            truth = str(self.random.choice(labels))
            is_right = self.random.random() < accuracy
            said = truth if is_right else labels[(labels.index(truth) + 1) % len(labels)]
            text = (make or (lambda label: self.text(label, words)))(truth)
            at = self.at(day)
            name = new_id(Named(self.project.pk, self.deployment.pk, int(at.timestamp() * 1000) + self.n_sent),
                          secret="tests")
            row = Exchange(name=name, project=self.project, deployment=self.deployment, api_key=self.key,
                           route=Exchange.Route.predict, is_answered=True, is_readable=True, seconds=0.1, at=at)
            entries.append(Entry(self.project.pk, "n_answered", at, row, 1, "embedded", Words(
                text, {}, group, {"text": said, "value": said, "probability": probability}, rules.masks,
                rules.retention_days)))
            self.truth[text] = truth
            sent.append(text)
        write_entries(entries, Counter())
        return sent

    def label(self, *, n: int | None = None) -> int:
        """Everybody who is asked answers rightly; n: at most so many examples. Returns how many examples it were."""
        answered = Count("assignments", filter=Q(assignments__state="answered"))
        people = [Annotator.objects.get_or_create(project=self.project, name=name)[0] for name in ("ann", "ben", "cleo",
                                                                                                   "dan", "eve")]
        items = [item for item in BatchItem.objects.filter(batch__project=self.project).annotate(n=answered)
                 .select_related("example").order_by("pk")
                 if not Annotation.objects.filter(example=item.example, annotator__in=people).exists()][:n]
        Annotation.objects.bulk_create(
            Annotation(example=item.example, annotator=who, value=self.truth[item.example.text], source="file",
                       instructions_version=1, created_at=self.now)
            for item in items for who in people[:item.n_wanted])
        return len(items)

    def tick(self, day: float) -> None:
        """The clock turns to a day: what is due is queued, and what is queued of ours is done."""
        self.now = self.at(day)
        for _ in range(4):
            poll(now=self.now)
            queued = list(Job.objects.filter(state=Job.State.queued, kind__in=OURS).order_by("pk"))
            for job in queued:
                jobs.run(job.pk, heartbeat=False)
                job.refresh_from_db()
                assert job.state == Job.State.succeeded, f"{job.kind}: {job.error}"
            if not queued:
                return

    def week(self, number: int, *, n: int = 70, accuracy: float = 0.92, labels: bool = True, **how: object) -> None:
        """Week `number` from 0: requests, then its look is drawn, labelled and counted."""
        self.send(n, day=7 * number + 3, accuracy=accuracy, **how)  # type: ignore[arg-type]
        self.tick(7 * (number + 1))
        if labels:
            self.label()
            self.tick(7 * (number + 1))

    def looks(self) -> list[Look]:
        return list(Look.objects.filter(project=self.project, kind="regular").order_by("number"))

    def examples(self, look: Look) -> list[Example]:
        return [row.example for row in look.rows.select_related("example")]

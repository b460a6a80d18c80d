"""The requests of a period that were kept with their words, and what they are compared with.

That is the project's own first traffic: the random rows of the first looks, which became examples and outlive the words
of other requests. The test rows join them where they are alike; while there are too few own rows they stand alone.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
from django.utils import timezone

from curation.compared import compared_text
from curation.duplicate_threshold import DEFAULT
from curation.languages import languages_of
from curation.services.embeddings import encode_once, ensure_embeddings, load_embeddings
from curation.services.labels import answers_of
from curation.services.scoring import latest_report
from curation.services.snapshots import read_rows
from jobs.models import Job
from jobs.progress import Progress
from labeling.models import Example
from labeling.reading import Row
from labeling.services.imports import key_of
from labeling.texts import content_sha256, normalise
from projects.models import Project
from projects.wording import counted, percent_words
from serving.masking import mask, mask_all
from serving.models import Deployment, Exchange, ExchangeContent, Feedback, Look, LookRow, ServingRules
from serving.priority import border_of, nearest
from serving.services.rules import rules_of
from serving.services.watch_plans import evaluation_of
from stats.shift import MIN_ROWS, Traffic, joined, shift_signals
from training.services.scoring import read_predictions

MOST = 4_000  # customers, threads or texts of a period that are read; of more, so many at random
CHUNK = 500
COMPARES = "Signals compare with"
MIN_OWN, MOST_OWN = 2 * MIN_ROWS, 200  # random rows of the first looks that are compared with
UNREAD = "(not readable)"
_WORD = re.compile(r"\w{2,}")


@dataclass(frozen=True)
class Request:
    """A request with its words. key: of the example that it is or would be. label: None if it could not be read."""

    name: str
    key: str
    text: str
    data: dict[str, Any]
    group: str
    label: str | None
    probability: float | None
    at: datetime
    is_disliked: bool = False


@dataclass(frozen=True)
class Period:
    """What a period has to look at. requests: one per customer, thread or text, in an order that says nothing.

    n_eligible: how many such there are; requests are MOST of them at most, drawn at random.
    """

    n_answered: int
    n_kept: int
    n_eligible: int
    requests: list[Request] = field(repr=False)

    @property
    def share_read(self) -> float:
        return len(self.requests) / self.n_eligible if self.n_eligible else 1.0


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def seed_of(project: Project, *what: Any) -> int:
    """A number that follows from what is drawn alone: nobody can draw until they like what comes."""
    said = ":".join(map(str, (project.split_salt, *what)))
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:8])


def read_period(deployment: Deployment, since: date, until: date) -> Period:
    """What the deployment answered from `since` to the day before `until`, as far as its words are kept.

    Of a customer, a thread or a text one request is taken at random: whoever asks a hundred times has one vote.
    """
    project = deployment.project
    asked = Exchange.objects.filter(deployment=deployment, is_answered=True, at__gte=midnight(since),
                                    at__lt=midnight(until))
    kept = list(ExchangeContent.objects.filter(exchange__in=asked.values("pk")).order_by("pk").values_list(
        "pk", "group", "content_sha256"))
    random = np.random.default_rng(seed_of(project, "requests", since, until))
    once: dict[str, int] = {}
    for row in random.permutation(len(kept)).tolist():
        pk, group, sha256 = kept[row]
        once.setdefault(group or sha256, pk)
    requests = _read(project, list(once.values())[:MOST])
    seen = {request.key: request for request in reversed(requests)}  # two customers may send the same text
    return Period(asked.count(), len(kept), len(once), [one for one in requests if seen[one.key] is one])


def _read(project: Project, pks: Sequence[int]) -> list[Request]:
    answers, found = answers_of(project), {}
    for start in range(0, len(pks), CHUNK):
        rows = ExchangeContent.objects.filter(pk__in=pks[start:start + CHUNK]).values_list(
            "pk", "exchange__name", "text", "data", "group", "answer", "exchange__at")
        for pk, name, text, data, group, answer, at in rows:
            row = Row(1, None, text, None, None, group or content_sha256(text), None, dict(data))
            try:
                label = None if answer["value"] is None else answers.label(answer["value"], source=text)
            except (ValueError, KeyError, TypeError):  # an answer under an older schema
                label = None
            found[pk] = Request(name, key_of(row, project.task_type), text, dict(data), row.group or "", label,
                                answer.get("probability"), at)
    disliked = _disliked(project, [one.name for one in found.values()])
    erased = _erased(project, [one.key for one in found.values()])
    return [replace(found[pk], is_disliked=found[pk].name in disliked) for pk in pks
            if pk in found and found[pk].key not in erased]


def _erased(project: Project, keys: Sequence[str]) -> set[str]:
    """Of these keys those whose example was erased: nobody is asked about them again."""
    return {key for start in range(0, len(keys), CHUNK) for key in Example.objects.filter(
        project=project, key__in=keys[start:start + CHUNK], text="").values_list("key", flat=True)}


def _disliked(project: Project, names: Sequence[str]) -> set[str]:
    """Of these exchanges those that users put their thumb down on, by the last word, or corrected."""
    last: dict[str, bool] = {}
    for start in range(0, len(names), CHUNK):
        said = Feedback.objects.filter(project=project, exchange_name__in=names[start:start + CHUNK]).order_by("pk")
        for name, thumb, correction in said.values_list("exchange_name", "thumb", "correction"):
            if thumb or correction is not None:
                last[name] = thumb != Feedback.Thumb.up
    return {name for name, is_down in last.items() if is_down}


def kept_words(rules: ServingRules, period: Period, *, since: date, until: date, deployment: Deployment) -> list[str]:
    """What the sampling share and the retention do to a look at this period, in sentences."""
    said = [f"{counted(period.n_answered, 'request')} answered, {period.n_kept:,} of them kept with their words; each "
            f"customer, thread or text counts once, which leaves {period.n_eligible:,}."]
    if rules.sample_share < 1:
        said.append(f"{percent_words(rules.sample_share, 0)} of the requests are kept, by chance alone: what is drawn "
                    "from them is a random sample all the same.")
    days = (until - since).days
    if rules.retention_days < days:
        said.append(f"Words are deleted after {rules.retention_days} days and the period has {days}: the look is about "
                    f"its last {rules.retention_days} days only. Keep words for {days + 1} days to look at all of it.")
    if period.n_eligible > MOST:
        said.append(f"Of these {MOST:,} were read, at random.")
    return said


@dataclass(frozen=True)
class Reference:
    """What requests are compared with. traffic: n rows that signals compare with, own ones where `words` says so.

    known, test: (m, d) and (t, d) of length 1, of all rows from before and of the test rows alone; hashes: of these.
    border: cosine to the nearest known one, below which a text is new.
    """

    traffic: Traffic
    n: int
    words: str
    known: np.ndarray
    test: np.ndarray
    hashes: frozenset[str]
    border: float


def reference_of(deployment: Deployment, before: date, job: Job, progress: Progress) -> Reference:
    """Read and embed what the requests from a day on are compared with."""
    test, vectors, hashes = _test_rows(deployment, job, progress)
    rows = own_rows(deployment, before)
    own, of_own = (Traffic(), vectors[:0]) if len(rows) < MIN_OWN else _own_traffic(deployment.project, rows, job,
                                                                                   progress)
    known = np.concatenate([vectors, of_own]) if len(vectors) and len(of_own) else of_own if len(of_own) else vectors
    is_alike = len(of_own) > 0 and len(vectors) >= MIN_ROWS and not any(
        signal.is_warning for signal in shift_signals(test, own, seed=deployment.pk))
    traffic = joined(test, own) if is_alike else own if len(of_own) else test
    n = len(known) if is_alike else len(of_own) or len(vectors)
    return Reference(traffic, n, reference_words(rows, len(vectors), is_alike=is_alike), known, vectors, hashes,
                     border_of(known))


def own_rows(deployment: Deployment, before: date) -> list[LookRow]:
    """The random rows of the first looks at what serves that ended by a day, oldest first, MOST_OWN at most."""
    return list(LookRow.objects.filter(
        look__deployment=deployment, look__kind=Look.Kind.regular, look__until__lte=before, is_uniform=True).exclude(
        example__text="").exclude(answer={}).select_related("example", "look").order_by(
        "look__number", "position")[:MOST_OWN])


def reference_words(rows: Sequence[LookRow], n_test: int, *, is_alike: bool) -> str:
    """What signals compare with, in a sentence, from the own rows there are."""
    if len(rows) >= MIN_OWN:
        more = f", and with the {n_test} test rows, from which these do not clearly differ" if is_alike else ""
        return (f"{COMPARES} the first {len(rows)} requests that were drawn at random after promotion, of "
                f"{rows[0].look.since:%d %B} to {rows[-1].look.last_day:%d %B}{more}.")
    if not n_test:
        return f"{COMPARES} nothing yet: {MIN_OWN} requests that were drawn at random are needed."
    return (f"{COMPARES} the {n_test} test rows, until {MIN_OWN} requests were drawn at random; there are "
            f"{len(rows)}. What warns now may be how test rows and requests differ for good.")


def compared_words(look: Look) -> str:
    """What a look's signals compared with; "" of looks from before that was said."""
    return next((words for words in look.words if words.startswith(COMPARES)), "")


def _own_traffic(project: Project, rows: Sequence[LookRow], job: Job,
                 progress: Progress) -> tuple[Traffic, np.ndarray]:
    compared = [compared_text(project.task_type, row.example.text, row.example.data) for row in rows]
    _, vectors = _embedded(compared, job, progress)
    return _traffic(project, [row.example.text for row in rows], vectors, [row.answer["label"] for row in rows],
                    [row.answer["probability"] for row in rows]), vectors


def _embedded(texts: Sequence[str], job: Job, progress: Progress) -> tuple[list[str], np.ndarray]:
    """The hashes of texts, and their vectors, row by row; what has none yet is encoded and kept."""
    hashes = [content_sha256(text) for text in texts]
    ensure_embeddings(job, dict(zip(hashes, texts, strict=True)), progress)
    return hashes, load_embeddings(hashes)


def _test_rows(deployment: Deployment, job: Job, progress: Progress) -> tuple[Traffic, np.ndarray, frozenset[str]]:
    """The test rows of what serves; masked as traffic is, so that the mask itself is no news."""
    project = deployment.project
    evaluation = evaluation_of(deployment)
    if evaluation is None:
        return Traffic(), np.zeros((0, 1), dtype=np.float32), frozenset()
    said = {one.key: one for one in read_predictions(evaluation)}
    rows = [row for row in read_rows(evaluation.snapshot, "test") if row.key in said]
    masks = rules_of(project).masks
    shown = [(mask(row.text), mask_all(row.data)) if masks else (row.text, row.data) for row in rows]
    compared = [compared_text(project.task_type, text, data) for text, data in shown]
    hashes, vectors = _embedded(compared, job, progress)
    predictions = [said[row.key] for row in rows]
    traffic = _traffic(project, [text for text, _ in shown], vectors, [one.predicted for one in predictions],
                       [one.probability for one in predictions])
    return traffic, vectors, frozenset(hashes)


@dataclass(frozen=True)
class Measured:
    """The requests of a period that repeat no test row, with what the signals know of them.

    n_repeats: how many do, and are left out: whoever labels them would label test rows. is_new: (n,) bool.
    """

    requests: list[Request] = field(repr=False)
    traffic: Traffic
    is_new: np.ndarray
    n_repeats: int


def measure(period: Period, deployment: Deployment, reference: Reference, job: Job, progress: Progress) -> Measured:
    """Embed a period's requests, without keeping the vectors, and hold them against what is known."""
    project = deployment.project
    report = latest_report(project)
    threshold = report.duplicate_threshold if report else DEFAULT
    texts = [compared_text(project.task_type, one.text, one.data) for one in period.requests]
    vectors = encode_once(job, texts, progress)
    repeats = np.array([content_sha256(text) in reference.hashes for text in texts], dtype=bool) | (
        nearest(vectors, reference.test) >= threshold)
    left = np.flatnonzero(~repeats)
    requests = [period.requests[row] for row in left]
    traffic = _traffic(project, [one.text for one in requests], vectors[left], [one.label for one in requests],
                       [one.probability for one in requests])
    is_new = nearest(vectors[left], reference.known) < reference.border
    return Measured(requests, traffic, is_new, int(repeats.sum()))


def _traffic(project: Project, texts: Sequence[str], vectors: np.ndarray, labels: Sequence[str | None],
             probability: Sequence[float | None]) -> Traffic:
    """What the signals compare; answers are categories only where they are names."""
    if not texts:
        return Traffic()
    names = answers_of(project).are_names
    is_sure = all(one is not None for one in probability)
    return Traffic(
        labels=np.array([label or UNREAD for label in labels]) if names else None,
        confidence=np.array(probability, dtype=float) if is_sure else None, embeddings=vectors,
        lengths=np.array([len(text) for text in texts], dtype=float),
        languages=np.array([language or "?" for language in languages_of(texts)]),
        words=[frozenset(_WORD.findall(normalise(text))) for text in texts],
        failed=np.array([label is None for label in labels]))


def today_in_utc(now: datetime | None = None) -> date:
    return (now or timezone.now()).astimezone(UTC).date()

"""A topic appears that training never saw: signal, batch, labels, alarm, training, recovery, on real texts.

`python -m bench.new_topic`, some minutes of one core: writes docs/new-topic.md with its charts. Questions of bank
customers (banking77, from GOLDPAN_BENCH_DATA) go to seven teams. For five weeks they are about what the model was
trained on; then the bank offers virtual cards, and a quarter of the questions is about those. They belong to the team
“app”, which existed before.

Everything is the shipped product on a clock of its own: requests through the gateway's log, looks by the tick, labels
through the ledger by the data's own truth, the alarm, the extra look, the proposal, scoring, freezing, approving. Two
things stand in: people, by the data's labels, and the model. A linear probe on real embeddings answers in place of a
language model, as it is evaluated and kept as a run like any other; without a GPU an adapter would take an hour.
Nothing here can fail but by an error: what comes out is said as it is. Exits with 1 if the alarm rang before the topic
came, or never.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

import numpy as np

from bench.charts import ROOT, draw
from bench.real_text import embed
from projects.charts import share_lines_chart
from projects.wording import counted, percent_words
from stats.intervals import wilson

PAGE = ROOT / "docs" / "new-topic.md"
N_LABELLED, GOLD, A_WEEK, NEW_SHARE = 1_600, 500, 180, 0.25
NEW_FROM, N_WEEKS = 5, 15
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
NEW = ("get_disposable_virtual_card", "disposable_card_limits", "getting_virtual_card", "virtual_card_not_working",
       "apple_pay_or_google_pay")
APP = "app"
TEAMS = {  # team → what the intents of banking77 have in their names, the first that fits counts
    APP: (*NEW, "age_limit", "pin", "passcode", "edit_personal", "lost_or_stolen", "compromised", "terminate",
          "identity", "source_of_funds"),
    "top-ups": ("top_up", "topping_up", "cheque"),
    "cash": ("atm", "swallowed", "cash"),
    "currencies": ("exchange_charge", "exchange_rate", "exchange_via", "fiat"),
    "transfers": ("transfer", "beneficiary", "receiving_money"),
    "payments": ("card_payment", "charged_twice", "extra_charge", "direct_debit", "refund", "Refund", "contactless",
                 "card_not_working"),
    "cards": ("card", "country_support", "visa"),
}
WHAT = {APP: "the app, log-in, identity and virtual cards", "top-ups": "adding money", "cash": "cash machines",
        "currencies": "exchange", "transfers": "transfers", "payments": "payments by card", "cards": "getting a card"}


def main(arguments: Sequence[str]) -> int:
    if arguments:
        return inside()
    path = Path(os.environ.get("GOLDPAN_BENCH_DATA", "../shared/data")) / "banking77" / "train.csv"
    if not path.exists():
        print(f"skipped: {path} is not there; set GOLDPAN_BENCH_DATA")
        return 0
    with tempfile.TemporaryDirectory(prefix="goldpan-bench-") as temporary:
        environment = os.environ | {
            "GOLDPAN_DATA": temporary, "GOLDPAN_BROKER": "memory://", "GOLDPAN_LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "goldpan.settings", "HF_HUB_OFFLINE": "1", "GOLDPAN_BENCH_FILE": str(path)}
        environment.pop("DATABASE_URL", None)
        return subprocess.run([sys.executable, "-m", "bench.new_topic", "inside"], env=environment).returncode


@dataclass(frozen=True)
class Texts:
    """Questions in an order that says nothing, those about what is known and those about the new topic apart.

    vectors, team: by text.
    """

    known: list[str]
    new: list[str]
    vectors: dict[str, np.ndarray]
    team: dict[str, str]


def read_texts() -> Texts:
    with open(os.environ["GOLDPAN_BENCH_FILE"], encoding="utf-8", newline="") as file:
        rows = {" ".join(row["text"].split()): row["category"] for row in csv.DictReader(file)}
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    shuffled = [list(rows.items())[row] for row in order]
    new = [text for text, intent in shuffled if intent in NEW]
    known = [text for text, intent in shuffled if intent not in NEW][:N_LABELLED + N_WEEKS * A_WEEK]
    vectors = embed([*known, *new])
    return Texts(known, new, dict(zip([*known, *new], vectors, strict=True)),
                 {text: team_of(intent) for text, intent in shuffled})


def team_of(intent: str) -> str:
    return next(team for team, parts in TEAMS.items() if any(part in intent for part in parts))


@dataclass
class Week:
    """What was true in a week, and what the product knew of it. right: of all requests, known ones and new ones.

    plain, plain_new: what a model would have been right on whose gold set favoured nothing.
    """

    number: int
    right: float
    known: float
    new: float | None
    n_new: int
    model: int
    plain: float | None = None
    plain_new: float | None = None
    evidence: float | None = None
    threshold: float | None = None
    level: str = ""
    share: Any = None
    warnings: list[str] = field(default_factory=list)


class Clock:
    """The time that the product sees."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def at(self, week: int, *, days: float = 0) -> None:
        self.now = START + timedelta(weeks=week, days=days)


def inside() -> int:
    import django

    django.setup()
    from django.core.management import call_command

    from curation.encoder import embed_file

    def encode(module: str, spec: dict[str, Any], *, folder: Path, progress: Any) -> dict[str, Any]:
        return embed_file(spec, folder, progress)  # the encoder's own work, without a process for each look

    call_command("migrate", verbosity=0)
    clock, began = Clock(), time.perf_counter()
    with mock.patch("django.utils.timezone.now", clock), mock.patch("curation.services.embeddings.run_child", encode):
        world = World(read_texts(), clock)
        world.found()
        for number in range(N_WEEKS):
            world.week(number)
    seconds = time.perf_counter() - began
    rang = next((week.number for week in world.weeks if week.level == "alarm"), None)
    PAGE.write_text(page(world, rang, seconds))
    print(f"Written to {PAGE.relative_to(ROOT)} after {seconds:.0f} s.")
    return 0 if rang is not None and rang >= NEW_FROM else 1


class World:
    """The project, its people and its traffic."""

    def __init__(self, texts: Texts, clock: Clock) -> None:
        self.texts, self.clock, self.random = texts, clock, np.random.default_rng(1)
        self.known, self.new = iter(texts.known), iter(texts.new)
        self.weeks: list[Week] = []
        self.told: list[str] = []
        self.taken = self.plain_taken = ""
        self.plain: Any = None
        self.models: list[str] = []
        self.n_labels_asked = self.last_look = 0

    # the beginning: labels, gold, snapshot, model

    def found(self) -> None:
        """A project with labelled questions, a snapshot of 500, and a model that was trained and evaluated on it."""
        from django.contrib.auth.models import User

        from projects.models import Role
        from projects.services import add_member, create_api_key, create_project

        self.admin, self.curator = (User.objects.create_user(name) for name in ("ada", "ben"))
        self.project = create_project(
            name="Bank", labels=[{"name": team, "description": what} for team, what in WHAT.items()],
            instructions="Which team answers this customer?", target_metric="accuracy", target_value=0.85,
            created_by=self.admin, split_salt="new topic")
        add_member(self.project, self.curator, Role.curator, by=self.admin)
        self.key = create_api_key(self.project, name="shop", scopes=["predict"], by=self.admin)[0]
        self.label(self.examples([next(self.known) for _ in range(N_LABELLED)]))
        self.train()

    def examples(self, texts: Sequence[str]) -> list[Any]:
        from labeling.services.corrections import example_of

        return [example_of(self.project, text=text, data={}, group="", at=self.clock.now) for text in texts]

    def label(self, examples: Sequence[Any], wanted: Mapping[int, int] | None = None) -> None:
        """People say what is true: as many as a batch wants, else one, and three about dev and test examples."""
        from labeling.models import Annotation, Annotator

        people = [Annotator.objects.get_or_create(project=self.project, name=name)[0] for name in ("mia", "jon", "kim")]
        Annotation.objects.bulk_create(
            Annotation(example=example, annotator=person, value=self.texts.team[example.text], source="file",
                       instructions_version=1, created_at=self.clock.now)
            for example in examples
            for person in people[:(wanted or {}).get(example.pk, 1 if example.split == "pool" else 3)])

    def train(self, favoured: Mapping[str, Any] | None = None) -> None:
        """The straight path: score, choose the gold set, freeze, approve, train, evaluate, serve.

        favoured: what the proposal wants favoured. The same rule without it makes a second probe that is only compared.
        """
        from curation.models import Snapshot
        from curation.services.approvals import override_check
        from curation.services.gold_sets import gold_set_of, save_rule
        from curation.services.scoring import start_score
        from curation.services.snapshots import approve_snapshot, start_freeze

        self.done(start_score(self.project, by=self.curator))
        save_rule(gold_set_of(self.project), size=GOLD, min_quality=0, min_per_label=20, allow_flagged=False, seed=0,
                  by=self.curator)
        if favoured is not None:
            self.compare_plain()
            gold_set = gold_set_of(self.project)
            save_rule(gold_set, size=GOLD, min_quality=0, min_per_label=20, allow_flagged=False, seed=0,
                      by=self.curator, **favoured)
        snapshot = Snapshot.objects.get(pk=self.done(start_freeze(self.project, by=self.curator))["snapshot"])
        for check in snapshot.checks.filter(holds=False):  # the data's own labels contradict each other here and there
            override_check(snapshot, name=check.name, n=check.n, by=self.admin, reason="The data's own labels differ.")
            self.told.append(f"{snapshot}: a check was overridden with a reason, as the data's own labels differ "
                             f"({check.found}).")
        approve_snapshot(snapshot, sha256=snapshot.sha256, approver=self.admin)
        self.serve(snapshot)

    def compare_plain(self) -> None:
        """Fit a probe on what the rule picks while it favours nothing, judged by dev rows as the other one is."""
        from curation.probabilities import fit_probe
        from curation.services.gold_sets import gold_set_of, preview, rule_of
        from curation.services.held_out import held_out
        from labeling.models import Example

        picked = preview(self.project, rule_of(gold_set_of(self.project)))
        dev = held_out(self.project, picked.report).label_of["dev"]
        text_of = dict(Example.objects.filter(project=self.project).values_list("pk", "text"))
        train, judged = (np.array([self.texts.vectors[text_of[pk]] for pk in rows]) for rows in (picked.label_of, dev))
        self.plain = fit_probe(train, list(picked.label_of.values()), judged, list(dev.values()), seed=0)
        new = set(self.texts.new)
        self.plain_taken = str(sum(text_of[pk] in new for pk in picked.label_of))

    def serve(self, snapshot: Any) -> None:
        """Fit the probe on the snapshot, keep it as a run with its evaluation, and let it answer."""
        from curation.probabilities import fit_probe
        from curation.services.snapshots import read_rows
        from jobs.models import Job
        from labeling.models import Example
        from serving.models import Deployment
        from training.models import Run
        from training.services.scoring import judge, write_evaluation

        rows = {split: read_rows(snapshot, split) for split in ("train", "dev", "test")}
        vectors = {split: np.array([self.texts.vectors[row.text] for row in found]) for split, found in rows.items()}
        self.probe = fit_probe(vectors["train"], [row.label for row in rows["train"]], vectors["dev"],
                               [row.label for row in rows["dev"]], seed=0)
        job = Job.objects.create(project=self.project, kind="baseline", title="Probe", state="succeeded",
                                 finished_at=self.clock.now)
        run = Run.objects.create(snapshot=snapshot, kind=Run.Kind.probe, job=job, created_by=self.admin, config={})
        chances = self.probe.predict_proba(vectors["test"])
        said = [self.probe.labels[k] for k in chances.argmax(axis=1)]
        evaluation = write_evaluation(run, "test", judge(
            self.project, rows["test"], said, probability=list(chances.max(axis=1))), seconds=0.0, extra={})
        self.deployment = Deployment.objects.create(
            project=self.project, slot=Deployment.Slot.champion, run=run, backend=Deployment.Backend.embedded)
        n_new = sum(row.text in set(self.texts.new) for row in rows["train"])
        n_labelled = Example.objects.filter(project=self.project, split="pool", text__in=self.texts.new).count()
        measured = evaluation.measured.interval
        self.taken = f"{n_new} of {n_labelled} labelled examples"
        self.models.append(
            f"{percent_words(measured.estimate)} ({percent_words(measured.low)} to {percent_words(measured.high)}) of "
            f"{measured.n} test rows, learned from {len(rows['train'])} gold rows, {n_new} of them about the new topic "
            f"({n_labelled} labelled examples about it were there to choose from)")

    # a week

    def week(self, number: int) -> None:
        texts = self.asked(number)
        self.clock.at(number, days=3)
        week = self.answer(number, texts)
        self.clock.at(number + 1)
        self.tick()
        self.clock.at(number + 1, days=2)
        self.label_what_is_asked()
        self.tick()
        look = self.project.looks.filter(kind="regular", count__isnull=False, number__gt=self.last_look).first()
        if look is not None:
            self.last_look = look.number
            count = look.count
            week.evidence, week.threshold, week.level = count.evidence, count.threshold, count.level
            week.share = count.share
            week.warnings = [one.name for one in look.signals.filter(is_warning=True)]
        self.clock.at(number + 1, days=3)
        self.label_what_is_asked()  # of an extra look
        self.tick()
        self.decide(number)
        self.weeks.append(week)
        print(f"week {number + 1}: {week.right:.3f} right, new {week.new}, {week.level} {week.evidence}, "
              f"{', '.join(week.warnings)}", flush=True)

    def asked(self, number: int) -> list[str]:
        n_new = round(NEW_SHARE * A_WEEK) if number >= NEW_FROM else 0
        new = [text for text, _ in zip(self.new, range(n_new), strict=False)]
        return [*new, *(next(self.known) for _ in range(A_WEEK - len(new)))]

    def answer(self, number: int, texts: Sequence[str]) -> Week:
        """The model answers, and the gateway's log writes it down."""
        from serving.exchange_id import Named, new_id
        from serving.models import Exchange
        from serving.services.exchanges import Entry, Words, write_entries
        from serving.services.rules import rules_of

        chances = self.probe.predict_proba(np.array([self.texts.vectors[text] for text in texts]))
        said, rules, entries = [self.probe.labels[k] for k in chances.argmax(axis=1)], rules_of(self.project), []
        for n, (text, label, sure) in enumerate(zip(texts, said, chances.max(axis=1), strict=True)):
            at = self.clock.now + timedelta(minutes=n)
            name = new_id(Named(self.project.pk, self.deployment.pk, int(at.timestamp() * 1000)), secret="bench")
            row = Exchange(name=name, project=self.project, deployment=self.deployment, api_key=self.key,
                           route=Exchange.Route.predict, is_answered=True, is_readable=True, seconds=0.01, at=at)
            entries.append(Entry(self.project.pk, "n_answered", at, row, 1, "embedded", Words(
                text, {}, "", {"text": label, "value": label, "probability": float(sure)}, rules.masks,
                rules.retention_days)))
        write_entries(entries, Counter())
        right = np.array([label == self.texts.team[text] for label, text in zip(said, texts, strict=True)])
        is_new = np.isin(texts, self.texts.new)
        week = Week(number, float(right.mean()), float(right[~is_new].mean()),
                    float(right[is_new].mean()) if is_new.any() else None, int(is_new.sum()), len(self.models))
        if self.plain is not None:
            chances = self.plain.predict_proba(np.array([self.texts.vectors[text] for text in texts]))
            plain = np.array([self.plain.labels[k] == self.texts.team[text]
                              for k, text in zip(chances.argmax(axis=1), texts, strict=True)])
            week.plain, week.plain_new = float(plain.mean()), float(plain[is_new].mean())
        return week

    def tick(self) -> None:
        """What the tick finds due is queued, and what is queued is done."""
        from jobs.models import Job
        from serving.services.watching import poll

        for _ in range(6):
            poll(now=self.clock.now)
            queued = list(Job.objects.filter(state=Job.State.queued).exclude(kind="sync").order_by("pk"))
            for job in queued:
                self.done(job)
            if not queued:
                return

    def done(self, job: Any) -> dict[str, Any]:
        from jobs import services

        services.run(job.pk, heartbeat=False)
        job.refresh_from_db()
        if job.state != "succeeded":
            raise RuntimeError(f"{job.kind}: {job.error}")
        return dict(job.result)

    def label_what_is_asked(self) -> None:
        """Everything that a batch asks for and nobody has labelled."""
        from labeling.models import Annotation, BatchItem, Example

        waiting = list(Example.objects.filter(project=self.project, batch_items__isnull=False).exclude(
            pk__in=Annotation.objects.filter(example__project=self.project).values("example")).distinct())
        self.n_labels_asked += len(waiting)
        wanted = dict(BatchItem.objects.filter(example__in=waiting).values_list("example_id", "n_wanted"))
        self.label(waiting, wanted)

    def decide(self, number: int) -> None:
        """An admin declines what only the calendar or the number of labels proposes, and follows an alarm."""
        from serving.models import TrainingProposal
        from serving.services.drift import live_share
        from serving.services.proposals import decide, gold_query, pays_words

        open_one = TrainingProposal.objects.filter(project=self.project, state="open").first()
        if open_one is None:
            return
        if not open_one.is_alarm:
            decide(open_one, approves=False, reason="Accuracy holds.", by=self.admin, now=self.clock.now)
            self.told.append(f"Week {number + 1}: a training was proposed ({open_one.reasons[0]}) and declined, since "
                             "accuracy held.")
            return
        extra = self.project.looks.filter(kind="extra").first()
        assert extra is not None, "an alarm draws an extra look"
        drawn = [row.example.text for row in extra.rows.select_related("example")]
        n_new = sum(text in set(self.texts.new) for text in drawn)
        pays = pays_words(open_one, live_share(open_one))
        decide(open_one, approves=True, reason="Virtual cards are new.", by=self.admin, now=self.clock.now)
        self.told.append(
            f"Week {number + 1}: the extra look asked about {len(drawn)} requests, {n_new} of them about the new "
            f"topic. Of the proposal: {' '.join(pays[:2])}")
        asked = parse_qs(gold_query(open_one).removeprefix("?"))
        batches = [int(one) for one in asked["favoured_batches"][0].split(", ")]
        share = float(asked["favoured_share"][0])
        self.told.append(f"Week {number + 1}: the proposal asked the gold set's rule to keep {percent_words(share, 0)} "
                         f"of the places for examples of {counted(len(batches), 'batch', 'batches')}, those of the "
                         "looks since the drop and of the extra look.")
        self.train({"favoured_batches": batches, "favoured_share": share})
        self.told.append(f"Week {number + 1}: trained again, approved and served from week {number + 2} on.")


def page(world: World, rang: int | None, seconds: float) -> str:
    """docs/new-topic.md: what happened, week by week, in words, a table and pictures."""
    weeks = world.weeks
    before = [week for week in weeks if week.number < NEW_FROM]
    drop = [week for week in weeks if week.number >= NEW_FROM and week.model == 1]
    after = [week for week in weeks if week.model > 1]
    first_signal = next((week.number for week in weeks if (week.number >= NEW_FROM and "new kinds" in week.warnings)
                         or (week.number >= NEW_FROM and "meaning" in week.warnings)), None)
    false_signals = sum(bool(week.warnings) for week in before)
    lines = [
        "# A topic that training never saw", "",
        "Written by `python -m bench.new_topic`, which runs the shipped services on a clock of its own. Two things "
        "stand in: people, by the data's own labels, and the language model, by a linear probe on real embeddings. "
        "Questions of bank customers (banking77) go to seven teams;",
        f"{N_LABELLED:,} of them are labelled, {GOLD} are gold, then {A_WEEK} come a week. From week {NEW_FROM + 1} on "
        "a quarter of them is about virtual cards and phone wallets, of which no label and no text was known.", "",
        "## What happened", ""]
    said = [
        f"The model that served first: {world.models[0]}.",
        f"Before the topic came it was right on {_mean(before)} of all requests; with it, until it was trained again, "
        f"on {_mean(drop)}; of the new topic alone on {_new(drop)}.",
        "The signals without labels warned first " + (
            f"in week {first_signal + 1}, {_later(first_signal)}" if first_signal is not None else "never")
        + f"; in the {len(before)} weeks before they warned in {counted(false_signals, 'look')}.",
        "The alarm rang " + (f"in week {rang + 1}, {_later(rang)}." if rang is not None else "never.")]
    if after:
        said.append(f"The model that followed: {world.models[-1]}.")
        said.append(f"From then on {_mean(after)} of all requests were right, and {_new(after)} of the new topic.")
        plain = [replace(week, right=week.plain, new=week.plain_new) for week in after
                 if week.plain is not None and week.plain_new is not None]
        said.append(f"Without that, by the same rule on the same day, {world.plain_taken} rows about the new topic "
                    f"would have been taken; a model that learned those is right on {_mean(plain)} of the same "
                    f"requests, and on {_new(plain)} of the new topic.")
    said.append(f"People were asked about {world.n_labels_asked:,} examples in {N_WEEKS} weeks.")
    lines += [f"- {one}" for one in said] + [f"- {one}" for one in world.told] + [""]
    lines += [_accuracy_picture(weeks), "", _evidence_picture(weeks), "", "## Week by week", "", *_table(weeks), ""]
    lines += [
        "“Right” is the truth about all requests, which the product never sees; “look” is what the labels of about "
        "35 random requests a week say, with Wilson's 95 % interval. The evidence begins anew with the second model, "
        "whose weeks begin on a Thursday.", "",
        "## What it teaches", "",
        "- Signals need no labels and send labels where something is new, but cannot say that accuracy fell; "
        "random labels can.",
        "- A gold set by a rule that spreads over all texts takes only some of what is new: here "
        f"{world.plain_taken} rows. A rule that favours what people labelled since the drop takes {world.taken}; the "
        "proposal fills that in.",
        "- The test rows of the second model are mostly from before, so its evaluation says more than the looks at its "
        "traffic do. Looks refill dev and test, too, but slowly.", "",
        "## What this does not show", "",
        "- One run, one topic, one seed: weeks vary by luck, and a topic nearer to known ones would be found later.",
        "- A linear probe answers, not a language model; people never err and label within two days.",
        "- The new topic is a quarter of the requests at once. A slower change takes longer: "
        "[methods.md](methods.md#the-alarm).", "",
        f"Took {seconds / 60:.0f} minutes on a shared core.", ""]
    return "\n".join(lines)


def _mean(weeks: Sequence[Week]) -> str:
    n = len(weeks) * A_WEEK
    if not n:
        return "none"
    found = wilson(round(sum(week.right for week in weeks) * A_WEEK), n)
    return f"{percent_words(found.estimate)} ({percent_words(found.low)} to {percent_words(found.high)}, n = {n:,})"


def _new(weeks: Sequence[Week]) -> str:
    n = sum(week.n_new for week in weeks)
    if not n:
        return "none"
    found = wilson(round(sum((week.new or 0.0) * week.n_new for week in weeks)), n)
    return f"{percent_words(found.estimate)} ({percent_words(found.low)} to {percent_words(found.high)}, n = {n:,})"


def _later(number: int) -> str:
    n = number - NEW_FROM + 1
    return "before the topic came" if n < 1 else f"its {('first', 'second', 'third')[n - 1]} week" if n < 4 else (
        f"its {n}th week")


def _accuracy_picture(weeks: Sequence[Week]) -> str:
    lines = {"all requests": [(week.number + 1, week.right) for week in weeks],
             "what was known": [(week.number + 1, week.known) for week in weeks],
             "the new topic": [(week.number + 1, week.new) for week in weeks if week.new is not None]}
    words = (f"Right answers week by week: {percent_words(weeks[0].right)} in the first, "
             f"{percent_words(min(week.right for week in weeks))} in the worst, {percent_words(weeks[-1].right)} in "
             "the last")
    draw("new-topic-accuracy", share_lines_chart(lines, title="week", words=words), folder=PAGE.parent / "charts")
    return f"![{words}](charts/new-topic-accuracy.svg)"


def _evidence_picture(weeks: Sequence[Week]) -> str:
    from projects.charts import evidence_chart

    known = [week for week in weeks if week.evidence is not None]
    threshold = known[0].threshold or 1.0
    words = f"Evidence of a drop; the alarm rings at {threshold:.0f}"
    draw("new-topic-evidence", evidence_chart(
        [(str(week.number + 1), week.evidence or 0.0) for week in known], warning=threshold / 5, alarm=threshold,
        words=words), folder=PAGE.parent / "charts")
    return f"![{words}](charts/new-topic-evidence.svg)"


def _table(weeks: Sequence[Week]) -> list[str]:
    rows = ["| week | model | right | known | new topic | look | evidence | says | signals |",
            "|---|---|---|---|---|---|---|---|---|"]
    for week in weeks:
        look, evidence = "—", "—" if week.evidence is None else f"{week.evidence:.3g}"
        if week.share:
            share, low, high = (percent_words(week.share[name]) for name in ("estimate", "low", "high"))
            look = f"{share} ({low} to {high})"
        rows.append(f"| {week.number + 1} | {week.model} | {percent_words(week.right)} | {percent_words(week.known)} "
                    f"| {percent_words(week.new)} | {look} | {evidence} | {week.level or '—'} | "
                    f"{', '.join(week.warnings) or '—'} |")
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The main job from a file of noisy labels to a trained adapter and an honest comparison, on real parts.

1. People, a project, 4,200 tweets: the pool with one noisy label each, the held-out rows with five blind ones.
2. Scoring finds what looks wrong; those examples go to Label Studio and come back with two more labels each.
   (The clicks are replayed: the answers are real people's ratings, given in the names of two annotators.)
3. A curator settles them by majority, picks the gold set and freezes it; an admin approves it.
4. The prompts are tried, then LoRA is trained and evaluated on the same test rows.
5. The champion answers some requests through the gateway, and so does the best prompt, the same ones.
6. The last screen compares everything, also with the truth that nothing before it has looked at.
Each step looks first at what stands, so a demo that was cut off goes on where it was.
"""

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth.models import User

from curation.models import Decision, QualityReport, Snapshot
from curation.services.approvals import judged_checks, override_check
from curation.services.gold_sets import gold_set_of, save_rule
from curation.services.labels import ballots, majority
from curation.services.review import decide, review_queue
from curation.services.scoring import latest_report, start_score
from curation.services.snapshots import approve_snapshot, read_rows, start_freeze
from goldpan.demo_data import DESCRIPTIONS, INSTRUCTIONS, LABELS, SDIST, Tweets, labels_of, read_tweets, truth_of
from jobs.models import Job
from jobs.services import retry
from labeling.label_studio_server import wait_until_up
from labeling.models import Annotation, Annotator, Assignment, Batch, Desk, Example, LabelingRules, Upload
from labeling.services.batches import Overlap, create_batch
from labeling.services.desks import annotator_of
from labeling.services.imports import receive_upload, start_import
from labeling.services.server import label_studio
from labeling.services.sync import start_sync
from labeling.task_types.classification import to_result
from projects.errors import UserError
from projects.models import Project, Role
from projects.people import new_password
from projects.services import add_member, create_api_key, create_project, revoke_api_key
from serving.models import Exchange, Feedback, Shadow
from serving.services.experiments import challengers_of
from serving.services.shadows import start_shadow
from training.models import Adapter, Receipt, Run, Verdict
from training.services.baseline import start_baseline
from training.services.evaluation import queue_evaluation
from training.services.promotion import promote, standing
from training.services.quotes import start_quote
from training.services.runs import gate_objection, start_training

NAME = "Tweet sentiment"
TARGET = 0.80
N_RELABELLED = 500  # the flagged examples that go to Label Studio, two answers each
GOLD_SIZE = 500
NOISY, BLIND, RELABELS, TIE_BREAK = 0, range(1, 6), (6, 7), 8  # which column of the ratings plays which part
N_REQUESTS = 60  # to the gateway; every second answer gets a thumb
ANSWERING_THREADS = 2  # more gain nothing over Label Studio's SQLite
ACCEPTED = {  # what the admin overrides in the demo, and why; anything else that fails ends it
    "personal_data": "The tweets were public when they were collected; their phone numbers stay for this demo.",
    "conflicts": "A tweet that was sent twice and labelled differently by one rater each; the other checks hold.",
}
PEOPLE = {"admin": Role.admin, "curator": Role.curator, "annotator-1": Role.annotator, "annotator-2": Role.annotator}

Say = Callable[[str], None]


class StepFailed(Exception):
    """A step of the demo could not be done; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Cast:
    """Who does what in the demo, and on what."""

    project: Project
    admin: User
    curator: User
    annotators: tuple[User, User]
    tweets: Tweets


def run_demo(say: Say) -> Project:
    """Do every step that has not been done yet; return the project.

    say: called with a line per step, and while a job runs.
    Raises StepFailed.
    """
    tweets = read_tweets(settings.BASE_DIR / "var" / "downloads" / SDIST)
    steps: list[tuple[str, Callable[[Cast, Say], str]]] = [
        ("Import", import_examples), ("Blind labels", import_labels), ("Score", score), ("Label Studio", relabel),
        ("Review", review), ("Score again", score_again), ("Gold set", freeze_gold_set), ("Approve", approve),
        ("Prompt baseline", try_prompts), ("Train LoRA", train), ("Evaluate", evaluate), ("Promote", try_to_promote),
        ("Serve", ask_the_gateway)]
    cast = _cast(tweets)
    for number, (name, step) in enumerate(steps, 1):
        started = time.monotonic()
        heading = f"[{number:2}/{len(steps)}] {name}"
        try:
            told = step(cast, lambda line, heading=heading: say(f"{heading}: {line}"))  # type: ignore[misc]
        except Exception as error:  # whatever it is, the reader learns which step it was
            raise StepFailed(f"Step {number}, {name}, failed: {error}") from error
        say(f"{heading}: {told} ({time.monotonic() - started:.0f} s)")
    _reach_label_studio(cast, say)
    return cast.project


def _cast(tweets: Tweets) -> Cast:
    users = {name: User.objects.get_or_create(username=name, defaults={
        "is_superuser": name == "admin", "is_staff": name == "admin"})[0] for name in PEOPLE}
    project = Project.objects.filter(name=NAME).first()
    if project is None:
        project = create_project(
            name=NAME, labels=[{"name": label, "description": DESCRIPTIONS[label]} for label in LABELS],
            instructions=INSTRUCTIONS, target_metric="accuracy", target_value=TARGET, created_by=users["admin"],
            split_salt="tweet-sentiment")  # so that everybody's demo has the same split
    for name, role in PEOPLE.items():
        if not project.memberships.filter(user=users[name], role=role).exists():
            add_member(project, users[name], role, by=users["admin"])
    return Cast(project, users["admin"], users["curator"], (users["annotator-1"], users["annotator-2"]), tweets)


def hand_out_passwords() -> dict[str, str]:
    """Give everybody who has no password yet a random one; user name → password, to be shown once."""
    made = {}
    for user in User.objects.filter(username__in=PEOPLE):
        if not user.has_usable_password() or not user.password:
            made[user.username] = new_password()
            user.set_password(made[user.username])
            user.save(update_fields=["password"])
    return made


# The steps

def import_examples(cast: Cast, say: Say) -> str:
    if not Example.objects.filter(project=cast.project).exists():
        rows = [["id", "text"], *zip(cast.tweets.keys, cast.tweets.texts, strict=True)]
        _import(cast, "tweets.csv", rows, Upload.Kind.examples, say)
    n = {split: Example.objects.filter(project=cast.project, split=split).count() for split in Example.Split.values}
    return f"{sum(n.values()):,} tweets: {n['pool']:,} pool, {n['dev']:,} dev, {n['test']:,} test"


def import_labels(cast: Cast, say: Say) -> str:
    """One noisy label for each pool example; for each held-out one five blind labels, a sixth where those tie."""
    if not Annotation.objects.filter(example__project=cast.project).exists():
        labels = labels_of(cast.tweets.ratings)
        split_of = dict(Example.objects.filter(project=cast.project).values_list("key", "split"))
        rows = [["id", "annotator", "label"]]
        for key, given in zip(cast.tweets.keys, labels, strict=True):
            if split_of[key] == Example.Split.pool:
                rows.append([key, "first-label", given[NOISY]])
                continue
            blind = [str(given[column]) for column in BLIND]
            rows += [[key, f"blind-{column}", given[column]] for column in BLIND]
            if majority(blind) is None:
                rows.append([key, f"blind-{TIE_BREAK}", given[TIE_BREAK]])
        _import(cast, "labels.csv", rows, Upload.Kind.annotations, say)
    imported = Annotation.objects.filter(example__project=cast.project, source=Annotation.Source.file)
    n_blind = imported.exclude(example__split=Example.Split.pool).count()
    return (f"{imported.count():,} labels: one noisy one for each pool tweet, {n_blind:,} blind ones for the held-out "
            "tweets")


def _import(cast: Cast, name: str, rows: Sequence[Sequence[Any]], kind: str, say: Say) -> None:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    upload = receive_upload(cast.project, io.BytesIO(file.getvalue().encode()), name=name, kind=kind, by=cast.curator)
    _finish(start_import(upload, by=cast.curator), say)


def score(cast: Cast, say: Say) -> str:
    report = _first_report(cast.project)
    if report is None:
        _finish(start_score(cast.project, by=cast.curator), say)
        report = _first_report(cast.project)
    assert report is not None
    return f"{report.n_issues:,} of {report.n_scored:,} labels look wrong, {report.n_clusters:,} groups of repeats"


def _first_report(project: Project) -> QualityReport | None:
    return QualityReport.objects.filter(project=project).order_by("pk").first()


def relabel(cast: Cast, say: Say) -> str:
    """Send what looks wrong to Label Studio and replay two annotators' answers there."""
    annotators = [annotator_of(cast.project, user) for user in cast.annotators]
    if not Batch.objects.filter(project=cast.project).exists():
        report = _first_report(cast.project)
        assert report is not None
        worst = review_queue(report, order="quality").values_list("example_id", flat=True)[:N_RELABELLED]
        LabelingRules.objects.update_or_create(project=cast.project, defaults={"open_limit": N_RELABELLED})
        create_batch(cast.project, worst, title="what looks wrong", by=cast.curator, annotators=annotators,
                     overlap=Overlap(n_labels=2, overlap_share=0, overlap_labels=2, max_labels=2))
    # A column of the ratings holds many people, so nothing is said about any of these names.
    Annotator.objects.filter(project=cast.project).update(is_person=False)
    asked = _asked(cast.project)
    if Assignment.objects.filter(item__batch__project=cast.project,
                                 state=Assignment.State.answered).count() < 2 * len(asked):
        _wait_for_label_studio(say)
        _finish(start_sync(cast.project, by=cast.curator), say)
        _replay_answers(cast, annotators, say)
        _finish(start_sync(cast.project, by=cast.curator), say)
    return f"{len(asked):,} examples labelled twice more in Label Studio (replayed clicks, real ratings)"


def _asked(project: Project) -> list[Example]:
    return list(Example.objects.filter(batch_items__batch__project=project).order_by("pk"))


def _wait_for_label_studio(say: Say) -> None:
    say("waiting for Label Studio")
    wait_until_up(settings.GOLDPAN_LABEL_STUDIO_URL, lambda: True, timeout=240)


def _reach_label_studio(cast: Cast, say: Say) -> None:
    """Where no step waited for it, the tick has found it away, since it takes longest to start."""
    if Desk.objects.filter(project=cast.project).exclude(state=Desk.State.ok).exists():
        _wait_for_label_studio(say)
        _finish(start_sync(cast.project, by=cast.curator), say)


def _replay_answers(cast: Cast, annotators: Sequence[Annotator], say: Say) -> None:
    client, labels = label_studio(), labels_of(cast.tweets.ratings)
    row_of = {key: row for row, key in enumerate(cast.tweets.keys)}
    column_of = dict(zip([annotator.pk for annotator in annotators], RELABELS, strict=True))
    lying = Assignment.objects.filter(annotator__in=annotators, state=Assignment.State.placed).select_related(
        "example", "annotator")
    answers = [(assignment.ls_task_id, str(labels[row_of[assignment.example.key], column_of[assignment.annotator_id]]),
                assignment.annotator.ls_user_id) for assignment in lying]

    def answer(task_label_user: tuple[int, str, int]) -> None:
        ls_task_id, label, ls_user_id = task_label_user
        client.answer(ls_task_id, to_result(label), ls_user_id, 0.0)

    with ThreadPoolExecutor(ANSWERING_THREADS) as threads:
        for done, _ in enumerate(threads.map(answer, answers), 1):
            if done % 200 == 0:
                say(f"{done:,} of {len(answers):,} answers")


def review(cast: Cast, say: Say) -> str:
    """Settle each relabelled example by the majority of its three labels; three ways apart leaves it out."""
    report, decided = _first_report(cast.project), 0
    found = ballots(cast.project)
    for example in _asked(cast.project):
        ballot = found[example.pk]
        if ballot.is_settled:
            continue
        label, first = ballot.majority, ballot.votes[0].label
        verdict = ("exclude" if label is None else "keep" if label == first else "relabel")
        decide(example, verdict=verdict, value=label or "", by=cast.curator, report=report,
               reason="majority of three labels")
        decided += 1
    held_out = Example.objects.filter(project=cast.project).exclude(split=Example.Split.pool)
    for example in held_out:
        ballot = found[example.pk]
        if ballot.majority is None and not ballot.is_settled:
            decide(example, verdict="exclude", by=cast.curator, reason="six blind labels tie")
    n = {str(verdict): Decision.objects.filter(example__project=cast.project, verdict=verdict).count()
         for verdict in Decision.SETTLED}
    return f"{n['keep']:,} labels kept, {n['relabel']:,} changed, {n['exclude']:,} examples left out"


def score_again(cast: Cast, say: Say) -> str:
    if QualityReport.objects.filter(project=cast.project).count() < 2:
        _finish(start_score(cast.project, by=cast.curator), say)
    report = latest_report(cast.project)
    assert report is not None
    return f"{report.n_issues:,} labels still look wrong"


def freeze_gold_set(cast: Cast, say: Say) -> str:
    snapshot = _snapshot(cast.project)
    if snapshot is None:
        save_rule(gold_set_of(cast.project), size=GOLD_SIZE, min_quality=0.0, min_per_label=20, allow_flagged=False,
                  seed=0, by=cast.curator)
        _finish(start_freeze(cast.project, by=cast.curator), say)
        snapshot = _snapshot(cast.project)
    assert snapshot is not None
    counts = snapshot.counts
    return (f"{snapshot} frozen: {counts['train']:,} train, {counts['dev']:,} dev, {counts['test']:,} test rows, "
            f"sha256 {snapshot.sha256[:12]}…")


def _snapshot(project: Project) -> Snapshot | None:
    return Snapshot.objects.filter(project=project).order_by("number").first()


def approve(cast: Cast, say: Say) -> str:
    snapshot = _snapshot(cast.project)
    assert snapshot is not None
    if not snapshot.is_approved:
        for judged in judged_checks(snapshot):
            if not judged.is_green and judged.check.name in ACCEPTED:
                override_check(snapshot, name=judged.check.name, n=judged.check.n, reason=ACCEPTED[judged.check.name],
                               by=cast.admin)
        approve_snapshot(snapshot, sha256=snapshot.sha256, approver=cast.admin)
    return f"{snapshot} approved by {cast.admin.username}, who did not make it"


def try_prompts(cast: Cast, say: Say) -> str:
    snapshot = _snapshot(cast.project)
    assert snapshot is not None
    verdict = Verdict.objects.filter(snapshot=snapshot).first()
    if verdict is None:
        _finish(start_baseline(snapshot, by=cast.admin), say)
        verdict = Verdict.objects.get(snapshot=snapshot)
    return f"{verdict.outcome}. {verdict.words}"


def train(cast: Cast, say: Say) -> str:
    """Train whatever the verdict says: the demo is there to show the comparison; the reason is written down."""
    snapshot = _snapshot(cast.project)
    assert snapshot is not None
    run = Run.objects.filter(snapshot=snapshot, kind=Run.Kind.lora).order_by("pk").first()
    if run is None:
        _finish(start_quote(snapshot, by=cast.admin), say)
        run = start_training(
            snapshot, by=cast.admin,
            override_reason="The demo shows the comparison either way." if gate_objection(snapshot) else "")
    if not Adapter.objects.filter(run=run).exists():
        run.job.refresh_from_db()
        _finish(run.job if run.job.is_active else retry(run.job), say)
    receipt = Adapter.objects.get(run=run).receipt
    took = Receipt.objects.filter(run=run).select_related("quote").first()
    against = f", {took.seconds:.0f} s where {took.quote.seconds:.0f} s were quoted" if took and took.quote else ""
    return f"{receipt['steps']} steps, loss {receipt['loss_first']:.2f} → {receipt['loss_last']:.2f}{against}"


def evaluate(cast: Cast, say: Say) -> str:
    run = Run.objects.filter(snapshot=_snapshot(cast.project), kind=Run.Kind.lora).order_by("pk").first()
    assert run is not None
    _finish(queue_evaluation(run, by=cast.admin), say)
    evaluation = run.evaluations.get(split="test")
    return f"right on {evaluation.n_right:,} of {evaluation.n:,} test rows"


def try_to_promote(cast: Cast, say: Say) -> str:
    adapter = Adapter.objects.filter(project=cast.project).order_by("pk").first()
    assert adapter is not None
    if adapter.stage == Adapter.Stage.candidate:
        found = standing(adapter)
        if not found.allowed:
            return f"not promoted. {' '.join(found.reasons)}"
        promote(adapter, by=cast.admin)
    return f"{adapter} is the champion"


def ask_the_gateway(cast: Cast, say: Say) -> str:
    """Ask what serves as a program does, over HTTP, then what may challenge it: tweets that nothing was trained on."""
    project = cast.project
    sent = Exchange.objects.filter(project=project).count()
    if sent < N_REQUESTS:
        key, secret = create_api_key(project, name="demo", scopes=["predict", "feedback"], by=cast.admin)
        try:
            _send_requests(cast, secret, sent, say)
        finally:
            revoke_api_key(key, by=cast.admin)
    others = challengers_of(project)
    if others and not Shadow.objects.filter(project=project).exists():
        _finish(start_shadow(project, challenger=others[0].name, n=N_REQUESTS, by=cast.admin), say)
    given = Counter(Feedback.objects.filter(project=project).exclude(thumb="").values_list("thumb", flat=True))
    told = f"{N_REQUESTS} tweets asked over HTTP; {given['up']} of {given.total()} thumbs up, by ten other raters"
    shadow = Shadow.objects.filter(project=project).first()
    if shadow is None:
        return told
    return f"{told}; {shadow.challenger.title} answers {shadow.n_differing} of {shadow.n} otherwise"


def _send_requests(cast: Cast, secret: str, start: int, say: Say) -> None:
    snapshot = _snapshot(cast.project)
    assert snapshot is not None
    gold = {row.key for row in read_rows(snapshot, "train")}
    fresh = Example.objects.filter(project=cast.project, split=Example.Split.pool).exclude(key__in=gold)
    truth = dict(zip(cast.tweets.keys, truth_of(cast.tweets.ratings), strict=True))
    with httpx.Client(base_url=settings.GOLDPAN_GATEWAY_URL, headers={"Authorization": f"Bearer {secret}"},
                      timeout=120) as http:
        for number, example in enumerate(fresh.order_by("content_sha256")[start:N_REQUESTS], start):
            said = _posted(http, f"/v1/projects/{cast.project.pk}/predict",
                           {"text": example.text, "user": f"reader-{number}"})
            if number % 2 == 0:
                is_right = said["answer"] == truth[example.key]
                _posted(http, "/v1/feedback", {"exchange": said["exchange"], "thumb": "up" if is_right else "down"})
            if number % 20 == 19:
                say(f"{number + 1} of {N_REQUESTS} requests")


def _posted(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    while (answer := http.post(path, json=body)).status_code == httpx.codes.TOO_MANY_REQUESTS:
        time.sleep(float(answer.headers["Retry-After"]))
    answer.raise_for_status()
    return dict(answer.json())


def _finish(job: Job, say: Say) -> None:
    """Wait for the worker to end a job; raises UserError if it did not succeed."""
    told = ""
    while True:
        job.refresh_from_db()
        if not job.is_active:
            break
        line = f"{job.stage} {job.percent // 25 * 25} %" if job.total else job.stage
        if job.stage and line != told:
            say(line)
            told = line
        time.sleep(0.2)
    if job.state != Job.State.succeeded:
        raise UserError(f"job {job.pk} {job.state}. {job.error or 'Run the demo again.'}")

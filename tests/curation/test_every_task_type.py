"""Every type of task goes from answers to an approved, exported snapshot, through the services and the pages."""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings
from django.urls import reverse
from django.utils.html import escape

from curation.answers import NO_MODEL
from curation.exports import EXPORTS
from curation.models import ERASED, ExampleScore, Snapshot
from curation.services.checks import check_snapshot
from curation.services.erasing import erase
from curation.services.exporting import write_export
from curation.services.gold_sets import STRATA, gold_set_of, preview, rule_of
from curation.services.labels import answers_of, ballots
from curation.services.review import decide, review_counts, review_queue
from curation.services.scoring import latest_report, start_score
from curation.services.snapshots import approve_snapshot, read_rows, start_freeze
from goldpan.verification import problems
from jobs import services as jobs
from labeling.models import Annotation, Example, Suggestion
from labeling.task_types import task_type
from labeling.texts import content_sha256
from projects.errors import UserError
from projects.models import Project, Role
from projects.schema import TASK_TYPES
from projects.services import add_member, create_project
from tests.curation.conftest import annotate, new_example
from training.services.baseline import start_baseline
from training.services.runs import start_training

N_POOL, N_DEV, N_TEST = 40, 6, 9
LABELS = {"labels": [{"name": "refund"}, {"name": "crash"}, {"name": "praise"}]}
WORDS = {"refund": "Please pay my money back", "crash": "The application stops at once",
         "praise": "What a lovely thing"}
NAMES = list(WORDS)
PEOPLE = ["Ada Byron", "Kurt Goedel", "Emmy Noether", "Alan Turing", "Grace Hopper", "Paul Erdos", "Maryam Mirzakhani"]
CONTRACT = {"json_schema": {"type": "object", "required": ["party"], "properties": {
    "party": {"type": "string"}, "sum": {"type": "number"}}}}


def mood(n: int) -> str:
    return NAMES[n % 3]


def both(n: int) -> list[str]:
    return sorted({mood(n), "refund"})


def person(n: int) -> str:
    return PEOPLE[n % 7]


def spoken(n: int) -> str:
    """A word for every number, since texts that differ in long numbers only say the same."""
    return "".join(["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru"][int(digit)] for digit in str(n))


def spans_of(text: str, *names: str) -> list[dict[str, Any]]:
    return [{"start": text.index(name), "end": text.index(name) + len(name), "label": "PERSON"} for name in names]


def letter(n: int) -> str:
    return f"In the matter of number {n * 7919}, {person(n)} pays {1000 + n} euros, wrote {person(n + 1)}."


def about(n: int) -> str:
    return f"{WORDS[mood(n)]}, says {spoken(n * 7919)} of {spoken(n * 1299709)} to {spoken(n * 15485863)}."


def answer(n: int) -> str:
    return f"Dear writer of letter {n}, we have read every word of it and shall do as you ask within {n + 3} days."


def refusal(n: int) -> str:
    return f"No, number {n * 31}: that is not how it is done at all here, sorry."


@dataclass
class Case:
    """A schema; of example n its text, data and right answer; another answer that most others do not share."""

    schema: dict[str, Any]
    text: Callable[[int], str]
    right: Callable[[int], Any]
    other: Callable[[int], Any]
    data: Callable[[int], dict[str, Any]] = field(default=lambda n: {})


CASES = {
    "classification": Case(LABELS, about, mood, lambda n: mood(n + 1)),
    "multilabel": Case(LABELS, lambda n: f"{about(n)} {WORDS['refund']}.", both, lambda n: ["crash", "praise"]),
    "response": Case({}, about, answer, refusal),
    "extraction": Case(CONTRACT, letter, lambda n: {"party": person(n), "sum": 1000 + n},
                       lambda n: {"party": person(n + 1)}),
    "preference": Case({}, about, lambda n: ["left", "right", "right", "tie"][n % 4],
                       lambda n: ["right", "left", "tie", "left"][n % 4],
                       lambda n: {"left": answer(n), "right": f"Letter {n * 13} has come in, thank you for it."}),
    "spans": Case({"labels": [{"name": "PERSON"}]}, letter, lambda n: spans_of(letter(n), person(n), person(n + 1)),
                  lambda n: []),
    "chat": Case({}, about, answer, refusal,
                 lambda n: {"messages": [{"role": "user", "content": f"Hello, I am number {n * 7919}."},
                                         {"role": "assistant", "content": "Go on."},
                                         {"role": "user", "content": about(n)}]}),
}


@dataclass
class Work:
    project: Project
    case: Case
    examples: dict[str, Example]


def new_work(kind: str, name: str) -> Work:
    """One answer to every pool example; p02 has another one beside it; d1 has two of three against one, t2 ties."""
    case, alice, bob, charlie = CASES[kind], *map(person_called, ("alice", "bob", "charlie"))
    project = create_project(name=name, task_type=kind, schema=case.schema, created_by=alice,
                             instructions="Read the whole letter.", target_value=0.8, split_salt="tests")
    add_member(project, bob, Role.curator, by=alice)
    add_member(project, charlie, Role.annotator, by=alice)
    keys = ([(f"p{n:02}", "pool") for n in range(N_POOL)] + [(f"d{n}", "dev") for n in range(N_DEV)]
            + [(f"t{n}", "test") for n in range(N_TEST)])
    examples = {}
    for n, (key, split) in enumerate(keys):
        text = case.text(n)
        task_type(kind).validate_data(text, case.data(n), case.schema)
        examples[key] = new_example(project, key, split, text=text, data=case.data(n),
                                    content_sha256=content_sha256(text))
        for name in ("mira",) if split == "pool" else ("mira", "jon", "kim"):
            value = case.other(n) if (key, name) == ("d1", "kim") else case.right(n)
            annotate(examples[key], name, task_type(kind).canonical(value))
    annotate(examples["p02"], "jon", case.other(2))
    return Work(project, case, examples)


def person_called(name: str) -> User:
    return User.objects.get_or_create(username=name)[0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """The files of the kept projects, by type of task."""
    return tmp_path_factory.mktemp("scored")


@pytest.fixture(scope="module", params=TASK_TYPES)
def kept(request, folders, django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[tuple[int, str]]:
    """A scored project of each type, made once: every test finds it, and its files, as it was made."""
    with django_db_blocker.unblock(), transaction.atomic():
        with override_settings(GOLDPAN_OBJECTS=folders / request.param, GOLDPAN_JOBS=tmp_path_factory.mktemp("jobs"),
                               GOLDPAN_ENCODER="tests.fakes.HashingEncoder"):
            work = new_work(request.param, "Letters")
            jobs.run(start_score(work.project, by=person_called("bob"), wake=False).pk, heartbeat=False)
        yield work.project.pk, request.param
        transaction.set_rollback(True)


@pytest.fixture
def alice(db) -> User:
    return person_called("alice")


@pytest.fixture
def bob(db) -> User:
    return person_called("bob")


@pytest.fixture(params=TASK_TYPES)
def work(request, folders, db, settings) -> Work:
    for folder in folders.iterdir():  # equal texts are not embedded again
        shutil.copytree(folder, settings.GOLDPAN_OBJECTS, dirs_exist_ok=True)
    return new_work(request.param, "New letters")


@pytest.fixture
def scored(kept, folders, db, settings) -> Work:
    pk, kind = kept
    shutil.copytree(folders / kind, settings.GOLDPAN_OBJECTS)
    project = Project.objects.get(pk=pk)
    return Work(project, CASES[kind], {example.key: example for example in project.examples.order_by("pk")})


@pytest.fixture
def snapshot(scored, bob, run_jobs) -> Snapshot:
    gold_set = gold_set_of(scored.project)
    gold_set.size, gold_set.min_per_label, gold_set.allow_flagged = 20, 2, True
    gold_set.save()
    start_freeze(scored.project, by=bob)
    run_jobs()
    return Snapshot.objects.get()


def score_of(work: Work, key: str) -> ExampleScore:
    return ExampleScore.objects.get(report=latest_report(work.project), example=work.examples[key])


def read(work: Work, label: str, key: str) -> Any:
    return answers_of(work.project).value(label, source=work.examples[key].text)


def test_every_answer_is_a_label_that_can_be_read_back(work):
    for pk, ballot in ballots(work.project).items():
        key = Example.objects.get(pk=pk).key
        assert all(read(work, vote.label, key) == vote.value for vote in ballot.votes)


def test_scoring_leaves_no_example_out_and_invents_no_probability(scored):
    report = latest_report(scored.project)
    assert report.scores.count() == N_POOL + N_DEV + N_TEST
    assert report.scores.exclude(label="").count() == N_POOL
    assert not report.scores.exclude(example__split="pool").filter(label_quality__isnull=False).exists()
    if scored.project.task_type in NO_MODEL:
        assert report.accuracy is None and not report.hidden_because
        assert not report.scores.exclude(label_probability=None, predicted_label="").exists()
        assert [score.example.key for score in report.scores.filter(label_quality__isnull=False)] == ["p02"]


def test_what_two_people_answer_differently_is_a_disagreement(scored):
    score = score_of(scored, "p02")
    assert score.annotator_agreement is not None and score.annotator_agreement < 1
    assert [found.example.key for found in review_queue(latest_report(scored.project), "disagreement")] == ["p02"]


def test_a_curator_settles_it_with_an_answer_of_the_type(scored, bob):
    answers, example = answers_of(scored.project), scored.examples["p02"]
    wanted = answers.label(scored.case.other(2), source=example.text)
    decision = decide(example, verdict="relabel", value=wanted, by=bob, report=latest_report(scored.project))
    assert decision.value == wanted and decision.verdict == "relabel"
    assert not review_queue(latest_report(scored.project), "disagreement").exists()
    assert decide(example, verdict="keep", by=bob).value == wanted


def test_what_is_no_answer_of_the_type_is_refused_in_words(scored, bob):
    written = "" if answers_of(scored.project).is_free_text else "{nothing of the kind"
    with pytest.raises(UserError, match=r"is not a label|cannot be read"):
        decide(scored.examples["p02"], verdict="relabel", value=written, by=bob)


def test_the_gold_set_is_spread_over_what_the_type_has(scored):
    gold_set = gold_set_of(scored.project)
    gold_set.size, gold_set.min_per_label, gold_set.allow_flagged = 20, 2, True
    picked = preview(scored.project, rule_of(gold_set))
    assert picked.n == 20 and picked.stratum == STRATA[scored.project.task_type]
    names = {row.label for row in picked.selection.table}
    if picked.stratum == "group of like texts":
        assert len(names) == 4 and all(": like “" in name for name in names)  # √(40 / 2)
    elif scored.project.task_type != "multilabel":
        assert names <= set(scored.project.labels)
    assert all(row.n_selected >= min(2, row.n_available) for row in picked.selection.table)


def test_held_out_labels_are_what_the_people_say_together(scored, snapshot):
    label_of = {row.key: row.label for row in read_rows(snapshot)}
    for n in range(N_POOL, N_POOL + N_DEV + N_TEST):
        key = f"d{n - N_POOL}" if n < N_POOL + N_DEV else f"t{n - N_POOL - N_DEV}"
        assert read(scored, label_of[key], key) == task_type(scored.project.task_type).canonical(scored.case.right(n))


def test_three_answers_that_settle_nothing_are_left_out_and_decided_by_hand(scored, bob, alice, run_jobs):
    name, n = scored.project.task_type, N_POOL + N_DEV + 2
    text = scored.examples["t2"].text
    apart = {"classification": NAMES, "multilabel": [["refund"], ["crash"], ["praise"]],
             "preference": ["left", "right", "tie"],
             "extraction": [{"party": person(n)}, {"party": person(n + 1)}, {"party": "euros"}],
             "spans": [[{"start": 0, "end": 2, "label": "PERSON"}]] * 2 + [[], []],
             "response": ["One thing.", "Quite another."] * 2, "chat": ["One thing.", "Quite another."] * 2}[name]
    for who, value in zip(("mira", "jon", "kim", "lea"), apart, strict=False):
        annotate(scored.examples["t2"], who, value)
    start_freeze(scored.project, by=bob)
    run_jobs()
    assert "t2" not in {row.key for row in read_rows(Snapshot.objects.first())}
    wanted = answers_of(scored.project).label(apart[0], source=text)
    decide(scored.examples["t2"], verdict="relabel", value=wanted, by=bob)
    start_freeze(scored.project, by=bob)
    run_jobs()
    assert {row.key: row.label for row in read_rows(Snapshot.objects.first())}["t2"] == wanted
    assert all(check.holds for check in check_snapshot(Snapshot.objects.first())), check_snapshot(
        Snapshot.objects.first())


def test_what_most_people_say_of_a_held_out_text_is_not_overruled(scored, bob):
    with pytest.raises(UserError, match="Only ties are decided by hand"):
        decide(scored.examples["d1"], verdict="keep", by=bob)


def test_every_check_of_the_snapshot_holds(snapshot):
    assert [check.found for check in check_snapshot(snapshot) if not check.holds] == []


def export(snapshot, format, tmp_path):
    """The data file, and what left-out.csv says."""
    folder = write_export(snapshot, format, tmp_path / format)
    left_out = (folder.path / "left-out.csv").read_text()
    return (folder.path / EXPORTS[format].data).read_text(), list(csv.DictReader(io.StringIO(left_out)))


def test_it_is_approved_and_exported_with_every_row_accounted_for(snapshot, alice, tmp_path):
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=alice)
    project, keys = snapshot.project, {row.key for row in read_rows(snapshot)}
    kind = task_type(project.task_type)
    for format in ("trl", "messages"):
        data, left_out = export(snapshot, format, tmp_path)
        records = [json.loads(line) for line in data.split("\n") if line]
        assert {record["key"] for record in records} == keys
        for record, row in zip(records, read_rows(snapshot), strict=True):
            turns = record["messages"] if format == "messages" else [*record["prompt"], *record["completion"]]
            assert turns[:-1] == kind.render(row.text, row.data, project.schema, project.instructions)
            assert turns[-1] == {"role": "assistant", "content": row.label}
    rows = list(csv.DictReader(io.StringIO(export(snapshot, "csv", tmp_path)[0])))
    assert {row["key"] for row in rows} == keys
    assert {row["key"] for row in left_out} == set(
        Example.objects.filter(project=project).values_list("key", flat=True)) - keys
    assert all(row["reason"] for row in left_out)


def test_only_comparisons_are_exported_as_chosen_and_rejected(snapshot, tmp_path):
    if snapshot.project.task_type != "preference":
        with pytest.raises(UserError, match=r"The formats are trl, messages, .*; got “preference”"):
            write_export(snapshot, "preference", tmp_path)
        return
    data, left_out = export(snapshot, "preference", tmp_path)
    records = {record["key"]: record for record in map(json.loads, data.splitlines())}
    frozen = {row.key: row for row in read_rows(snapshot)}
    ties = {key for key, row in frozen.items() if row.label == "tie"}
    assert ties and records.keys() == frozen.keys() - ties
    for key, record in records.items():
        row = frozen[key]
        other = {"left": "right", "right": "left"}[row.label]
        assert record["prompt"] == [{"role": "user", "content": row.text}]
        assert record["chosen"] == [{"role": "assistant", "content": row.data[row.label]}]
        assert record["rejected"] == [{"role": "assistant", "content": row.data[other]}]
    assert {row["key"] for row in left_out if row["reason"].startswith("a tie")} == ties


def test_an_erased_example_leaves_no_word_and_everything_goes_on(snapshot, alice, run_jobs):
    project, row = snapshot.project, snapshot.rows.filter(split="train").first()
    example = row.example
    own = [example.text, *(value for value in example.data.values() if isinstance(value, str))]
    own += [row.label] if project.task_type in ("response", "extraction", "chat") else []  # no other row says the same
    words = [text for text in own if len(text) > 15]
    Suggestion.objects.create(example=example, value="of a model", by="adapter 1")
    erase([example], reason="Somebody asked.", by=alice)
    run_jobs()
    if project.task_type not in ("classification", "multilabel", "preference"):
        row.refresh_from_db()
        assert row.label == ERASED and Suggestion.objects.get().value in (ERASED, {}, [])
    for path in settings.GOLDPAN_OBJECTS.rglob("*"):
        stored = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        assert not any(json.dumps(text, ensure_ascii=False)[1:-1] in stored for text in words)
    assert list(problems()) == []
    start_score(project, by=alice)
    start_freeze(project, by=alice)
    run_jobs()
    newest = Snapshot.objects.first()
    assert newest.number == 2 and not newest.rows.filter(example=example).exists() and list(problems()) == []


def test_prompts_can_be_tried_and_adapters_trained_for_every_type(snapshot, alice):
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=alice)
    assert start_baseline(snapshot, by=alice, wake=False)
    with pytest.raises(UserError, match="Try the prompt first"):
        start_training(snapshot, by=alice)


def test_every_page_says_what_it_can_of_the_type(snapshot, alice, client_of):
    client, project = client_of(alice), snapshot.project
    approve_snapshot(snapshot, sha256=snapshot.sha256, approver=alice)
    pages = {name: client.get(reverse(name, args=[project.pk])) for name in (
        "curation:review", "curation:quality", "curation:gold-set", "curation:gold-set-held-out",
        "curation:snapshot-list", "projects:detail")}
    pages["all"] = client.get(reverse("curation:review", args=[project.pk]), {"view": "all"})
    pages["snapshot"] = client.get(reverse("curation:snapshot-detail", args=[snapshot.pk]))
    html = {name: response.content.decode() for name, response in pages.items()}
    assert {name: response.status_code for name, response in pages.items()} == dict.fromkeys(pages, 200)
    assert f"By {STRATA[project.task_type]}" in html["curation:gold-set"]
    if project.task_type in NO_MODEL:
        assert NO_MODEL[project.task_type][:40] in html["curation:quality"]
        assert "Can the model be trusted" not in html["curation:quality"]
    assert "Try the prompt first" in html["projects:detail"]
    assert "Prompt and training" in html["snapshot"]


def test_review_goes_through_every_answer_and_comes_back(scored, bob, client_of):
    client, project = client_of(bob), scored.project
    report = latest_report(project)
    n = review_counts(report).all
    assert n == (report.n_scored if project.task_type == "classification" else N_POOL)
    seen, html = [], client.get(reverse("curation:review", args=[project.pk]), {"view": "all"}).content.decode()
    while True:
        seen.append(html.split('aria-label="Example ')[1].split('"')[0])
        if "Last of this view" in html:
            break
        html = client.get(html.split('data-key="j"')[0].rsplit('href="', 1)[1].split('"')[0].replace(
            "&amp;", "&")).content.decode()
    assert len(seen) == len(set(seen)) == n
    back = list(reversed(seen[:-1]))
    for key in back if project.task_type == "classification" else back[:3]:  # the way is the same for every type
        html = client.get(html.split('data-key="k"')[0].rsplit('href="', 1)[1].split('"')[0].replace(
            "&amp;", "&")).content.decode()
        assert f'aria-label="Example {key}"' in html
    assert ("First of this view" in html) == (key == seen[0])


def test_the_page_takes_an_answer_as_it_is_written_there(scored, bob, client_of):
    project, example = scored.project, scored.examples["p02"]
    answers = answers_of(project)
    label = answers.label(scored.case.other(2), source=example.text)
    sent = {"labels": answers.names_in(label)} if project.task_type == "multilabel" else {
        "other": answers.draft(label) or label}
    response = client_of(bob).post(
        reverse("curation:decide", args=[project.pk]) + "?view=disagreement",
        {"score": score_of(scored, "p02").pk, "seen": 0, "verdict": "relabel", **sent}, headers={"HX-Request": "true"})
    assert response.status_code == 200
    assert [decision.value for decision in example.decisions.all()] == [label]


def test_a_retracted_answer_counts_no_more(work):
    example = work.examples["p02"]
    said = Annotation.objects.filter(example=example).last()
    Annotation.objects.create(example=example, annotator=said.annotator, retracted=True, source="file",
                              instructions_version=1, created_at=said.created_at)
    assert len(ballots(work.project)[example.pk].votes) == 1


@pytest.mark.parametrize(("work", "wrong", "why"), [
    ("extraction", {"party": "Isaac Newton"}, "“party” is “Isaac Newton”, which the text does not say."),
    ("spans", [{"start": 0, "end": 4, "label": "PERSON"}], "“In t” (PERSON) begins or ends within a word."),
    ("response", about(5), "It is the text itself, not an answer to it."),
    ("chat", about(5), "It is the text itself, not an answer to it."),
], indirect=["work"])
def test_an_answer_that_fails_a_check_waits_for_a_curator_and_stays_out_of_the_gold_set(
        work, wrong, why, bob, alice, client_of, run_jobs):
    example = work.examples["p05"]
    annotate(example, "mira", task_type(work.project.task_type).canonical(wrong))
    start_score(work.project, by=bob)
    run_jobs()
    report = latest_report(work.project)
    score = score_of(work, "p05")
    assert score.is_label_issue and score.label_quality is None and score.reasons == [why]
    assert {found.example.key for found in review_queue(report)} >= {"p05"}
    html = client_of(bob).get(reverse("curation:review", args=[work.project.pk]), {"at": score.pk}).content.decode()
    assert escape(why) in html and "answer looks wrong" in html
    gold_set = gold_set_of(work.project)
    assert preview(work.project, rule_of(gold_set)).reason_of[example.pk] == "undecided label issue"
    decide(example, verdict="keep", by=bob, report=report)
    assert example.pk not in {found.example_id for found in review_queue(report)}
    assert example.pk in preview(work.project, rule_of(gold_set)).label_of
    start_score(work.project, by=bob)
    run_jobs()
    assert not score_of(work, "p05").is_label_issue  # what a curator has settled is not brought up again


@pytest.mark.parametrize("work", ["multilabel"], indirect=True)
def test_a_set_that_a_model_doubts_is_flagged_with_what_it_would_change(work, bob, run_jobs):
    for n in range(40, 90):  # enough for a model to learn from
        example = new_example(work.project, f"q{n}", "pool", text=work.case.text(n))
        annotate(example, "mira", work.case.right(n))
    annotate(work.examples["p00"], "mira", ["crash", "refund"])  # the text speaks of money only
    start_score(work.project, by=bob)
    run_jobs()
    score = score_of(work, "p00")
    assert score.is_label_issue and score.predicted_label == "refund" and score.label_quality < 0.5
    assert any(reason.startswith("A model that has not seen the labels gives “crash”, which is given, ")
               for reason in score.reasons)
    report = latest_report(work.project)
    assert report.accuracy > 0.9 and "refund" in report.left_out  # every example has it, so nothing can be learned


@pytest.mark.parametrize("work", ["preference"], indirect=True)
def test_comparisons_of_one_text_are_copies_only_if_the_answers_are(work, bob, run_jobs):
    same = work.examples["p01"]
    new_example(work.project, "other-answers", "pool", text=same.text, content_sha256=same.content_sha256,
                data={"left": "Thank you, we shall see to it.", "right": "Write to the office in Rome, please."})
    new_example(work.project, "same-answers", "pool", text=same.text, content_sha256=same.content_sha256,
                data=same.data)
    start_score(work.project, by=bob)
    run_jobs()
    clusters = dict(latest_report(work.project).scores.values_list("example__key", "cluster"))
    assert clusters["same-answers"] == clusters["p01"] != clusters["other-answers"]


@pytest.mark.parametrize("work", ["response", "spans"], indirect=True)
def test_agreement_has_an_interval_from_thirty_examples_on(work, bob, client_of, run_jobs):
    for n in range(N_POOL - 1):
        annotate(work.examples[f"p{n:02}"], "jon", task_type(work.project.task_type).canonical(work.case.right(n)))
    start_score(work.project, by=bob)
    run_jobs()
    html = client_of(bob).get(reverse("curation:quality", args=[work.project.pk])).content.decode()
    assert "over the 39 pool examples with several answers" in html and "n = 39" in html

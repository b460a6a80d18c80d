"""Two runs' answers judged in pairs: blind by people, in both orders by a model, and what pages say of it."""

import json

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from curation.services.erasing import erase
from jobs.models import Job
from labeling.models import Example
from projects.errors import UserError
from projects.models import AuditEvent
from projects.services.guidelines import publish_guideline
from tests.training.kinds import KINDS, approved
from tests.training.pairs import EmbeddedJudge, Taste, compared, curt, evaluated, right
from tests.training.test_openai_endpoint import Vendor
from training.models import AnswerPair, HumanPreference, JudgePreference, JudgeRun, PairwiseEvaluation
from training.services.comparison import compare
from training.services.judges import judge_cost, start_judging
from training.services.pairwise import (
    judge_pair,
    next_to_judge,
    open_pairwise,
    pairs_left,
    undo_preference,
    weighed,
)
from training.services.promotion import standing

N_TEST = 24  # of the curt prompt's answers 4 cannot be read and 4 are equal to the adapter's: 16 pairs are left
OTHER = "claude-test"


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Ten judged pairs are enough here, so that tests are short."""
    for module in ("training.judging", "training.views.pairwise"):
        monkeypatch.setattr(f"{module}.MIN_HUMAN", 10)


@pytest.fixture
def snapshot(alice, bob):
    return approved(KINDS["response"], admin=alice, curator=bob, n_pool=4, n_dev=2, n_test=N_TEST)


@pytest.fixture
def runs(snapshot, bob):
    return compared(snapshot, by=bob)


@pytest.fixture
def pairwise(runs, bob):
    return open_pairwise(*runs, by=bob)


@pytest.fixture
def vendor(settings):
    vendor = Vendor()
    vendor.answers = Taste()
    settings.GOLDPAN_JUDGE_URL, settings.GOLDPAN_JUDGE_MODEL = vendor.url, OTHER
    settings.GOLDPAN_JUDGE_PRICE_INPUT = 1.0
    settings.GOLDPAN_ALLOWED_ORIGINS = [vendor.origin]
    yield vendor
    vendor.server.shutdown()


def judge_all(pairwise, by, n=None, prefers=lambda left, right: "1" if len(left) > len(right) else "2"):
    """As somebody would who prefers the longer answer."""
    for _ in range(n or pairs_left(pairwise).count()):
        shown = next_to_judge(pairwise, by=by)
        judge_pair(shown.pair, choice=prefers(*shown.answers), by=by)


def page(client, pairwise, name="pairwise"):
    return client.get(reverse(f"training:{name}", args=[pairwise.pk])).content.decode()


# Drawing the pairs

def test_pairs_are_drawn_once_in_an_order_and_on_sides_that_are_stored(runs, pairwise, alice):
    pairs = list(pairwise.pairs.all())
    assert sorted(pair.position for pair in pairs) == list(range(N_TEST))
    assert [pair.example_id for pair in pairs] != sorted(pair.example_id for pair in pairs)
    assert 0 < sum(pair.is_swapped for pair in pairs) < N_TEST
    settled = [pair.settled for pair in pairs]
    assert (settled.count(None), settled.count(0.5), settled.count(1)) == (16, 4, 4)
    assert open_pairwise(*reversed(runs), by=alice) == pairwise and AnswerPair.objects.count() == N_TEST


def test_what_cannot_be_compared_is_refused_in_words(runs, snapshot, alice, bob, project):
    with pytest.raises(UserError, match="two different runs"):
        open_pairwise(runs[0], runs[0], by=bob)
    other = evaluated(approved(KINDS["chat"], admin=alice, curator=bob, n_pool=4, n_dev=2, n_test=6), right, by=bob).run
    with pytest.raises(UserError, match="two snapshots"):
        open_pairwise(runs[0], other, by=bob)
    labels = evaluated(approved(KINDS["multilabel"], admin=alice, curator=bob, n_pool=4, n_dev=2, n_test=6), right,
                       by=bob).run
    with pytest.raises(UserError, match="where they are free text"):
        open_pairwise(labels, labels, by=bob)


def test_it_begins_on_the_comparison(runs, snapshot, bob, client_of):
    client = client_of(bob)
    html = client.get(reverse("training:comparison", args=[snapshot.pk])).content.decode()
    assert "compares wording, a trend only. Which answers are better, people have to say." in html
    made = client.post(reverse("training:pairwise-open", args=[runs[1].pk]), {"with": runs[0].pk})
    assert made.url == reverse("training:pairwise", args=[PairwiseEvaluation.objects.get().pk])
    html = client.get(made.url).content.decode()
    assert "let people read 10 of the 16 pairs that differ, blind" in html and "Judge pairs" in html
    html = client.get(reverse("training:comparison", args=[snapshot.pk])).content.decode()
    assert "is being judged in pairs" in html
    html = client.get(reverse("training:run-differences", args=[runs[1].pk]) + f"?with={runs[0].pk}").content.decode()
    assert "Their answers, judged in pairs" in html


# People

def test_the_page_is_blind_and_keys_choose(pairwise, runs, bob, client_of):
    client, url = client_of(bob), reverse("training:pairwise-judge", args=[pairwise.pk])
    html = client.get(url).content.decode()
    for told in (f"run {runs[0].pk}", f"Run {runs[0].pk}", "LoRA", "Prompt, zero-shot", "SmolLM"):
        assert told not in html
    assert 'data-key="1"' in html and 'data-key="2"' in html and 'data-key="t 3"' in html
    assert "0 judged, 16 left" in html and "What people answered" in html
    shown = next_to_judge(pairwise, by=bob)
    assert html.index(shown.answers[0]) < html.index("Answer 2</h2>")
    part = client.post(url, {"pair": shown.pair.pk, "choice": "1"}, headers={"HX-Request": "true"}).content.decode()
    assert "1 judged, 15 left" in part and "<html" not in part
    preference = HumanPreference.objects.get()
    assert preference.choice == ("second" if shown.pair.is_swapped else "first") and preference.judged_by == bob


def test_answers_one_and_two_are_what_the_stored_side_says(pairwise, bob):
    for choice in ("1", "2", "1", "2", "tie"):
        shown = next_to_judge(pairwise, by=bob)
        curt_one = next(k for k, answer in enumerate(shown.answers, 1) if answer.startswith("Noted, "))
        said = judge_pair(shown.pair, choice=choice, by=bob).choice
        assert said == ("tie" if choice == "tie" else "first" if choice == str(curt_one) else "second")


def test_a_judged_pair_stands_until_it_is_taken_back_and_is_asked_again(pairwise, bob, alice):
    shown = next_to_judge(pairwise, by=bob)
    judge_pair(shown.pair, choice="tie", by=bob)
    with pytest.raises(UserError, match="Somebody has judged"):
        judge_pair(shown.pair, choice="1", by=alice)
    with pytest.raises(UserError, match="no pair that could be taken back"):
        undo_preference(pairwise, by=alice)
    undo_preference(pairwise, by=bob)
    assert next_to_judge(pairwise, by=bob).pair == shown.pair and weighed(pairwise).n_human == 0
    judge_pair(shown.pair, choice="1", by=alice)
    assert [one.choice for one in HumanPreference.objects.all()][:2] == ["tie", "open"]
    assert AuditEvent.objects.filter(what="judge_answers").count() == 2


def test_a_pair_of_other_runs_or_one_that_needs_no_judging_is_not_taken(pairwise, snapshot, runs, bob, client_of):
    settled = pairwise.pairs.filter(settled=0.5).first()
    with pytest.raises(UserError, match="Somebody has judged"):
        judge_pair(settled, choice="1", by=bob)
    third = evaluated(snapshot, lambda row, n: f"Third {n}.", by=bob).run
    theirs = open_pairwise(runs[0], third, by=bob).pairs.filter(settled=None).first()
    url = reverse("training:pairwise-judge", args=[pairwise.pk])
    assert client_of(bob).post(url, {"pair": theirs.pk, "choice": "1"}).status_code == 404
    assert not HumanPreference.objects.exists()


def test_peoples_figure_stands_alone_and_counts_from_enough_pairs_on(pairwise, runs, bob, client_of):
    judge_all(pairwise, bob, 9)
    html = page(client_of(bob), pairwise)
    assert "Judge 1 more pair." in html and "does not count before 1 more" in html
    judge_all(pairwise, bob, 1)
    html = page(client_of(bob), pairwise)
    assert f"Run {runs[1].pk} answers better." in html and "what people say, blind" in html
    judge_all(pairwise, bob)
    assert "All 16 pairs are judged." in page(client_of(bob), pairwise, "pairwise-judge")
    found = weighed(pairwise)
    assert (found.n, found.n_human, found.n_settled) == (24, 16, 8)
    assert found.human.estimate == pytest.approx((16 + 4 + 2) / 24)


# The judge

def test_both_orders_are_asked_and_nothing_twice_after_it_was_cut_off(pairwise, vendor, bob, run_jobs, monkeypatch):
    monkeypatch.setattr("training.services.judges.PAIRS_AT_ONCE", 5)
    vendor.failures = _RefusesFrom(24)
    start_judging(pairwise, by=bob)
    run_jobs()
    assert Job.objects.get(kind="judge").state == "failed" and JudgePreference.objects.count() == 10
    assert weighed(pairwise).record is None, "a judge counts once it has seen all pairs"
    vendor.failures = {}
    vendor.asked.clear()
    start_judging(pairwise, by=bob)
    run_jobs()
    job = Job.objects.get(kind="judge")
    assert job.state == "succeeded" and JudgeRun.objects.count() == 1 and JudgePreference.objects.count() == 16
    assert len(vendor.asked) == 12, "16 pairs in both orders, of which 10 were known"
    assert job.result["n"] == 16 and job.result["n_second"] == 16, "the adapter's answers are longer"
    assert judge_cost(JudgeRun.objects.get()) == pytest.approx(32 * 20 / 1e6)
    with pytest.raises(UserError, match="asked about all pairs with this prompt already"):
        start_judging(pairwise, by=bob)


class _RefusesFrom(dict[str, list[int]]):
    """The server's failures: every request from the nth on."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def get(self, text, default=None):
        self.n -= 1
        return [401] if self.n < 0 else None

    def __missing__(self, text):
        return [401]


def test_a_judge_of_the_answers_own_family_is_refused(pairwise, vendor, bob, settings, client_of):
    settings.GOLDPAN_JUDGE_MODEL = "SmolLM3-3B"
    with pytest.raises(UserError, match="same family as SmolLM2-135M-Instruct"):
        start_judging(pairwise, by=bob)
    html = page(client_of(bob), pairwise)
    assert "models prefer answers like their own" in html and "Ask SmolLM3-3B" not in html
    settings.GOLDPAN_JUDGE_MODEL = ""
    with pytest.raises(UserError, match="Set GOLDPAN_JUDGE_MODEL"):
        start_judging(pairwise, by=bob)


def test_the_embedded_model_judges_answers_of_another_family_and_goes_on_where_it_stopped(
        snapshot, bob, run_jobs, monkeypatch, settings):
    settings.GOLDPAN_BASE_MODEL = settings.GOLDPAN_BASE_MODEL.with_name("smollm2-135m-instruct")
    monkeypatch.setattr("training.services.scoring.run_child", model := EmbeddedJudge())
    monkeypatch.setattr("training.services.judges.PAIRS_AT_ONCE", 5)
    pairwise = open_pairwise(evaluated(snapshot, curt, by=bob, model="gpt-4.1").run,
                             evaluated(snapshot, right, by=bob, model="gpt-4.1").run, by=bob)
    model.dies_at = 3
    job = start_judging(pairwise, by=bob)
    run_jobs()
    assert JudgePreference.objects.count() == 10
    start_judging(pairwise, by=bob)
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded" and len(model.asked) == len(set(model.asked)) == 32
    assert set(JudgePreference.objects.values_list("as_it_is", "swapped")) == {("right", "left")}


def test_the_judge_is_hidden_until_people_have_judged_enough_and_then_held_against_them(
        pairwise, vendor, bob, run_jobs, client_of):
    client = client_of(bob)
    client.post(reverse("training:pairwise-ask", args=[pairwise.pk]))
    run_jobs()
    html = page(client, pairwise)
    assert "The judge's figure is hidden: people have judged 0 pairs" in html.replace("&#x27;", "'")
    assert "By itself it would say" not in html and "Does length decide?" not in html
    mixed = iter(["long", "short", "long", "long", "short", "long"] * 2)

    def prefers(left, right_one):
        longer = "1" if len(left) > len(right_one) else "2"
        return longer if next(mixed) == "long" else {"1": "2", "2": "1"}[longer]

    judge_all(pairwise, bob, 10, prefers)
    html = page(client, pairwise).replace("&#x27;", "'")
    assert "not shown to agree with people more than chance" in html, "it always says the same: κ is not above 0"
    assert "By itself it would say" not in html and "Where people and the judge differ" in html


def test_a_judge_that_agrees_with_people_sharpens_their_figure(pairwise, vendor, bob, run_jobs, client_of, runs):
    def by_number(left, right_one):
        """Prefers the curt answer where its number is even."""
        number = int("".join(filter(str.isdigit, min((left, right_one), key=len))))
        curt_side = "left" if left.startswith("Noted") else "right"
        return curt_side if number % 2 == 0 else {"left": "right", "right": "left"}[curt_side]

    vendor.answers = Taste(by_number)
    start_judging(pairwise, by=bob)
    run_jobs()
    judge_all(pairwise, bob, 12, lambda left, right_one: {"left": "1", "right": "2"}[by_number(left, right_one)])
    found = weighed(pairwise)
    assert found.corrected and found.record.kappa.estimate == 1 and found.record.consistency.estimate == 1
    html = page(client_of(bob), pairwise)
    for words in ("Says the same as people", "Beyond chance (Cohen", "Names the same answer in both orders", OTHER,
                  "sharpened by a judge", JudgeRun.objects.get().prompt_sha256[:12]):
        assert words in html


def test_a_new_guideline_makes_a_new_prompt_and_a_new_order(pairwise, vendor, bob, run_jobs):
    start_judging(pairwise, by=bob)
    run_jobs()
    publish_guideline(pairwise.project, text="Answer in two sentences.", note="Longer.", by=bob, seen=1)
    start_judging(pairwise, by=bob)
    run_jobs()
    one, two = JudgeRun.objects.order_by("pk")
    assert one.prompt_sha256 != two.prompt_sha256 and (one.guideline, two.guideline) == (1, 2)
    assert JudgePreference.objects.count() == 32


# Other pages

def test_where_it_is_judged_the_win_rate_is_what_the_comparison_says(pairwise, runs, snapshot, bob, client_of):
    before = compare(snapshot)
    assert before.win is None and "ROUGE-L says how alike the wording is" in before.paragraph
    judge_all(pairwise, bob, 12)
    found = compare(snapshot)
    assert found.tone == "yes" and found.headline.startswith("Is fine-tuning worth it? Yes, its answers win ")
    assert "In 12 pairs that people judged blind the LoRA adapter wins" in found.paragraph
    assert "ROUGE-L, a trend only" in found.paragraph
    html = client_of(bob).get(reverse("training:comparison", args=[snapshot.pk])).content.decode()
    assert "What counts: its answers win" in html
    told = standing(runs[1].adapter)
    assert any("it wins" in reason and "This does not decide" in reason for reason in told.reasons)


def test_the_win_rate_is_that_of_the_adapter_whichever_was_evaluated_first(snapshot, bob):
    lora = evaluated(snapshot, right, by=bob, kind="lora").run
    prompt, _ = compared(snapshot, by=bob)
    pairwise = open_pairwise(lora, prompt, by=bob)
    assert pairwise.first.run == lora
    judge_all(pairwise, bob)
    assert compare(snapshot, lora_run=lora).win.interval.estimate > 0.5 > weighed(pairwise).human.estimate


# What is kept

def test_an_erased_example_is_shown_asked_and_counted_no_more_and_no_row_holds_words(
        pairwise, vendor, alice, bob, run_jobs, client_of):
    judge_all(pairwise, bob, 12)
    judged = HumanPreference.objects.first().pair
    waiting = pairs_left(pairwise).first()
    examples = list(Example.objects.filter(pk__in=[judged.example_id, waiting.example_id]))
    texts = [example.text for example in examples]
    erase(examples, reason="Somebody asked.", by=alice)
    run_jobs()
    found = weighed(pairwise)
    assert (found.n, found.n_human, found.n_open) == (22, 11, 3)
    assert waiting.pk not in set(pairs_left(pairwise).values_list("pk", flat=True))
    with pytest.raises(UserError, match="Somebody has judged"):
        judge_pair(waiting, choice="1", by=bob)
    start_judging(pairwise, by=bob)
    run_jobs()
    assert JudgePreference.objects.count() == 14
    asked = json.dumps([body for _, body in vendor.asked])
    assert not any(text in asked for text in texts)
    for name in ("pairwise", "pairwise-judge"):
        assert not any(text in page(client_of(bob), pairwise, name) for text in texts)
    for model in (PairwiseEvaluation, AnswerPair, HumanPreference, JudgeRun, JudgePreference):
        assert not any(words in str(list(model.objects.values_list())) for words in (*texts, "parcel", "Noted"))


def test_no_row_is_changed_or_removed(pairwise, vendor, bob, run_jobs):
    judge_all(pairwise, bob, 1)
    start_judging(pairwise, by=bob)
    run_jobs()
    for model in (PairwiseEvaluation, AnswerPair, HumanPreference, JudgeRun, JudgePreference):
        for statement in ("UPDATE {} SET id = id", "DELETE FROM {}"):
            with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
                connection.cursor().execute(statement.format(model._meta.db_table))


def test_the_command_asks_the_judge_and_says_what_comes_of_it(runs, vendor, snapshot, capsys):
    call_command("judge", str(snapshot.project), "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["first"], said["second"], said["n_asked"]) == (runs[0].pk, runs[1].pk, 16)
    assert said["n_human"] == 0 and said["win_rate"] is None and "hidden" in said["words"]


def test_pages_take_few_queries(pairwise, vendor, bob, run_jobs, client_of, django_assert_max_num_queries):
    start_judging(pairwise, by=bob)
    run_jobs()
    judge_all(pairwise, bob, 12)
    client = client_of(bob)
    with django_assert_max_num_queries(26):
        page(client, pairwise)
    with django_assert_max_num_queries(20):
        page(client, pairwise, "pairwise-judge")

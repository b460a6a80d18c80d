"""The statistics of serving in simulated worlds: false alarms, delays, A/B tests, intervals, with the code that ships.

`python -m bench.live`, about five minutes of CPU; `python -m bench.live alarm` (or sample, judge, shift, assignment,
ab, guardrails) for a part of it. Every row says what is simulated, the figure and its goal. The delays of the alarm are
compared with the table that the method was chosen by: a week later is allowed. Exits with 1 if a goal is missed.
"""

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import binom

from stats.assignment import arm_of, sample_ratio
from stats.drop_alarm import AlarmRule, alarm_rule, delay_of, log_evidence, watch
from stats.experiment import Arm, Look, Plan, Verdict, always_valid_interval, judge_experiment
from stats.guardrails import harm_evidence
from stats.intervals import wilson
from stats.label_sample import draw_label_sample, weighted_share
from stats.live_accuracy import estimate_accuracy
from stats.shift import Traffic, shift_signals

N_YEARS = 1000
BEFORE, AFTER, GRADUAL = 0.92, 0.78, 26
# (labels a week, floor) -> weeks after the onset: sudden median, sudden 90 %, gradual median, gradual 90 %; None: > 26
DELAYS: dict[tuple[int, float], tuple[int, int, int, int | None]] = {
    (10, 0.90): (8, 15, 23, None), (20, 0.90): (5, 9, 20, 25), (30, 0.90): (4, 6, 18, 22), (50, 0.90): (3, 4, 16, 19),
    (100, 0.90): (2, 3, 14, 16), (10, 0.92): (5, 10, 18, 25), (20, 0.92): (3, 6, 15, 20), (30, 0.92): (3, 4, 13, 17),
    (50, 0.92): (2, 3, 11, 15), (100, 0.92): (1, 2, 9, 12)}
DECIDED = ("SHIP", "KEEP")
STEP = 20  # outcomes per arm between two looks of whoever peeks


@dataclass(frozen=True)
class Row:
    """One simulated figure and the range it has to be in; `detail` is printed behind it."""

    what: str
    value: float
    low: float
    high: float
    detail: str = ""

    @property
    def is_met(self) -> bool:
        return self.low <= self.value <= self.high


def at_most(what: str, value: float, goal: float, detail: str = "") -> Row:
    return Row(what, value, -np.inf, goal, detail)


def at_least(what: str, value: float, goal: float, detail: str = "") -> Row:
    return Row(what, value, goal, np.inf, detail)


def about_five_per_cent(what: str, hits: Iterable[bool]) -> Row:
    """A row that is met unless a true share of 5 % would come out as high one time in twenty only."""
    hit = list(hits)
    return Row(what, share_of(hit), -np.inf, float(binom.ppf(0.95, len(hit), 0.05)) / len(hit), f"5 % of {len(hit):,}")


def share_of(truths: Iterable[bool]) -> float:
    return float(np.mean(list(truths)))


# the alarm


def alarm_rows() -> list[Row]:
    rows = []
    for floor, n, looks in ((0.90, 50, 52), (0.92, 20, 52), (0.92, 100, 52), (0.893, 60, 52), (0.78, 40, 52),
                            (0.965, 25, 52), (0.90, 50, 12), (0.90, 200, 4)):
        rule = alarm_rule(floor=floor, n_per_look=n, looks_a_year=looks)
        share = rang_falsely(rule, np.full((N_YEARS, looks), n), floor, seed=looks + n)
        rows.append(Row(f"years with a false alarm, accuracy at the floor {floor:.3f}, {n} a {rule.period}", share,
                        0.03, 0.07, f"threshold {rule.threshold:.0f}"))
    rule = alarm_rule(floor=0.90, n_per_look=50)
    uneven = np.random.default_rng(1).integers(20, 81, (N_YEARS, 52))
    rows.append(Row("   the same at .90, 20 to 80 a week instead of 50", rang_falsely(rule, uneven, 0.90, seed=2), 0.03,
                    0.07))
    rows.append(at_most("   the same at .90 when accuracy is .92",
                        rang_falsely(rule, np.full((N_YEARS, 52), 50), 0.92, seed=3), 0.01))
    rows.append(at_most("   scores in [0, 1] with a mean at the floor .80, 300 years", rang_with_scores(), 0.05))
    for n, floor in DELAYS:
        rows += [delay_row(n, floor, 0), delay_row(n, floor, GRADUAL)]
    found = delay_of(rule, before=BEFORE, after=AFTER, n_paths=2000, seed=1)
    rows.append(at_most("92 to 78 at once, 50 a week, floor .90: median weeks", found.median or np.inf, 4))
    return rows


def rang_falsely(rule: AlarmRule, counts: np.ndarray, accuracy: float, *, seed: int) -> float:
    """The share of simulated years (rows of counts) in which the alarm rings; ten of them also as the page asks."""
    n_right = np.random.default_rng(seed).binomial(counts, accuracy)
    evidence = log_evidence(n_right, counts, rule.floor)
    for year in range(10):
        looks = [np.arange(n) < right for n, right in zip(counts[year], n_right[year], strict=True)]
        assert np.allclose(np.log(watch(looks, rule).evidence), evidence[year]), "page and simulation differ"
    return float(np.mean(evidence.max(axis=1) >= np.log(rule.threshold)))


def rang_with_scores() -> float:
    """Scores like a field-wise F1: many 1, some in between; the threshold that holds for any of them."""
    rule = alarm_rule(floor=0.80, n_per_look=50, is_binary=False)
    random = np.random.default_rng(4)
    rang = [watch([random.beta(2, 0.5, 50) for _ in range(52)], rule).alarm_at is not None for _ in range(300)]
    return float(np.mean(rang))


def delay_row(n: int, floor: float, gradual: int) -> Row:
    """By how many weeks the alarm is later than the table says, the median or nine tenths, whichever is later."""
    found = delay_of(alarm_rule(floor=floor, n_per_look=n), before=BEFORE, after=AFTER, gradual_looks=gradual,
                     n_paths=2000, seed=n)
    median, p90 = DELAYS[n, floor][2:] if gradual else DELAYS[n, floor][:2]
    late = [mine - wanted if mine is not None else np.inf
            for mine, wanted in ((found.median, median), (found.p90, p90)) if wanted is not None]
    return at_most(f"92 to 78 {f'over {gradual} weeks' if gradual else 'at once'}, {n} a week, floor {floor:.2f}: "
                   "weeks later than the table", max(late), 1,
                   f"median {found.median}, nine tenths {found.p90}; table {median}, {p90 or 'over 26'}; true accuracy "
                   f"at the alarm {found.accuracy_at_alarm:.1%}")


# labels, drawn with known chances


def sample_rows() -> list[Row]:
    """Accuracy falls with priority, so targeted rows alone would say much too little."""
    random = np.random.default_rng(0)
    covered: dict[str, list[bool]] = {"weighted": [], "uniform part": []}
    estimates, naive = [], []
    for seed in range(2000):
        priority = random.gamma(0.5, 1.0, 1500)
        is_right = random.random(1500) < 0.95 - 0.25 * np.minimum(priority, 2.5) / 2.5
        drawn = draw_label_sample(priority, n=100, seed=seed)
        right = is_right[drawn.rows]
        found = weighted_share(right, drawn.chance)
        plain = wilson(int(right[drawn.is_uniform].sum()), int(drawn.is_uniform.sum()))
        truth = is_right.mean()
        covered["weighted"].append(found.low <= truth <= found.high)
        covered["uniform part"].append(plain.low <= truth <= plain.high)
        estimates.append(found.estimate - truth)
        naive.append(right.mean() - truth)
    return [Row("100 of 1,500 rows, 30 targeted: bias of the weighted accuracy", float(np.mean(estimates)), -0.004,
                0.004, f"unweighted {np.mean(naive):+.3f}"),
            at_least("   and its interval covers", share_of(covered["weighted"]), 0.93),
            at_least("   the uniform part's interval covers", share_of(covered["uniform part"]), 0.93)]


# the judge


def judge_rows() -> list[Row]:
    rows = []
    for accuracy, sensitivity, specificity, n, is_asked in (
            (0.85, 0.90, 0.50, 200, True), (0.85, 0.90, 0.70, 200, True), (0.85, 0.95, 0.80, 200, True),
            (0.85, 0.97, 0.95, 200, True), (0.92, 0.95, 0.80, 200, True), (0.92, 0.95, 0.80, 400, True),
            (0.85, 0.97, 0.95, 50, False), (0.97, 0.97, 0.95, 200, True)):
        covered, used, worth = judged(accuracy, sensitivity, specificity, n)
        name = f"accuracy {accuracy:.2f}, judge {sensitivity:.2f}/{specificity:.2f}, {n} labels"
        if is_asked:
            rows.append(at_least(f"{name}: what is shown covers", covered, 0.93,
                                 f"judge used in {used:.0%}, worth {worth:.2f} × the labels"))
        else:
            rows.append(at_most(f"{name}: judge used in", used, 0.0, f"refused; covers {covered:.1%}"))
    return rows


def judged(accuracy: float, sensitivity: float, specificity: float, n: int) -> tuple[float, float, float]:
    """How often the shown interval covers, how often the judge was used, and what it was then worth (median)."""
    random = np.random.default_rng([n, round(1000 * accuracy), round(1000 * specificity)])
    covered, used, worth = [], [], []
    for _ in range(2000):
        right = random.random(n + 3000) < accuracy
        said = random.random(n + 3000) < np.where(right, sensitivity, 1 - specificity)
        found = estimate_accuracy(right[:n], said[:n], said[n:])
        covered.append(found.interval.low <= accuracy <= found.interval.high)
        used.append(found.uses_judge)
        if found.uses_judge:
            worth.append(found.worth)
    return float(np.mean(covered)), float(np.mean(used)), float(np.median(worth)) if worth else 1.0


# signals without labels


def shift_rows() -> list[Row]:
    quiet = [traffic_warns(seed, new=0.0) for seed in range(500)]
    drifted = [traffic_warns(seed, new=0.10) for seed in range(40)]
    slight = [traffic_warns(seed, new=0.02) for seed in range(40)]
    found = sorted({name for names in drifted for name in names})
    return [at_most("400 texts beside 1,000, nothing new: any of 8 signals warns", share_of(map(bool, quiet)), 0.01),
            at_least("   a tenth of the texts is of a new kind: a signal warns", share_of(map(bool, drifted)), 0.9,
                     ", ".join(f"{name} {share_of(name in w for w in drifted):.0%}" for name in found)),
            at_least("   a fiftieth is of a new kind: a signal warns", share_of(map(bool, slight)), 0.0, "no goal")]


def traffic_warns(seed: int, *, new: float) -> tuple[str, ...]:
    """The names of the signals that warn when a share `new` of 400 texts comes from a cluster that was never seen."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(9, 32))

    def draw(n: int, share: float) -> Traffic:
        kind = np.where(random.random(n) < share, 8, random.integers(0, 8, n))
        embeddings = centres[kind] + 0.7 * random.normal(size=(n, 32))
        words = [frozenset(f"w{kind[row]}-{word}" for word in random.zipf(1.5, 12).clip(max=300)) for row in range(n)]
        return Traffic(labels=kind % 4, confidence=random.beta(np.where(kind == 8, 2, 8), 2),
                       embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
                       lengths=random.lognormal(5, 0.6, n), languages=random.choice(["en", "de"], n, p=[0.9, 0.1]),
                       words=words, failed=random.random(n) < 0.02)

    signals = shift_signals(draw(1000, 0.0), draw(400, new), seed=seed)
    return tuple(signal.name for signal in signals if signal.is_warning)


# assignment


def assignment_rows() -> list[Row]:
    shares = {"champion": 0.5, "challenger": 0.5}
    sound = [split_is_wrong(seed, 0.5) for seed in range(1000)]
    skewed = [split_is_wrong(seed, 0.47) for seed in range(500)]
    arms = [[arm_of(f"user-{unit}", experiment=name, salt=f"salt of {name}", shares=shares) for unit in range(20_000)]
            for name in ("first", "second")]
    first, second = (np.array(side) == "challenger" for side in arms)
    correlation = float(np.corrcoef(first, second)[0, 1])
    return [at_most("10,000 units, looked at every 100: a sound split called wrong", share_of(e for e, _ in sound),
                    0.003, f"chi-squared at p < .001 at every look: {share_of(p for _, p in sound):.1%}"),
            at_least("   47 : 53 instead of 50 : 50 found", share_of(e for e, _ in skewed), 0.9),
            Row("20,000 units by hash, half of them: share", float(first.mean()), 0.49, 0.51),
            Row("   two experiments are independent: correlation of arms", correlation, -0.02, 0.02)]


def split_is_wrong(seed: int, share: float) -> tuple[bool, bool]:
    """Whether the evidence, and whether chi-squared, ever calls the split wrong."""
    came = np.random.default_rng(seed).random(10_000) < share
    n_in = np.cumsum(came)[99::100]
    found = [sample_ratio({"a": int(k), "b": 100 * (look + 1) - int(k)}, {"a": 0.5, "b": 0.5})
             for look, k in enumerate(n_in)]
    return any(one.is_wrong for one in found), any(one.p_value < 0.001 for one in found)


# experiments


def ab_rows() -> list[Row]:
    planned, always = Plan(n_max=2000), Plan(n_max=2000, engine="always valid")
    uneven = Plan(n_max=1000, challenger_share=0.2)
    rows = []
    for name, plan, power_1000, power_2000, mean_n in (("planned looks", planned, 0.80, 0.975, 1300),
                                                       ("always valid", always, 0.53, 0.90, 1020)):
        won_2000 = [run_experiment(plan, 0.80, 0.85, seed) for seed in range(1000)]
        short = Plan(n_max=1000, engine=plan.engine)
        won_1000 = [run_experiment(short, 0.80, 0.85, seed) for seed in range(1000)]
        null = [run_experiment(plan, 0.80, 0.80, seed) for seed in range(1000)]
        if plan is planned:
            at_looks = [run_experiment(plan, 0.80, 0.80, seed, every=400) for seed in range(1000)]
            rows += [at_most(f"{name}: false positives, {n:,} per arm, exact", wrongly_decided(0.80, n), 0.05)
                     for n in (250, 500, 1000, 2000)]
            rows += [about_five_per_cent("   of simulated experiments, 2,000 per arm", (
                         outcome in DECIDED for outcome, _ in null)),
                     at_most(f"   asked every {STEP} outcomes instead of at the looks: other verdicts",
                             share_of(one != other for one, other in zip(null, at_looks, strict=True)), 0, "n = 1000")]
        else:
            rows.append(about_five_per_cent(f"{name}: false positives, look every {STEP}, 2,000 per arm",
                                            (outcome in DECIDED for outcome, _ in null)))
        rows += [at_least("   power for 80 to 85 %, 1,000 per arm", won(won_1000), power_1000),
                 at_least("   power for 80 to 85 %, 2,000 per arm", won(won_2000), power_2000),
                 at_most("   mean outcomes per arm of 2,000", float(np.mean([n for _, n in won_2000])), mean_n)]
    rows.append(at_most("planned looks: the same, 1,000 per arm, the worst of seven bases",
                        max(wrongly_decided(base, 1000) for base in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)), 0.0505,
                        "50 to 99 %"))
    rows.append(about_five_per_cent("planned looks, a fifth gets the challenger: false positives",
                                    (run_experiment(uneven, 0.80, 0.80, seed)[0] in DECIDED for seed in range(5000))))
    rows.append(about_five_per_cent("planned looks, ended after 8 weeks at a random size: false positives", (
        run_experiment(planned, 0.80, 0.80, seed, ends=500 + 1500 * seed // 20_000, every=100)[0] in DECIDED
        for seed in range(20_000))))
    rows.append(about_five_per_cent("A/A: failed", (
        run_experiment(Plan(n_max=1000, is_aa=True), 0.80, 0.80, seed)[0] == "AA_FAILED" for seed in range(1000))))
    for base in (0.50, 0.80, 0.95, 0.99):
        rows.append(at_least(f"always-valid band covers at every look, base {base:.2f}",
                             share_of(band_covers(base, seed) for seed in range(1000)), 0.95))
    rows.append(at_least("for comparison, |z| > 1.96 at every look: false positives",
                         share_of(peeks_naively(seed) for seed in range(1000)), 0.0, "no goal"))
    return rows


def run_experiment(plan: Plan, base: float, other: float, seed: int, *, ends: int = 0,
                   every: int = STEP) -> tuple[str, int]:
    """The verdict of an experiment, and the outcomes per arm at its end.

    every: after so many outcomes per arm it is asked again. ends: the outcomes at which the eight weeks are over, 0 if
    they never are. The challenger's arm gets its share of the outcomes, by lot.
    """
    random = np.random.default_rng([seed, round(1000 * other), plan.n_max])
    share, n_all = plan.challenger_share, 4 * plan.n_max
    arms = np.tile([True, False], n_all // 2) if share == 0.5 else random.random(n_all) < share
    right = random.random(n_all) < np.where(arms, other, base)
    counts = np.cumsum([~arms, arms, right & ~arms, right & arms], axis=1)
    past: list[Look] = []
    for at in range(2 * every - 1, n_all, 2 * every):
        n_first, n_second, first, second = (int(count) for count in counts[:, at])
        per_arm = (at + 1) // 2
        verdict = judge_experiment(plan, Arm("champion", n_first, n_first, first, first),
                                   Arm("challenger", n_second, n_second, second, second),
                                   days=60 if ends and per_arm >= ends else 20, past=past)
        if verdict.outcome != "CONTINUE":
            return verdict.outcome, per_arm
        if verdict.look:
            past.append(verdict.look)
    raise AssertionError("the experiment did not end")


def wrongly_decided(base: float, per_arm: int) -> float:
    """The chance that planned looks decide where both arms are `base`: exact, as every count is gone through.

    Where the verdict turns is found by bisection, for each count of the champion's, in what `judge_experiment` says;
    the distribution of the counts that go on is carried from look to look.
    """
    plan = Plan(n_max=per_arm)
    step = per_arm // plan.n_looks
    arrivals = binom.pmf(np.arange(step + 1), step, base)
    mass, decided, past = np.ones((1, 1)), 0.0, list[Look]()  # mass: champion's good outcomes by challenger's
    for n in range(step, per_arm + 1, step):
        mass = np.maximum(fftconvolve(mass, np.outer(arrivals, arrivals)), 0)
        goes_on = np.zeros_like(mass)
        for first in range(int(binom.ppf(1e-12, n, base)), int(binom.isf(1e-12, n, base)) + 1):
            says = partial(decision, plan, tuple(past), n, first)
            low, high = bisect_left(range(n + 1), 0, key=says), bisect_left(range(n + 1), 1, key=says)
            goes_on[first, low:high] = mass[first, low:high]
        decided += float(mass.sum() - goes_on.sum())
        mass = goes_on
        past.append(cast(Look, judged_at(plan, tuple(past), n, n // 2, n // 2).look))
    return decided


def decision(plan: Plan, past: tuple[Look, ...], n: int, first: int, second: int) -> int:
    """-1: the champion is better, 1: the challenger is, 0: neither, with so many good outcomes of n in each arm."""
    return {"KEEP": -1, "SHIP": 1}.get(judged_at(plan, past, n, first, second).outcome, 0)


def judged_at(plan: Plan, past: tuple[Look, ...], n: int, first: int, second: int) -> Verdict:
    return judge_experiment(plan, Arm("champion", n, n, first, first), Arm("challenger", n, n, second, second),
                            days=20, past=past)


def won(ended: list[tuple[str, int]]) -> float:
    return share_of(outcome == "SHIP" for outcome, _ in ended)


def band_covers(base: float, seed: int) -> bool:
    """Whether the band contains the true difference at every look of 2,000 outcomes per arm."""
    totals = np.cumsum(np.random.default_rng([seed, 7]).random((2, 2000)) < base, axis=1)
    for at in range(STEP - 1, 2000, STEP):
        first, second = (Arm(name, at + 1, at + 1, int(total), int(total))
                         for name, total in zip(("champion", "challenger"), totals[:, at], strict=True))
        band = always_valid_interval(first, second, n_max=2000)
        if band and not band.low <= 0 <= band.high:
            return False
    return True


def peeks_naively(seed: int) -> bool:
    totals = np.cumsum(np.random.default_rng([seed, 8]).random((2, 2000)) < 0.8, axis=1)[:, STEP - 1::STEP]
    n = np.arange(STEP, 2001, STEP)
    shares = totals / n
    error = np.sqrt((shares * (1 - shares)).sum(axis=0) / n)
    return bool(np.any(np.abs(shares[1] - shares[0]) > 1.96 * error))


# guardrails


def guardrail_rows() -> list[Row]:
    def called(base: float, other: float, margin: float, n_runs: int) -> float:
        random = np.random.default_rng([round(1000 * base), round(1000 * other)])
        return float(np.mean([harm_evidence("errors", random.random(2000) < base, random.random(2000) < other,
                                            margin=margin).is_harm for _ in range(n_runs)]))

    return [at_most("errors 3 % in both arms, 2,000 each, looked at every unit: called harm",
                    called(0.03, 0.03, 0.0, 1000), 0.01),
            at_most("errors 3 and 4 %, a point is accepted: called harm", called(0.03, 0.04, 0.01, 1000), 0.01),
            at_least("errors 3 and 8 %: called harm within 2,000 each", called(0.03, 0.08, 0.0, 500), 0.8)]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "alarm": alarm_rows, "sample": sample_rows, "judge": judge_rows, "shift": shift_rows,
    "assignment": assignment_rows, "ab": ab_rows, "guardrails": guardrail_rows}


def shown(row: Row) -> str:
    number: Callable[[float], str] = partial("{:.3g}".format)
    goal = (f"{number(row.low)} to {number(row.high)}" if np.isfinite([row.low, row.high]).all() else
            f"<= {number(row.high)}" if np.isfinite(row.high) else f">= {number(row.low)}")
    verdict = "met" if row.is_met else "NOT MET"
    return f"{row.what:75} {number(row.value):>8}  {goal:>14}  {verdict:8} {row.detail}".rstrip()


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
        return 1
    n_missed = 0
    for name in names or PARTS:
        print(f"\n{name:75} {'found':>8}  {'goal':>14}")
        for row in PARTS[name]():
            print(shown(row), flush=True)
            n_missed += not row.is_met
    print(f"\ngoals not met: {n_missed or 'none'}")
    return 1 if n_missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

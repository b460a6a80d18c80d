"""The product's claims on real text with the real small LLM, written to docs/evidence.md: `make evidence`.

Three seeds of each, about three hours on two cores; what has been measured is kept in var/evidence/ and not measured
again. The tweets of the demo (three classes): what is learned is one rater's labels, another rater's for every seed;
about 30 % of the tweets, as whole clusters of near-duplicates, judge, by what ten other raters agree on.
1. Prompt or LoRA: three prompts and LoRA, all from the same 500 gold rows; the best prompt and its balance are chosen
   on those rows.
2. Small and clean or large and noisy: LoRA on all noisy rows, on a random 500, on the gold 500 with its flagged rows
   settled.
3. LoRA or full fine-tuning, on the gold 500: full fine-tuning at the best of three learning rates, chosen after one
   epoch on 400 rows that neither learn nor judge; time and memory from short trainings in turns.
What comes out is said as it is: nothing here can fail but by an error.
"""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from bench.charts import ROOT, draw
from bench.gold_selection import (
    PROMPT,
    SEEDS,
    SIZE,
    TWEETS,
    Data,
    arms_of,
    judging,
    labelled,
    learned_by,
    read_judged_tweets,
)
from bench.learned import MODEL, Asked, asked, learned
from curation.encoder import MiniLMEncoder
from curation.experiments import Training, difference, judged, mean_accuracy
from goldpan.demo_data import DESCRIPTIONS, INSTRUCTIONS, LABELS
from projects.charts import interval_chart
from projects.wording import percent_words, point_words
from stats.intervals import Interval
from training.arms import Learned
from training.calibration import cross_fitted, fit_label_bias
from training.config import TrainingConfig
from training.prompts import Prompt, Shot, bare, few_shot, zero_shot
from training.shots import balanced_spread

PAGE = ROOT / "docs" / "evidence.md"
N_SHOTS = 8
LONGEST = 400  # characters of a tweet that is shown as an example
FULL_RATES = (1e-5, 3e-5, 1e-4)
N_DEV = 400
PACE_STEPS, PACE_ROUNDS = 12, 3
SCHEMA = {"labels": [{"name": label, "description": DESCRIPTIONS[label]} for label in LABELS]}
Gold = tuple[np.ndarray, np.ndarray]  # rows of the data, and the codes of their labels


@dataclass(frozen=True)
class Arm:
    """What one way of answering got right: (s, m) bool, a row per seed; seconds and megabytes of the mean seed."""

    name: str
    right: np.ndarray
    seconds: float
    peak_mb: float
    note: str = ""


def main() -> int:
    for needed in (MODEL, TWEETS):
        if not needed.exists():
            print(f"skipped: {needed} is not there; `make setup` prepares it")
            return 0
    data, = read_judged_tweets(MiniLMEncoder())
    sets = [arms_of(data, given, seed)[0] for seed, given in zip(SEEDS, data.given_of_seed, strict=True)]
    gold = [arms["gold 500, settled"] for arms in sets]
    sizes = {name: _lora(data, name, [arms[name] for arms in sets])
             for name in ("all noisy", "random 500 noisy", "gold 500, settled")}
    lora = sizes["gold 500, settled"]
    prompts = _prompts(data, gold)
    probe = Arm("linear probe on embeddings", judged([
        Training(data.embeddings[rows], [data.labels[code] for code in labels]) for rows, labels in gold],
        data.judge), 0.0, 0.0)
    full = _full(data, gold)
    PAGE.write_text(page(data, prompts, probe, list(sizes.values()), [lora, full], _paces(data, gold[0])))
    print(f"Written to {PAGE.relative_to(ROOT)}.")
    return 0


def _lora(data: Data, name: str, sets: Sequence[Gold]) -> Arm:
    made = [learned_by(data, *rows, seed) for seed, rows in zip(SEEDS, sets, strict=True)]
    return _arm(f"LoRA on {name}", made)


def _arm(name: str, made: Sequence[Learned], note: str = "") -> Arm:
    print(f"{name}: {', '.join(f'{one.right.mean():.3f}' for one in made)}", flush=True)
    return Arm(name, np.stack([one.right for one in made]), float(np.mean([one.train_seconds for one in made])),
               float(np.mean([one.peak_mb for one in made])), note or f"{made[0].n_rows:,} rows, {made[0].steps} steps")


def _prompts(data: Data, gold: Sequence[Gold]) -> list[Arm]:
    """Every prompt with its balance fitted on the gold rows, and the one that did best there, seed by seed."""
    tried = [_asked_all(data, rows, labels) for rows, labels in gold]
    arms = [Arm(name, np.stack([found[name][0] for found in tried]),
                float(np.mean([found[name][2].seconds for found in tried])),
                float(np.mean([found[name][2].peak_mb for found in tried]))) for name in tried[0]]
    best = [max(found, key=lambda name: found[name][1]) for found in tried]
    for arm in arms:
        print(f"{arm.name}: {', '.join(f'{share:.3f}' for share in arm.right.mean(axis=1))}", flush=True)
    chosen = Arm("best prompt", np.stack([found[name][0] for found, name in zip(tried, best, strict=True)]), 0.0, 0.0,
                 "; ".join(dict.fromkeys(best)))
    return [chosen, *arms]


def _asked_all(data: Data, rows: np.ndarray, labels: np.ndarray) -> dict[str, tuple[np.ndarray, float, Asked]]:
    """Prompt → which judging rows it gets right, its accuracy on the gold rows, what it said of the judging rows."""
    names = [data.labels[code] for code in labels]
    texts = [data.texts[row].strip() for row in rows]
    short = [n for n, text in enumerate(texts) if len(text) <= LONGEST]
    spread = [short[n] for n in balanced_spread(data.embeddings[rows[short]], [names[n] for n in short], N_SHOTS)]
    hidden = np.setdiff1d(np.arange(len(rows)), spread)  # the rows that no prompt shows
    prompts = {"zero-shot": bare(SCHEMA, INSTRUCTIONS), "with definitions": zero_shot(SCHEMA, INSTRUCTIONS),
               f"{N_SHOTS} examples": few_shot(SCHEMA, INSTRUCTIONS, [Shot(texts[n], names[n]) for n in spread])}
    return {name: _balanced(data, prompt, [data.texts[row] for row in rows[hidden]], labels[hidden],
                            data.clusters[rows[hidden]]) for name, prompt in prompts.items()}


def _balanced(data: Data, prompt: Prompt, texts: Sequence[str], labels: np.ndarray,
              groups: np.ndarray) -> tuple[np.ndarray, float, Asked]:
    """Its balance between the labels is fitted on these gold rows, and its accuracy there cross-fitted."""
    assert [label.name for label in prompt.labels] == data.labels
    on_gold, on_judge = asked(texts, prompt), asked(data.judge_texts, prompt)
    best = (on_judge.scores + fit_label_bias(on_gold.scores, labels)).argmax(axis=1)
    said = np.array(data.labels, dtype=object)[best]
    return (np.asarray(said == np.array(data.judge.labels, dtype=object), dtype=bool),
            float(cross_fitted(on_gold.scores, labels, [int(group) for group in groups]).mean()), on_judge)


def _full(data: Data, gold: Sequence[Gold]) -> Arm:
    """Full fine-tuning at the best of FULL_RATES on rows that neither learn nor judge."""
    spare = np.setdiff1d(np.arange(len(data.texts)), np.concatenate([rows for rows, _ in gold]))
    spare = spare[~np.isin(data.clusters[spare], np.concatenate([data.clusters[rows] for rows, _ in gold]))]
    dev = np.random.default_rng(0).choice(spare, N_DEV, replace=False)
    on_dev = {rate: float(learned(labelled(data, *gold[0]), labelled(data, dev, data.truth[dev]), prompt=PROMPT,
                                  config=_full_config(rate, SEEDS[0], epochs=1)).right.mean()) for rate in FULL_RATES}
    best = max(on_dev, key=lambda rate: on_dev[rate])
    tried = ", ".join(f"{rate:.0e}: {percent_words(share)}" for rate, share in on_dev.items())
    print(f"full fine-tuning on dev rows: {tried}", flush=True)
    return _arm(f"full, learning rate {best:.0e}", [
        learned(labelled(data, *rows), judging(data), prompt=PROMPT, config=_full_config(best, seed))
        for seed, rows in zip(SEEDS, gold, strict=True)], f"the best of {tried} on {N_DEV} dev rows after one epoch")


def _full_config(rate: float, seed: int, epochs: int = 3) -> TrainingConfig:
    return TrainingConfig(method="full", learning_rate=rate, epochs=epochs, seed=seed)


def _paces(data: Data, gold: Gold) -> dict[str, tuple[float, float]]:
    """Method → seconds of PACE_STEPS steps, the median of rounds in turns, and the most megabytes."""
    configs = {"LoRA": TrainingConfig(), "full": TrainingConfig(method="full", learning_rate=FULL_RATES[1])}
    made: dict[str, list[Learned]] = {method: [] for method in configs}
    for turn in range(PACE_ROUNDS):
        for method, config in configs.items():
            made[method].append(learned(labelled(data, *gold), judging(data)[:8], prompt=PROMPT, config=config,
                                        steps=PACE_STEPS, again=turn + 1))
    return {method: (float(np.median([one.train_seconds for one in several])), max(one.peak_mb for one in several))
            for method, several in made.items()}


def page(data: Data, prompts: Sequence[Arm], probe: Arm, sizes: Sequence[Arm], methods: Sequence[Arm],
         paces: Mapping[str, tuple[float, float]]) -> str:
    """docs/evidence.md: what was measured, in words, tables and pictures.

    prompts: the chosen one first. sizes: all noisy, random, gold. methods: LoRA first, the tuned rival last.
    paces: "LoRA" and "full" → seconds and megabytes.
    """
    lora, groups = sizes[-1], data.judge.groups
    everything = [*prompts, *sizes, *methods[1:]]
    (seconds, peak), (full_seconds, full_peak) = paces["LoRA"], paces["full"]
    claims = [
        _claim(lora, prompts[0], groups, "Fine-tuning pays"),
        _claim(lora, probe, groups, "Fine-tuning is worth more than a linear probe"),
        _claim(lora, sizes[0], groups, f"{SIZE} gold rows beat {sizes[0].note.split(' rows')[0]} noisy ones"),
        _claim(lora, sizes[1], groups, f"{SIZE} gold rows beat {SIZE} random ones"),
        _claim(lora, methods[-1], groups, "LoRA does as well as full fine-tuning", is_equal=True),
        f"A step of LoRA takes {seconds / full_seconds:.2f} of the time of a step of full fine-tuning, and its process "
        f"{peak / full_peak:.2f} of the memory ({peak:,.0f} and {full_peak:,.0f} MB)."]
    return f"""# Evidence

What the product claims, measured on real text with the real small language model, whichever way it fell.
`make evidence` measures it again; this page is what it wrote on {datetime.now(tz=UTC):%Y-%m-%d}.

{chr(10).join(f"- {claim}" for claim in claims)}

Read this for what it is: one small model (135 million parameters), one set of short texts with three classes, the
label noise of real people. Your project measures itself: an experiment, a baseline and a comparison do the same on
your rows.

## How

{len(data.texts):,} tweets to learn from, {len(data.judge.labels):,} that judge (whole clusters of near-duplicates,
labelled by what ten raters agree on). What is learned is one other rater's label, another rater's for each of the
{len(SEEDS)} seeds; “settled” means that the flagged rows got the label that the ten agree on, as a curator would give
it. LoRA answers with the label of the highest likelihood after its last step; the judging rows choose nothing.
Intervals are 95 %, by resampling clusters and seeds together, which with three seeds is a little too narrow.

Seeds {", ".join(map(str, SEEDS))} · {MODEL.name} · {_versions()} · {platform.machine()}, one or two threads each ·
all trainings and answers together took {_hours(everything)}.

## 1. A prompt or LoRA

{_table([*prompts, probe, lora], groups, "seconds to answer or to train")}

The best prompt is chosen on the {SIZE} gold rows, and its balance between the labels is fitted there; LoRA and the
probe learn the same rows. A prompt's examples come from them too.

{_picture("evidence-prompt", [(f"LoRA against {arm.name}", arm, lora) for arm in (*prompts, probe)], groups)}

## 2. Small and clean, or large and noisy

{_table(sizes, groups, "seconds to train")}

{_picture("evidence-gold", [(f"gold against {_short(arm)}", arm, lora) for arm in sizes[:-1]], groups)}

The same with a linear probe, with more arms, and on 77 classes of bank questions, is in
[bench/README.md](../bench/README.md).

## 3. LoRA or full fine-tuning

{_table(methods, groups, "seconds to train")}

| in turns, {PACE_STEPS} steps each | seconds | peak MB |
|---|---|---|
| LoRA | {seconds:.1f} | {peak:,.0f} |
| full | {full_seconds:.1f} | {full_peak:,.0f} |

{_picture("evidence-full", [(f"LoRA against {arm.name}", arm, lora) for arm in methods[1:]], groups)}

LoRA's learning rate is Goldpan's default, which was chosen on other rows of these tweets.
"""


def _short(arm: Arm) -> str:
    return arm.name.removeprefix("LoRA on ")


def _hours(arms: Sequence[Arm]) -> str:
    """All seeds' seconds of training or of the judging rows' answers, in hours."""
    return f"{len(SEEDS) * sum(arm.seconds for arm in arms) / 3600:.1f} hours"


def _claim(first: Arm, second: Arm, groups: np.ndarray, claim: str, *, is_equal: bool = False) -> str:
    """The claim that the first arm is better (or no worse, if `is_equal`), and whether it held here."""
    gap = difference(second.right, first.right, groups, seed=0)
    held = ("held" if gap.low > (-0.02 if is_equal else 0) else "the contrary held" if gap.high < 0 else "not proven")
    within = " (within 2 points)" if is_equal else ""
    return (f"**{claim}{within}: {held} here.** {percent_words(float(first.right.mean()))} against "
            f"{percent_words(float(second.right.mean()))} of {second.name}: {_gap_words(gap)}.")


def _gap_words(gap: Interval) -> str:
    return f"{point_words(gap.estimate)} ({point_words(gap.low)} to {point_words(gap.high)}, n = {gap.n:,})"


def _table(arms: Sequence[Arm], groups: np.ndarray, seconds: str) -> str:
    lines = [f"| | accuracy | 95 % | worst seed | {seconds} | peak MB | |", "|---" * 7 + "|"]
    for arm in arms:
        share = mean_accuracy(arm.right, groups, seed=0)
        took = (f"{arm.seconds:,.0f}", f"{arm.peak_mb:,.0f}") if arm.seconds else ("–", "–")
        worst = percent_words(float(arm.right.mean(axis=1).min()))
        lines.append(f"| {arm.name} | {percent_words(share.estimate)} | {percent_words(share.low)} to "
                     f"{percent_words(share.high)} | {worst} | {took[0]} | {took[1]} | {arm.note} |")
    return "\n".join(lines)


def _picture(name: str, rows: Sequence[tuple[str, Arm, Arm]], groups: np.ndarray) -> str:
    gaps = [(title, difference(first.right, second.right, groups, seed=0)) for title, first, second in rows]
    words = "; ".join(f"{title}: {_gap_words(gap)}" for title, gap in gaps)
    draw(name, interval_chart(gaps, words=words), folder=PAGE.parent / "charts")
    return f"![{words}](charts/{name}.svg)"


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))


if __name__ == "__main__":
    sys.exit(main())

"""The demo's last screen: the rivals side by side, and how far the labels moved towards the truth."""

import textwrap

import numpy as np
from django.conf import settings

from curation.models import Decision
from curation.services.snapshots import read_rows
from goldpan.demo import NOISY
from goldpan.demo_data import SDIST, labels_of, read_tweets, truth_of
from labeling.models import Example
from projects.models import Project
from stats.intervals import Interval, wilson
from training.models import Adapter
from training.services.comparison import Comparison, Rival, compare
from training.services.promotion import standing

WIDTH = 100


def last_screen(project: Project) -> str:
    """Everything as text, 100 columns wide."""
    snapshot = project.snapshots.get(number=1)
    found = compare(snapshot)
    lines = ["", "─" * WIDTH, found.headline, "", *textwrap.wrap(found.paragraph, WIDTH), "",
             f"On the same {found.rivals[0].evaluation.n:,} held-out tweets        right    95 % interval      "
             "against the best prompt",
             *(_rival_line(rival) for rival in found.rivals), "",
             f"Target {snapshot.project.target_value:.0%} · test rows looked at {found.n_looks} times · "
             "intervals: Wilson for shares, paired group bootstrap for differences · p: exact McNemar", "",
             *_promotion_lines(project), "", *_truth_lines(project, found), "─" * WIDTH,
             "The clicks in Label Studio were replayed: real people's ratings, given in the names of two annotators."]
    return "\n".join(lines)


def _rival_line(rival: Rival) -> str:
    name = f"{rival.name}{' (best prompt)' if rival.is_best_prompt else ''}"
    line = f"  {name:<40} {rival.score.estimate:>6.1%}   {_range(rival.score)}"
    paired = rival.against_prompt
    if paired is not None:
        difference = paired.difference
        line += (f"   {100 * difference.estimate:+.1f} points ({100 * difference.low:+.1f} to "
                 f"{100 * difference.high:+.1f}), p = {paired.p_value:.3g}")
    return line


def _range(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"


def _promotion_lines(project: Project) -> list[str]:
    adapter = Adapter.objects.filter(project=project).order_by("pk").first()
    if adapter is None:
        return []
    if adapter.stage == Adapter.Stage.champion:
        return ["The adapter is the project's champion."]
    return ["The adapter is not promoted:", *(f"  {reason}" for reason in standing(adapter).reasons)]


def _truth_lines(project: Project, found: Comparison) -> list[str]:
    """Agreement with ten other raters' majority: before any work, after review, and in the gold set."""
    tweets = read_tweets(settings.BASE_DIR / "var" / "downloads" / SDIST)
    truth = dict(zip(tweets.keys, truth_of(tweets.ratings), strict=True))
    noisy = dict(zip(tweets.keys, labels_of(tweets.ratings)[:, NOISY], strict=True))
    decisions = Decision.objects.current().filter(example__project=project, example__split=Example.Split.pool)
    decided = dict(decisions.exclude(value="").values_list("example__key", "value"))
    pool = list(Example.objects.filter(project=project, split=Example.Split.pool).values_list("key", flat=True))
    gold = {row.key: row.label for row in read_rows(found.snapshot, "train")}
    rows = [
        ("all pool tweets, first label", [noisy[key] == truth[key] for key in pool]),
        ("the reviewed ones, first label", [noisy[key] == truth[key] for key in decided]),
        ("the reviewed ones, decided label", [label == truth[key] for key, label in decided.items()]),
        ("the gold set's tweets, first label", [noisy[key] == truth[key] for key in gold]),
        ("the gold set's tweets, gold label", [label == truth[key] for key, label in gold.items()]),
    ]
    lines = ["Labels that agree with the majority of ten other raters, whom nothing above has looked at:"]
    for name, right in rows:
        share = wilson(int(np.sum(right)), len(right))
        lines.append(f"  {name:<40} {share.estimate:>6.1%}   {_range(share)}   n = {share.n:,}")
    return lines


"""Why answers differed, as curators said when they settled it: what to mend, and on which examples it shows."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations

from django.db.models import QuerySet

from curation.models import Decision
from curation.services.labels import answers_of
from labeling.models import Annotation
from projects.models import Project

ADVICE = {
    Decision.Cause.guideline: "The guideline leaves it open. Write the rule, and say which labels it changes.",
    Decision.Cause.ambiguous: "The texts leave it open. Say in the guideline which reading counts, or live with a "
                              "ceiling: no model will agree more than people do.",
    Decision.Cause.missing: "The labels leave it out. A label too few makes every answer wrong; think of adding it.",
    Decision.Cause.knowledge: "Ask people who know the field for these, or put what they know into the guideline.",
    Decision.Cause.slip: "Nothing to write. If the slips are one person's, talk with them; else they average out.",
}


@dataclass(frozen=True)
class CauseRow:
    """n of the decisions gave this cause."""

    cause: str
    words: str
    n: int
    advice: str


@dataclass(frozen=True)
class PairRow:
    """On n of the examples somebody gave the one label and somebody the other; `cause` is the commonest of them."""

    first: str
    second: str
    n: int
    cause: str
    n_cause: int


@dataclass(frozen=True)
class Causes:
    """n: examples whose difference was settled with a cause. rows and pairs: most frequent first."""

    n: int
    rows: list[CauseRow]
    pairs: list[PairRow]

    @property
    def words(self) -> str:
        """The one sentence to act on; "" where there is nothing yet."""
        if not self.rows:
            return ""
        top = self.rows[0]
        return f"{top.n} of {self.n} because: {top.words}."


def with_cause(project: Project, cause: str = "") -> QuerySet[Decision]:
    """The decisions that count and say why answers differed, newest first; of one cause if it is given."""
    found = Decision.objects.current().filter(example__project=project, verdict__in=Decision.SETTLED).exclude(cause="")
    return (found.filter(cause=cause) if cause else found).order_by("-pk")


def causes_of(project: Project) -> Causes:
    cause_of = dict(with_cause(project).values_list("example_id", "cause"))
    counts = Counter(cause_of.values())
    rows = [CauseRow(cause, Decision.Cause(cause).label, n, ADVICE[Decision.Cause(cause)])
            for cause, n in counts.most_common()]
    return Causes(len(cause_of), rows, _pairs(project, cause_of))


def _pairs(project: Project, cause_of: dict[int, str]) -> list[PairRow]:
    """Which labels were taken for each other; [] where answers have none."""
    answers = answers_of(project)
    if not answers.are_labels:
        return []
    given: dict[int, set[str]] = defaultdict(set)
    for example_id, value in Annotation.objects.current().filter(
            example__in=list(cause_of)).values_list("example_id", "value"):
        given[example_id].add(str(value))
    causes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    order = {label: place for place, label in enumerate(project.labels)}
    for example_id, labels in given.items():
        for first, second in combinations(sorted(labels, key=lambda label: order.get(label, len(order))), 2):
            causes[first, second][cause_of[example_id]] += 1
    rows = [PairRow(first, second, found.total(), Decision.Cause(found.most_common(1)[0][0]).label,
                    found.most_common(1)[0][1]) for (first, second), found in causes.items()]
    return sorted(rows, key=lambda row: -row.n)

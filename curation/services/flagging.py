"""What is brought up about pool texts and their answers, each kind with its reason in words."""


import numpy as np

from curation.conflicts import conflict_groups, find_conflicts
from curation.languages import dominant_language, languages_of
from curation.models import Flag
from curation.outliers import find_outliers
from curation.services.scored import SEED, Earlier, Scored
from curation.text_checks import OF_THE_TEXT, Answered, check_answers, kind_of
from jobs.progress import Progress


def flag_labels(scored: Scored) -> None:
    """Flag the labels that a model doubts, and annotators who disagree, where there is one label per text."""
    for row in np.flatnonzero(scored.is_issue).tolist():
        scored.flag(row, Flag.Kind.label_issue, "The label looks wrong to a model that has not seen it.")
    for row in np.flatnonzero(scored.agreement < 1).tolist():
        scored.flag(row, Flag.Kind.disagreement,
                    f"Annotators disagree: {scored.agreement[row]:.0%} of them gave “{scored.label[row]}”.")


def flag_failures(scored: Scored, earlier: Earlier, progress: Progress) -> None:
    """Hard checks of every pool text and answer; an answer that a curator has settled is not brought up again."""
    progress("Checking texts and answers", 0, 1)
    rows = np.flatnonzero(scored.is_pool).tolist()
    old = {row: known for row in rows if (known := earlier.known.get(scored.rows[row].pk))
           and known.fingerprint == scored.fingerprint(row)}
    checked = check_answers(
        [Answered(scored.rows[row].text, scored.label[row], int(scored.cluster[row]), scored.rows[row].asked)
         for row in rows], scored.answers,
        known=[[(check, reason) for check, reason in old[row].failures] if row in old else None for row in rows])
    scored.outcomes = dict(zip(rows, checked.outcomes, strict=True))
    for row, failures in zip(rows, checked.failures, strict=True):
        for check, reason in failures:
            if check in OF_THE_TEXT:
                scored.flag(row, kind_of(check), reason)
            elif not scored.ballot_of[row].is_settled:
                scored.flag(row, kind_of(check), reason)
                scored.is_issue[row] |= scored.answers.task_type != "classification"  # there only a model's doubt
    scored.language = [""] * len(scored.rows)
    new = [row for row in rows if row not in old]
    told = languages_of([_written(scored, row) for row in new], progress=progress)
    for row, language in [*((row, known.language) for row, known in old.items()), *zip(new, told, strict=True)]:
        scored.language[row] = language
    scored.facts |= {"n_failed": checked.n_failed, "set_aside": checked.set_aside, "n_checked": len(new)}
    if scored.answers.task_type != "classification":
        scored.facts["names"] = _counted(scored, [row for row in rows if scored.label[row] is not None])


def _written(scored: Scored, row: int) -> str:
    """The text whose language counts: of free text the answer, since people may ask in any language."""
    return scored.label[row] or "" if scored.answers.is_free_text else scored.rows[row].text


def flag_texts(scored: Scored, embeddings: np.ndarray, progress: Progress) -> None:
    """Flag what other texts show about a pool text: conflicts, leaks, near-duplicates, outliers, other languages."""
    rows = np.flatnonzero(scored.is_pool).tolist()
    _flag_conflicts(scored)
    scored.facts["language"] = common = dominant_language([scored.language[row] for row in rows])
    written = "answer" if scored.answers.is_free_text else "text"
    scored.outliers = find_outliers(embeddings, scored.cluster, seed=SEED, progress=progress)
    is_outlier, near = scored.outliers.is_outlier, scored.outliers.nearest_cosine
    for row in rows:
        if common and scored.language[row] not in ("", common):
            scored.flag(row, Flag.Kind.language, f"Its {written} seems to be in another language "
                        f"({scored.language[row]}) than most ({common}).")
        if scored.crosses[row]:
            scored.flag(row, Flag.Kind.leak,
                        "A near-duplicate of it is held out for testing, so it will not be trained on.")
        if scored.cluster_size[row] > 1:
            scored.flag(row, Flag.Kind.duplicate, f"It is one of {scored.cluster_size[row]:,} examples that say nearly "
                                                  "the same.")
        if is_outlier[row]:
            scored.flag(row, Flag.Kind.outlier, f"It is unlike all other texts: its nearest have a mean cosine of "
                        f"{near[row]:.2f}, and {scored.outliers.cutoff:.2f} is far out in this project.")


def _flag_conflicts(scored: Scored) -> None:
    answers = scored.answers
    groups = conflict_groups(answers, near=scored.duplicates.stars.centre.tolist(),
                             equal=[row.content_sha256 for row in scored.rows])
    same = "nearly the same" if answers.are_names else "the same"
    for found in find_conflicts(groups, scored.label) if groups is not None else ():
        if not scored.ballot_of[found.row].is_settled:
            shown = answers.show(found.other, source=scored.rows[found.row].text)[:80]
            scored.flag(found.row, Flag.Kind.conflict, f"Another example that says {same} carries “{shown}”."
                        if found.n_others == 1 else f"Of {found.n_others:,} other labelled examples that say {same} "
                        f"{found.n_against:,} carry another label, mostly “{shown}”.")


def _counted(scored: Scored, rows: list[int]) -> dict[str, list[int]]:
    """Name → how many labelled pool examples have it, and how many of those look wrong; [] where answers have none."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        for name in scored.answers.names_in(scored.label[row] or ""):
            count = counts.setdefault(name, [0, 0])
            count[0] += 1
            count[1] += bool(scored.is_issue[row])
    return counts

"""The answers that evaluations keep of an example: what they lose when it is erased."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from django.conf import settings
from django.db.models import Q

from curation.answers import WRITTEN
from curation.canonical import canonical_line
from curation.models import ERASED
from jobs.models import Job
from labeling.models import Example
from projects.objects import delete_object, object_exists, put_object
from training.models import Evaluation, RedactedPredictions
from training.services.scoring import Prediction, predictions_file_of, read_predictions


def erase_answers(job: Job, examples: Sequence[Example]) -> dict[str, int]:
    """Put a tombstone in place of every answer to these examples of one project that an evaluation keeps.

    Scores and counts stay, and so does every figure that was made of them. Where answers are names of labels only what
    could not be read is blanked: it may quote the text. Returns n_evaluations, how many lost an answer. Twice is as
    good as once; the job of an erasure calls it, see GOLDPAN_ON_ERASE_FILES.
    """
    keys, n = {example.key for example in examples}, 0
    is_written = examples[0].project.task_type in WRITTEN
    for evaluation in Evaluation.objects.filter(snapshot__rows__example__in=examples).distinct():
        said, before = read_predictions(evaluation), predictions_file_of(evaluation)
        left = [_blanked(one, is_written) if one.key in keys else one for one in said]
        if left != said:
            after = put_object(settings.GOLDPAN_OBJECTS, b"".join(canonical_line(asdict(one)) for one in left))
            RedactedPredictions.objects.create(evaluation=evaluation, sha256=after, replaces_sha256=before, job=job)
        n += any(one.key in keys for one in said)
    for redacted in RedactedPredictions.objects.filter(evaluation__snapshot__project=examples[0].project):
        if _is_left_over(redacted):
            delete_object(settings.GOLDPAN_OBJECTS, redacted.replaces_sha256)
    return {"n_evaluations": n}


def _blanked(one: Prediction, is_written: bool) -> Prediction:
    answer = ERASED if one.answer else ""
    if not is_written:
        return replace(one, answer=answer)
    return replace(one, gold=ERASED, predicted=None if one.predicted is None else ERASED, answer=answer,
                   score=one.row_score)


def _is_left_over(redacted: RedactedPredictions) -> bool:
    """Whether the file that it replaces is still there, and no evaluation reads it: equal answers are one file."""
    sha256 = redacted.replaces_sha256
    if not object_exists(settings.GOLDPAN_OBJECTS, sha256):
        return False
    same = Evaluation.objects.filter(Q(predictions_sha256=sha256) | Q(redactions__sha256=sha256)).distinct()
    return all(predictions_file_of(evaluation) != sha256 for evaluation in same)

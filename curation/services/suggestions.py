"""What a probe on embeddings would answer: suggestions that need no language model."""

from collections.abc import Sequence

import numpy as np

from curation.models import QualityReport
from curation.probabilities import out_of_sample_probabilities, probabilities_of_unlabelled
from curation.services.embeddings import ensure_embeddings, load_embeddings
from curation.services.scored import SEED
from jobs.models import Job
from jobs.progress import Progress
from labeling.models import Example
from projects.errors import UserError


def probe_answers(job: Job, report: QualityReport, asked: Sequence[Example], progress: Progress) -> dict[int, str]:
    """Example id → label by a probe on the labels of this report; an example that it says nothing about is left out.

    asked: pool examples. One that has a label already is answered by a probe that saw neither it nor a near-duplicate,
    since a suggestion must not repeat what others have said.
    Raises UserError if the labels are too few, or a probe learns too little from them.
    """
    if report.hidden_because:
        raise UserError(f"The probe on {report} is not good enough to suggest anything. {report.hidden_because}")
    labelled = list(report.scores.filter(example__split=Example.Split.pool).exclude(label="").order_by("example_id")
                    .values_list("example_id", "label", "cluster", "example__content_sha256", "example__text"))
    texts = {sha256: text for _, _, _, sha256, text in labelled}
    ensure_embeddings(job, texts | {example.content_sha256: example.text for example in asked}, progress)
    embeddings = load_embeddings([row[3] for row in labelled])
    given = [row[1] for row in labelled]
    try:
        found = out_of_sample_probabilities(embeddings, given, np.array([row[2] for row in labelled]),
                                            labels_order=report.project.labels, seed=SEED, progress=progress)
    except ValueError as error:
        raise UserError(str(error)) from None
    row_of = {row[0]: number for number, row in enumerate(labelled)}
    new = [example for example in asked if example.pk not in row_of]
    probs = probabilities_of_unlabelled(embeddings, given, load_embeddings([one.content_sha256 for one in new]),
                                        beside=found)
    names = found.labels_order
    answers = {one.pk: names[k] for one, k in zip(new, probs.argmax(axis=1), strict=True)}
    answers |= {one.pk: names[int(found.pred_probs[row].argmax())] for one in asked
                if (row := row_of.get(one.pk)) is not None and found.rows_scored[row]}
    return answers

"""How likely a label is wrong: by a model that has not seen it, by what people say together, by how answers agree."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from curation.answers import COMPARED, COMPARED_WHOLE
from curation.label_quality import consensus, score_label_sets, score_labels
from curation.label_sets import out_of_sample_sets
from curation.models import Flag
from curation.neighbours import nearest
from curation.people import MIN_VOTES, people_say
from curation.probabilities import out_of_sample_probabilities
from curation.services.labels import codes
from curation.services.scored import SEED, Scored
from jobs.progress import Progress
from labeling.models import Annotator
from projects.models import Project
from stats.intervals import bootstrap_interval

N_NEIGHBOURS = 5
MARKED = 0.5  # from this probability on a set of labels is predicted to have a label

# Below such an agreement a pair of answers is looked at. Half of the labels, fields or spans: then they have more apart
# than together. Unrelated English sentences agree to .1 to .2 in wording; a comparison has a tie or a majority.
LOOK_BELOW = {"multilabel": 0.5, "extraction": 0.5, "spans": 0.5, "response": 0.25, "chat": 0.25, "preference": 0.0}


def doubt_labels(scored: Scored, embeddings: np.ndarray, project: Project, progress: Progress) -> None:
    """Fill in quality, predictions, consensus and neighbours of the pool examples that have a label."""
    try:
        found = out_of_sample_probabilities(
            embeddings, scored.label, scored.cluster, labels_order=project.labels, seed=SEED, progress=progress)
    except ValueError as error:  # too few labels: duplicates are still worth a report
        scored.hidden_because = str(error)
        ask_people(scored, project)
        return
    scored.out_of_sample, scored.left_out = found, found.left_out
    if not found.is_better_than_chance:
        scored.hidden_because = (
            f"A model that read the texts agrees with {found.accuracy:.1%} of the labels, hardly more than always "
            f"saying the commonest one ({found.majority_share:.1%}). Its doubts would mislead, so they are not shown.")
        ask_people(scored, project)
        return
    chosen = np.flatnonzero(found.rows_scored)
    probs = found.pred_probs[chosen]
    _apply_consensus(scored, chosen, probs, found.labels_order)
    label = codes([scored.label[row] for row in chosen], found.labels_order)
    quality = score_labels(label, probs)
    was_set = ~np.isnan(scored.quality[chosen])  # by the consensus of several annotators
    scored.quality[chosen] = np.where(was_set, scored.quality[chosen], quality.label_quality)
    settled = np.array([scored.ballot_of[row].is_settled for row in chosen])
    scored.is_issue[chosen] = quality.is_label_issue & ~settled
    scored.label_probability[chosen] = probs[np.arange(len(chosen)), label]
    scored.predicted_probability[chosen] = probs.max(axis=1)
    for row, k in zip(chosen, quality.predicted_label, strict=True):
        scored.predicted[row] = found.labels_order[k]
    find_neighbours(scored, embeddings, chosen, progress)


def _apply_consensus(scored: Scored, chosen: np.ndarray, probs: np.ndarray, order: list[str]) -> None:
    """CROWDLAB for the chosen examples, if some have several labels and nobody has decided on them."""
    votes = [(position, vote.annotator_id, order.index(vote.label))
             for position, row in enumerate(chosen) for vote in scored.ballot_of[row].votes if vote.label in order]
    n_votes = np.bincount([position for position, _, _ in votes], minlength=len(chosen))
    if n_votes.max(initial=0) < 2 or n_votes.min(initial=1) < 1:
        return
    position_of, annotator_of, label_of = (np.array(column) for column in zip(*votes, strict=True))
    said = consensus(position_of, annotator_of, label_of, probs)
    people = Annotator.objects.filter(pk__in=said.annotator_quality, is_person=True)
    scored.annotators = {person.name: round(said.annotator_quality[person.pk], 4) for person in people}
    for position in np.flatnonzero(n_votes >= 2):
        row = chosen[position]
        scored.agreement[row] = said.annotator_agreement[position]
        if not scored.ballot_of[row].is_settled:
            scored.label[row] = order[said.consensus_label[position]]
            scored.quality[row] = said.consensus_quality[position]


def ask_people(scored: Scored, project: Project) -> None:
    """Dawid-Skene for one label out of a fixed list where no classifier can weigh people, if they said enough."""
    if not scored.answers.kind.HAS_LABELS:
        return
    order = {label: k for k, label in enumerate(project.labels)}
    people = dict(Annotator.objects.filter(project=project, is_person=True).values_list("pk", "name"))
    ballots_of = [(row, [vote for vote in scored.ballot_of[row].votes if vote.annotator_id in people
                         and vote.label in order]) for row in np.flatnonzero(scored.has_label).tolist()]
    chosen = [(row, votes) for row, votes in ballots_of if len(votes) >= MIN_VOTES]
    if not chosen:
        return
    votes = [(position, vote.annotator_id, order[vote.label]) for position, (_, given) in enumerate(chosen)
             for vote in given]
    said = people_say(*(np.array(column) for column in zip(*votes, strict=True)), n_examples=len(chosen),
                      n_labels=len(order))
    if said is None:
        return
    scored.annotators = {people[pk]: round(share, 4) for pk, share in said.reliability.items()}
    for position, (row, given) in enumerate(chosen):
        label = project.labels[said.label[position]]
        if not scored.ballot_of[row].is_settled and label in {vote.label for vote in given}:
            scored.weighed[row] = float(said.probability[position])
            scored.label[row] = label


def find_neighbours(scored: Scored, embeddings: np.ndarray, chosen: np.ndarray, progress: Progress) -> None:
    """The nearest labelled pool examples of the rows that somebody will look at first, as evidence."""
    if not len(chosen):
        return
    worst = chosen[np.argsort(scored.quality[chosen], kind="stable")][:2000]
    asked = np.union1d(worst, np.flatnonzero(scored.is_issue))
    rows, similarity = nearest(embeddings[asked], embeddings[chosen], k=N_NEIGHBOURS + 1, progress=progress)
    for row, found, cosines in zip(asked, chosen[rows], similarity, strict=True):
        scored.neighbours[int(row)] = [
            [scored.rows[other].pk, round(float(cosine), 4)]
            for other, cosine in zip(found, cosines, strict=True) if other != row][:N_NEIGHBOURS]


def compare_answers(scored: Scored, progress: Progress) -> None:
    """Agreement where a pool example has several answers; what they cannot settle among themselves is to be looked at.

    Quality is that agreement. One answer alone has none: nobody can say how good it is.
    """
    answers, mark = scored.answers, LOOK_BELOW[scored.answers.task_type]
    several = [row for row in np.flatnonzero(scored.has_label).tolist() if len(scored.ballot_of[row].votes) > 1]
    for number, row in enumerate(several, 1):
        ballot = scored.ballot_of[row]
        agreement = answers.kind.agreement([vote.value for vote in ballot.votes])
        scored.agreement[row] = scored.quality[row] = min(max(agreement, 0.0), 1.0)
        n, is_disputed = len(ballot.votes), answers.task_type in COMPARED_WHOLE and agreement < 1
        if row in scored.weighed and ballot.consensus != scored.label[row]:
            scored.remark(row, f"Its {n} answers differ; weighed by how reliable each person is they say "
                               f"“{scored.label[row]}” ({scored.weighed[row]:.0%} sure).")
        elif ballot.consensus is None and not ballot.decided_label and not answers.is_free_text:
            scored.is_issue[row] = is_disputed = True
            scored.remark(row, f"Its {n} answers settle nothing between them; the first one stands here.")
        elif agreement < mark and not ballot.is_settled:
            scored.is_issue[row] = is_disputed = True
        if agreement < 1:
            words = f"Its {n} answers agree to {agreement:.0%} in {COMPARED[answers.task_type]}."
            if is_disputed:
                scored.flag(row, Flag.Kind.disagreement, words)
            else:
                scored.remark(row, words)
        progress("Comparing answers", number, len(several))
    if several:
        said = scored.agreement[several]
        scored.facts["agreement"] = asdict(bootstrap_interval(
            lambda rows: float(said[rows].mean()), np.arange(len(said)), seed=SEED))


def doubt_sets(scored: Scored, embeddings: np.ndarray, project: Project, progress: Progress) -> None:
    """Doubt sets of labels label by label; quality is the model's where it has one."""
    sets = [None if label is None else frozenset(scored.answers.names_in(label)) for label in scored.label]
    try:
        found = out_of_sample_sets(embeddings, sets, scored.cluster, labels_order=project.labels, seed=SEED,
                                   progress=progress)
    except ValueError as error:
        scored.hidden_because = str(error)
        return
    scored.out_of_sample, scored.left_out = found, found.left_out
    chosen = np.flatnonzero(found.rows_scored)
    column = {label: k for k, label in enumerate(found.labels_order)}
    given = [sorted(column[label] for label in sets[row] or () if label in column) for row in chosen]
    probs = found.pred_probs[chosen]
    quality = score_label_sets(given, probs)
    settled = np.array([scored.ballot_of[row].is_settled for row in chosen], dtype=bool)
    scored.quality[chosen] = quality.label_quality
    scored.is_issue[chosen] |= quality.is_label_issue & ~settled
    for number, row in enumerate(chosen.tolist()):
        predicted = {found.labels_order[k] for k in np.flatnonzero(probs[number] >= MARKED)}
        unjudged = (sets[row] or frozenset()) - column.keys()  # the model has no opinion on these
        if predicted | unjudged:
            scored.predicted[row] = scored.answers.label(sorted(predicted | unjudged))
        if quality.is_label_issue[number] and not settled[number]:
            for doubt in _doubts(given[number], probs[number], found.labels_order):
                scored.flag(row, Flag.Kind.label_issue, doubt)


def _doubts(given: list[int], probs: np.ndarray, order: list[str]) -> Iterator[str]:
    """What a model that has not seen the labels would add and take away."""
    for k, label in enumerate(order):
        if k in given and probs[k] < MARKED:
            yield f"A model that has not seen the labels gives “{label}”, which is given, {probs[k]:.0%}."
        elif k not in given and probs[k] >= MARKED:
            yield f"A model that has not seen the labels gives “{label}”, which is not given, {probs[k]:.0%}."

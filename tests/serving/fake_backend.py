"""A backend without a model: it knows the label of every row of the story, and errs where the story's model does."""

from collections.abc import Iterator
from typing import Any

from serving.answering import Question, Reply, Served
from tests.training.story import WORDS, FakeModel


class FakeBackend:
    """says: a written answer, piece by piece, in place of scores. refuses: is raised instead of an answer.

    breaks_after: the pieces after which it is raised, in the middle. asked: every question.
    """

    def __init__(self, model: FakeModel | None = None) -> None:
        self.model = model or FakeModel()
        self.says: list[str] = []
        self.refuses: Exception | None = None
        self.breaks_after = 0
        self.asked: list[tuple[Served, Question]] = []

    def __call__(self, deployment: Any) -> "FakeBackend":
        return self

    def ask(self, served: Served, question: Question) -> Iterator[str | Reply]:
        self.asked.append((served, question))
        if self.refuses and not self.breaks_after:
            raise self.refuses
        for n, piece in enumerate(self.says):
            yield piece
            if self.refuses and n + 1 == self.breaks_after:
                raise self.refuses
        if self.says:
            yield Reply(text="".join(self.says), prompt_tokens=40, answer_tokens=len(self.says), model_seconds=0.02)
            return
        labels = [label.name for label in served.prompt.labels]
        right = next((k for k, label in enumerate(labels) if WORDS.get(label, label) in question.text), 0)
        number = question.text.split()[1] if question.text.startswith("Row ") else "1"
        errs = (self.model.adapter_errs if served.adapter else self.model.prompt_errs)(int(number))
        scores = [-9.0] * len(labels)
        scores[(right + errs) % len(labels)] = -0.1
        yield Reply(scores=tuple(scores), label_tokens=(2,) * len(labels), prompt_tokens=50, waited_seconds=0.01,
                    model_seconds=0.04, n_together=2)

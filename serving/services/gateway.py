"""One request to a model, from its key to its row in the log.

1. `begin` lets it through, checks what it asks, and finds what serves: of an A/B test the arm of who asks.
2. `Asked.pieces` yields the answer as it is written; then `answer` and `reply` are there.
3. However it ends, what is kept of it is left to the log, which keeps nobody waiting.
An answer does not depend on the log: it is given whether or not anything of it can be kept.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from labeling.reading.rows import MAX_TEXT_CHARS
from labeling.task_types import task_type
from labeling.task_types.free_text import check_storable
from projects.models import ApiKey, Project
from serving.answering import Answer, Backend, Busy, Question, Reply, Served, Unanswerable, Unavailable, read
from serving.chat import BadRequest
from serving.exchange_id import Named, new_id
from serving.models import Deployment, Exchange, ServingRules
from serving.services.deployments import Choice, NotServed, serve, serve_choice
from serving.services.exchanges import LOG, Entry, Words, is_in_sample
from serving.services.exposures import Given, expose
from serving.services.rules import TooMany, rules_of, take_a_turn

log = logging.getLogger(__name__)
MAX_GROUP_CHARS = 200


@dataclass
class Asked:
    """A request that was let through. answer, reply: there once `pieces` has come to its end.

    given: its unit's arm in an A/B test. champion: what answers in place of a challenger that cannot.
    """

    name: str
    key: ApiKey
    route: str
    served: Served
    deployment: Deployment
    question: Question
    rules: ServingRules
    group: str
    at: datetime
    began: float
    given: Given | None = None
    champion: tuple[Served, Deployment] | None = None
    answer: Answer | None = None
    reply: Reply | None = None
    _is_logged: bool = field(default=False, repr=False)

    def pieces(self) -> Iterator[str]:
        """Yield the answer piece by piece, where it is written; a label comes whole, in `answer`.

        Raises Busy, Unavailable or Unanswerable.
        """
        try:
            for said in self._said():
                if isinstance(said, Reply):
                    self.answer, self.reply = read(self.served, self.question, said), said
                else:
                    yield said
        except (Busy, Unanswerable):
            self._log("n_refused")
            raise
        except GeneratorExit:  # who asked has given up
            self._log("n_refused")
            raise
        except BaseException:
            self._log("n_failed")
            raise
        if self.answer is None:
            self._log("n_failed")
            raise Unavailable("The model ended without an answer.")
        self._log("n_answered")

    def _said(self) -> Iterator[str | Reply]:
        """What the model says; if a challenger cannot answer at all, what the champion says.

        The unit stays the challenger's: that the champion answered is counted as a failure of the challenger.
        """
        has_begun = False
        try:
            for said in backend_of(self.deployment).ask(self.served, self.question):
                has_begun = True
                yield said
        except (Unavailable, Unanswerable):
            if has_begun or self.champion is None:
                raise
            log.warning("the challenger of %s could not answer, so the champion did", self.deployment.project)
            (self.served, self.deployment), self.champion = self.champion, None
            self.name = name_of(self.deployment, self.at, self.given)
            yield from backend_of(self.deployment).ask(self.served, self.question)

    def whole(self) -> tuple[Answer, Reply]:
        """Ask and wait for the whole answer."""
        for _ in self.pieces():
            pass
        assert self.answer is not None and self.reply is not None
        return self.answer, self.reply

    def _log(self, outcome: str) -> None:
        if self._is_logged:
            return
        self._is_logged = True
        if outcome == "n_refused":
            LOG.put(Entry(self.key.project_id, outcome, self.at))
            return
        answer, reply = self.answer, self.reply or Reply()
        row = Exchange(
            name=self.name, project=self.key.project, deployment=self.deployment, api_key=self.key, route=self.route,
            is_answered=answer is not None, is_readable=answer is not None and answer.frozen is not None,
            prompt_tokens=reply.prompt_tokens, answer_tokens=answer.answer_tokens if answer else None,
            seconds=time.perf_counter() - self.began, waited_seconds=reply.waited_seconds,
            model_seconds=reply.model_seconds, at=self.at,
            first_of=self.given.exposure if self.given and self.given.is_first else None)
        is_kept = answer is not None and is_in_sample(self.rules)
        LOG.put(Entry(self.key.project_id, outcome, self.at, row, reply.n_together, self.deployment.backend,
                      self._words(answer) if is_kept and answer else None))

    def _words(self, answer: Answer) -> Words:
        chances = answer.probabilities
        return Words(self.question.text, self.question.data, self.group, {
            "text": answer.text, "value": answer.value,
            "probability": chances[answer.frozen] if chances and answer.frozen else None},
            self.rules.masks, self.rules.retention_days)


def begin(key: ApiKey, question: Question, *, model: str, route: str, group: str = "", unit: str = "") -> Asked:
    """Let a request through and find what serves it.

    model: a name of `deployments.names_of`, "" for the champion. group: customer, thread or document of the text.
    unit: the user or the thread that an A/B test gives an arm; "" for the group, and without either the champion
    answers and the request is in no test. Raises TooMany, BadRequest or NotServed.
    """
    began, at, rules = time.perf_counter(), timezone.now(), rules_of(key.project)
    try:
        take_a_turn(key, rules)
        check_question(key.project, question, group)
    except (TooMany, BadRequest):
        LOG.put(Entry(key.project_id, "n_refused", at))
        raise
    served, deployment = champion = serve(key.project, model)
    unit = unit or group
    given = expose(deployment, unit) if unit and deployment.slot == Deployment.Slot.champion else None
    if given is not None and given.is_challenger:
        served, deployment = _challenger(given, model) or champion
    name, instead = name_of(deployment, at, given), champion if deployment != champion[1] else None
    return Asked(name, key, route, served, deployment, question, rules, group, at, began, given, instead)


def _challenger(given: Given, model: str) -> tuple[Served, Deployment] | None:
    """What serves as the challenger, under the name that was asked for; None if it cannot be served."""
    chosen = Deployment.objects.select_related("project", "run__snapshot", "adapter").get(
        pk=given.experiment.challenger_id)
    try:
        return serve_choice(chosen.project, Choice(Deployment.Slot(chosen.slot), chosen.run, chosen.adapter), model)
    except NotServed as error:
        log.warning("the challenger of %s is not served, so the champion answers: %s", given.experiment, error)
        return None


def name_of(deployment: Deployment, at: datetime, given: Given | None) -> str:
    """A new id for an answer of this deployment, to a unit of a test if there is one."""
    return new_id(Named(deployment.project_id, deployment.pk, int(at.timestamp() * 1000),
                        given.exposure.pk if given else 0), secret=settings.SECRET_KEY)


def check_question(project: Project, question: Question, group: str = "") -> None:
    """Raises BadRequest unless it is an example of the project's type of task, such as an import would take."""
    if not question.text.strip():
        raise BadRequest("The text is empty.")
    if len(question.text) > MAX_TEXT_CHARS:
        raise BadRequest(f"The text has {len(question.text):,} characters; at most {MAX_TEXT_CHARS:,} are allowed.",
                         "context_length_exceeded")
    if len(group) > MAX_GROUP_CHARS:
        raise BadRequest(f"The group has {len(group)} characters; at most {MAX_GROUP_CHARS} are allowed.")
    try:
        check_storable(question.text + group)
        task_type(project.task_type).validate_data(question.text, question.data, project.schema)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def backend_of(deployment: Deployment) -> Backend:
    opened: Backend = import_string(settings.GOLDPAN_OPEN_BACKEND)(deployment)
    return opened


def shown(project: Project, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text and the data of a predict request: {"text": …, "data": {…}}; a chat's text follows from its messages.

    Raises BadRequest.
    """
    text, data = body.get("text", ""), body.get("data") or {}
    if not isinstance(data, dict):
        raise BadRequest("“data” has to be an object: what the task shows beside the text.")
    if project.task_type == "chat" and not text and isinstance(data.get("messages"), list):
        turns = data["messages"]
        text = "\n\n".join(f"{turn.get('role')}: {str(turn.get('content')).strip()}" for turn in turns
                           if isinstance(turn, dict))
    if not isinstance(text, str) or not text:
        raise BadRequest("“text” has to be the text that is asked about.")
    return text, data

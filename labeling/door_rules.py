"""What may pass the door to Label Studio: a list of what its labelling page needs on one's own desk, nothing else.

1. `resolve` reads the request's target, or refuses it: one spelling per address, so a rule cannot be spelled around.
2. `decide` finds the rule for it and builds the request that goes on: path, query and body anew from what the rule
   names. Whatever a rule does not name does not pass, in a query or a body without a word, as an address with a 403.
3. It names the ids that have to be on the person's desk; `door_proxy.py` asks Label Studio about them.

The list was read off the requests of Label Studio 1.23.2's own pages; another version needs another look.
Only Label Studio's present answer says whose an id is: it gives ids out again after a deletion.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

MAX_TARGET = 2_000  # characters of path and query
MAX_BODY = 5_000_000  # bytes; the longest text has 100,000 characters
MAX_MARKS = 10_000  # in one answer
HOME = ("/", "/projects", "/user/login", "/logout")  # where Label Studio's own links lead: back to Goldpan
NOT_HERE = "This part of Label Studio is not open to annotators. Go back to your examples."

_SEGMENT = re.compile(r"[A-Za-z0-9._@~+-]+")
_ID = r"[1-9][0-9]{0,17}"


class Refused(Exception):
    """The request does not pass, with this status; `words` say why, and what to do."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True)
class Target:
    """A request's address, decoded. No name stands in the query twice."""

    path: str
    query: Mapping[str, str]


Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Rule:
    """One kind of request that may pass.

    path: with {project}, {task}, {annotation}, {draft} where an id stands, {file} for the rest of a path.
    query: name → regular expression of the values that go on; others are left out.
    wants: name → what has to stand in the query.
    body: name → what its value must be like; others are left out. None: no body goes on.
    of_a_desk: it names a project, in its path or query, and that has to be a desk of the asking person.
    is_answer: it gives, changes or takes back an answer, so the time for the example must not be over.
    only_skips: the annotation has to be a skip.
    is_streamed: a file or page rather than JSON.
    names: the field by which every row of the answer has to name the project; "" where there is none.
    reshape: what is left of the answer's JSON before it is handed on.
    canned: what the door answers by itself, from the project and the person's own record.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    wants: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Check] | None = None
    of_a_desk: bool = True
    is_answer: bool = False
    only_skips: bool = False
    is_streamed: bool = False
    names: str = ""
    reshape: Callable[[Any], Any] | None = None
    canned: Callable[[int, Mapping[str, Any]], Any] | None = None


@dataclass(frozen=True)
class Passage:
    """A request as it goes on to Label Studio, under its rule.

    ids: what it names, in path, query or body: project, task, annotation, draft, prediction → id. All of them have to
    be on that project's desk, annotation and draft the person's own.
    """

    rule: Rule
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None
    ids: Mapping[str, int]


def _is_result(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_MARKS and all(isinstance(mark, dict) for mark in value)


def _is_seconds(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e8)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value) is not None


def _without_members(payload: Any) -> Any:
    """The columns of the task list, without the members of the organisation that one could filter by."""
    columns = payload.get("columns", []) if isinstance(payload, dict) else []
    return {"columns": [{name: value for name, value in column.items() if name != "schema"} for column in columns]}


def _one_view(project: int, me: Mapping[str, Any]) -> Any:
    """The task list's tab, always the same: a stored one could hold filters, which look into other projects."""
    return [{"id": project, "project": project, "user": me["id"], "order": 0, "selected_items": None,
             "data": {"title": "Default", "type": "list", "target": "tasks", "ordering": [],
                      "filters": {"conjunction": "and", "items": []}, "gridWidth": 4, "columnsWidth": {},
                      "columnsDisplayType": {}, "hiddenColumns": {"explore": HIDDEN, "labeling": HIDDEN}}}]


HIDDEN = [f"tasks:{name}" for name in (
    "inner_id", "completed_at", "total_predictions", "annotators", "annotations_results", "annotations_ids",
    "predictions_score", "predictions_model_versions", "predictions_results", "file_upload", "storage_filename",
    "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists")]
ANSWER: Mapping[str, Check] = {
    "result": _is_result, "lead_time": _is_seconds, "was_cancelled": _is_switch, "draft_id": _is_id,
    "parent_prediction": _is_id}
DRAFT: Mapping[str, Check] = {"result": _is_result, "lead_time": _is_seconds, "was_postponed": _is_switch}
COUNTS = "(?:[a-z_]+,?){1,20}"  # which counters of a project are asked for

RULES: tuple[Rule, ...] = (
    # The page, and the files that it is made of
    Rule("GET", "/projects/{project}/data", {"labeling": "1", "task": _ID}, is_streamed=True),
    Rule("GET", "/static/{file}", {"v": "[A-Za-z0-9.]{1,40}"}, of_a_desk=False, is_streamed=True),
    Rule("GET", "/react-app/{file}", {"v": "[A-Za-z0-9.]{1,40}"}, of_a_desk=False, is_streamed=True),
    Rule("GET", "/sw.js", of_a_desk=False, is_streamed=True),
    Rule("GET", "/sw-fallback.js", of_a_desk=False, is_streamed=True),
    # Who am I, and the desk
    Rule("GET", "/api/version", of_a_desk=False),
    Rule("GET", "/api/current-user/whoami", of_a_desk=False),
    Rule("GET", "/api/users", canned=lambda project, me: [me]),
    Rule("GET", "/api/projects/{project}", {"include": COUNTS}, names="id"),
    Rule("GET", "/api/projects/{project}/label-stream-history"),
    Rule("GET", "/api/dm/project", {"include": COUNTS}, names="id"),
    Rule("GET", "/api/dm/columns", reshape=_without_members),
    Rule("GET", "/api/dm/views", canned=_one_view),
    Rule("GET", "/api/ml", canned=lambda project, me: []),
    Rule("GET", "/api/label_links",
         canned=lambda project, me: {"count": 0, "next": None, "previous": None, "results": []}),
    # Its examples: without filters, an order or a body, which LS evaluates beyond the project
    Rule("GET", "/api/tasks", {"page": "[0-9]{1,6}", "page_size": "[1-9][0-9]?|100"}, names="project"),
    Rule("GET", "/api/tasks/{task}", names="project"),
    Rule("POST", "/api/dm/actions", wants={"id": "next_task"}, body={}, names="project"),
    # Answers: one's own, and never deleted but for a skip that is taken back
    Rule("POST", "/api/tasks/{task}/annotations", body={**ANSWER, "unique_id": _is_uuid}, is_answer=True,
         names="project"),
    Rule("PATCH", "/api/annotations/{annotation}", body=ANSWER, is_answer=True, names="project"),
    Rule("DELETE", "/api/annotations/{annotation}", is_answer=True, only_skips=True),
    # Drafts: what is not handed in yet
    Rule("POST", "/api/tasks/{task}/drafts", body=DRAFT),
    Rule("POST", "/api/tasks/{task}/annotations/{annotation}/drafts", body=DRAFT),
    Rule("PATCH", "/api/drafts/{draft}", body=DRAFT),
    Rule("DELETE", "/api/drafts/{draft}"),
)


def resolve(target: str) -> Target:
    """Read a request's target as it stood in the request line.

    Accepted is one spelling only: a path of plain segments and a query whose names are all different. Refused are
    whole addresses, percent signs, dots as segments, double slashes, semicolons, backslashes and anything not ASCII in
    a path, because a server behind may read them as another path than the rules did. Raises Refused for those.
    """
    path, _, query = target.partition("?")
    if len(target) > MAX_TARGET:
        raise Refused(414, f"The address is longer than {MAX_TARGET:,} characters.")
    segments = path.removesuffix("/").split("/")[1:]
    if not path.startswith("/") or not all(_SEGMENT.fullmatch(one) and set(one) != {"."} for one in segments):
        raise Refused(400, "The address is not written as the door reads it. Follow a link instead.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=20)
    except ValueError:
        raise Refused(400, "The query of the address cannot be read.") from None
    names = dict(pairs)
    if len(names) < len(pairs):
        raise Refused(400, "The query of the address says something twice.")
    return Target("/" + "/".join(segments), names)


def decide(method: str, target: Target, body: Any, *, rules: tuple[Rule, ...] = RULES) -> Passage:
    """Return the request as it may go on, its ids not looked up yet. Raises Refused if no rule has it.

    body: the JSON that was sent, None if none was.
    """
    for rule in rules:
        found = _pattern(rule.path).fullmatch(target.path) if rule.method == method else None
        if found is not None:
            return _applied(rule, found, target, body)
    raise Refused(403, NOT_HERE)


def _applied(rule: Rule, found: re.Match[str], target: Target, body: Any) -> Passage:
    ids = {name: int(value) for name, value in found.groupdict().items() if name != "file"}
    query = {name: target.query[name] for name, pattern in rule.query.items()
             if name in target.query and re.fullmatch(pattern, target.query[name])}
    if any(target.query.get(name) != value for name, value in rule.wants.items()):
        raise Refused(403, NOT_HERE)
    if rule.of_a_desk and "project" not in ids:
        if not re.fullmatch(_ID, target.query.get("project", "")):
            raise Refused(403, NOT_HERE)
        ids["project"] = int(target.query["project"])
        query["project"] = target.query["project"]
    sent = None if rule.body is None else _body(rule.body, body)
    for name, field_name in (("draft", "draft_id"), ("prediction", "parent_prediction")):
        if sent and sent.get(field_name):
            ids[name] = sent[field_name]
    return Passage(rule, found.group(0), {**query, **rule.wants}, sent, ids)


def _body(fields: Mapping[str, Check], body: Any) -> Mapping[str, Any]:
    """The named fields of the body that are there; what is not named is left out. Raises Refused for odd values."""
    if not isinstance(body, dict | None):
        raise Refused(400, "The body has to be a JSON object.")
    there = {name: body[name] for name in fields if body and name in body}
    for name, value in there.items():
        if not fields[name](value):
            raise Refused(400, f"The field {name} of the body is not what the labelling page sends.")
    return there


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", lambda name: f"(?P<{name[1]}>{'.+' if name[1] == 'file' else _ID})",
                             re.escape(path)))

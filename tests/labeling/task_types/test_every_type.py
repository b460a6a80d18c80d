"""What holds for every type of task, and what a real Label Studio makes of each."""

import inspect
import random
import uuid
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.label_studio import LabelStudio, TaskIn
from labeling.task_types import TaskTypeModule, task_type
from projects.models import Project
from projects.schema import TASK_TYPES, validate_schema
from tests.labeling.task_types.strategies import CASES, TEXTS

FUNCTIONS = [name for name, _ in inspect.getmembers(TaskTypeModule, inspect.isfunction) if not name.startswith("_")]


def each_case(test):
    """Run a test on drawn cases of every type."""

    def run(name, data):
        case = data.draw(CASES[name]())
        test(task_type(name), case)

    run = settings(max_examples=60, deadline=None)(given(data=st.data())(run))
    return pytest.mark.parametrize("name", TASK_TYPES)(run)


@pytest.mark.parametrize("name", TASK_TYPES)
def test_every_type_has_each_function_as_the_protocol_writes_it(name):
    module = task_type(name)
    assert isinstance(module.HAS_LABELS, bool)
    for function in FUNCTIONS:
        ours, wanted = (inspect.signature(getattr(where, function)) for where in (module, TaskTypeModule))
        kinds = [(parameter.name, parameter.kind, parameter.default) for parameter in ours.parameters.values()]
        assert kinds == [(parameter.name, parameter.kind, parameter.default)
                         for parameter in list(wanted.parameters.values())[1:]], function


def test_a_type_nobody_knows_is_named():
    with pytest.raises(ValueError, match=r"one of classification, multilabel, .*got 'regression'"):
        task_type("regression")


def test_a_project_may_have_each_type():
    assert set(Project.TaskType.values) == set(TASK_TYPES)


@each_case
def test_what_is_valid_stays_valid_in_its_one_spelling(module, case):
    validate_schema(case.schema, case.name)
    module.validate_data(case.text, case.data, case.schema)
    module.validate_value(case.value, case.schema, text=case.text)
    one = module.canonical(case.value)
    module.validate_value(one, case.schema, text=case.text)
    assert module.canonical(one) == one


@each_case
def test_what_was_answered_is_what_is_read(module, case):
    assert module.parse(module.to_result(case.value)) == module.canonical(case.value)


@each_case
def test_what_a_model_should_write_is_read_back(module, case):
    written = module.to_completion(case.value, source=case.text)
    read = module.parse_completion(written, case.schema, source=case.text)
    assert read == module.canonical(case.value)
    assert module.to_completion(read, source=case.text) == written


@each_case
def test_equal_answers_agree_and_are_the_consensus(module, case):
    one = module.canonical(case.value)
    assert module.agreement([case.value, one, case.value]) == 1
    assert module.consensus([case.value]) == module.consensus([one, case.value]) == one
    assert module.consensus([case.value, one], [0.3, 0.9]) == one
    assert module.consensus([]) is None


@each_case
def test_the_config_is_xml_that_shows_the_fields_of_the_task(module, case):
    config = ET.fromstring(module.label_config(case.schema, "Pay <b>$100</b> & \"more\"\x00\n\n😀"))
    shown = {element.get("value")[1:] for element in config.iter()
             if element.tag in ("Text", "Paragraphs") and element.get("value")}
    task = module.task_data(case.text, case.data)
    assert shown <= task.keys() and "hidden" not in task
    assert task["text"] == case.text
    names = [element.get("name") for element in config.iter() if element.get("name")]
    assert len(names) == len(set(names))


@each_case
def test_a_prompt_ends_with_the_user(module, case):
    messages = module.render(case.text, case.data, case.schema, "Do it well.")
    assert [message["role"] for message in messages].count("system") == 1
    assert messages[0]["content"].startswith("Do it well.")
    assert messages[-1]["role"] == "user" and messages[-1]["content"].strip()


@each_case
def test_a_value_is_shown_on_one_short_line(module, case):
    for source in ("", case.text):
        line = module.show(case.value, source=source)
        assert len(line) <= 200 and len(line.splitlines()) <= 1


@each_case
def test_right_answers_score_1_and_unreadable_ones_less(module, case):
    metrics = module.score([case.value], [case.value])
    assert (metrics.value, metrics.n) == (1, 1) == (metrics.parts[metrics.primary], 1)
    unread = module.score([case.value, case.value], [case.value, None])
    assert all(0 <= part <= 1 for part in unread.parts.values())
    assert unread.value < 1
    assert module.score([case.value], [None]).value == 0


@pytest.mark.parametrize("name", TASK_TYPES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), text=TEXTS)
def test_whatever_a_model_writes_is_a_valid_value_or_a_value_error(name, data, text):
    case = data.draw(CASES[name]())
    try:
        value = task_type(name).parse_completion(text, case.schema, source=case.text)
    except ValueError:
        return
    task_type(name).validate_value(value, case.schema, text=case.text)


@pytest.mark.parametrize("name", TASK_TYPES)
@pytest.mark.parametrize("result", [
    ["x"], [{"value": None}], [{"from_name": name, "type": kind, "value": {}} for name in
                               ("label", "preference", "answer") for kind in ("choices", "labels", "textarea")]])
def test_a_result_of_another_shape_is_a_value_error(name, result):
    with pytest.raises(ValueError, match=r"must|no |one label"):
        task_type(name).parse(result)


@pytest.mark.parametrize("name", TASK_TYPES)
def test_scores_need_rows_and_one_prediction_per_row(name):
    for gold, predicted in (([], []), (["a"], [])):
        with pytest.raises(ValueError, match=f"at least one row, got {len(gold)} and 0"):
            task_type(name).score(gold, predicted)


@pytest.mark.parametrize("name", TASK_TYPES)
def test_no_answers_cannot_agree(name):
    with pytest.raises(ValueError, match="at least 2 answers, got 0"):
        task_type(name).agreement([])


# With a real server


def drawn(name, n):
    """A few cases of the type, the same in every run."""
    cases = []

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(CASES[name]())
    def collect(case):
        cases.append(case)

    collect()
    return random.Random(1).sample([case for case in cases if case.text.strip() or name == "chat"], n)


@pytest.mark.labelstudio
@pytest.mark.parametrize("name", TASK_TYPES)
def test_label_studio_takes_the_config_answers_and_predictions_of_each_type(name, label_studio_server):
    module, studio = task_type(name), LabelStudio(label_studio_server.url, label_studio_server.token)
    alice = studio.provision_annotator("alice@goldpan.test", "long enough")
    for case in drawn(name, 3):
        ls_project_id = studio.create_project(
            f"test {uuid.uuid4().hex[:12]}", module.label_config(case.schema, "Over $100?\n<b>Read</b> & \"mark\"."), 1)
        [ls_task_id] = studio.import_tasks(ls_project_id, [TaskIn(
            "key", module.task_data(case.text, case.data), "b", prediction=module.to_result(case.value))])
        for prediction in studio._sdk.predictions.list(task=ls_task_id):
            assert module.parse(prediction.result) == module.canonical(case.value)
        studio.answer(ls_task_id, module.to_result(case.value), alice, 1)
        [task] = studio.pull_changes(ls_project_id, None)
        assert module.parse(task.annotations[0].result) == module.canonical(case.value)
        studio.delete_project(ls_project_id)

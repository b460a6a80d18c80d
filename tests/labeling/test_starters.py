import xml.etree.ElementTree as ET

import pytest

from labeling.starters import STARTERS
from labeling.task_types import task_type
from projects.schema import validate_schema


@pytest.mark.parametrize("starter", STARTERS, ids=lambda starter: starter.name)
def test_a_starter_is_a_project_as_it_stands(starter):
    assert 3 <= len(starter.name) <= 50
    validate_schema(starter.schema, starter.task_type)
    config = ET.fromstring(task_type(starter.task_type).label_config(starter.schema, starter.instructions))
    shown = [header.get("value") for header in config.findall("Header")]
    assert shown[:starter.instructions.count("\n") + 1] == starter.instructions.split("\n")


def test_starters_have_names_of_their_own():
    assert len({starter.name for starter in STARTERS}) == len(STARTERS) == 6

"""2,000 generated calls, right and wrong ones, by an admin's key: none ends in a fault."""

import pytest
from schemathesis import GenerationMode

from tests.api.generated import call_everything
from tests.api.test_generated_calls import numbers, secret  # noqa: F401
from tests.test_rights import world  # noqa: F401

pytestmark = pytest.mark.drill
N_EACH = 18  # of each operation, right and wrong


def test_two_thousand_generated_calls_without_a_fault(numbers, secret, settings, capsys):  # noqa: F811
    settings.GOLDPAN_API_PER_MINUTE = 0
    seen = call_everything(numbers, secret=secret, n_each=N_EACH, modes=[
        GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    with capsys.disabled():
        print(f"\n{seen.total():,} calls: " + ", ".join(f"{n:,} × {status}" for status, n in sorted(seen.items())))
    assert seen.total() >= 2000 and not [status for status in seen if status >= 500]

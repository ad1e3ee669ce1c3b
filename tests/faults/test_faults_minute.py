"""One minute of faults with a fixed seed, on real processes: nothing lost, nothing doubled, nothing in limbo."""

import pytest
from tests.faults import kinds, runner
from tests.faults.setup import FAST

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("faults")]

FAULTS = 10


@pytest.mark.parametrize(("election", "seed"), [("redis", 7), ("kubernetes", 11)])
def test_a_minute_of_faults_loses_and_doubles_nothing(election, seed):
    result = runner.long_run(
        seed=seed, minutes=1, name=election, times=FAST, faults=FAULTS, only=kinds.proven(election)
    )
    assert result.is_clean, f"see {result.directory}\n{result.text}"
    assert len(result.history.entries) >= 1000

"""Every history of one worker and one judge: KILL comes before the verdict, and nothing is ended for nothing."""

import pytest
from tests.models.liveness import Model, Rules, search


def test_no_history_gives_a_run_to_another_while_its_command_runs(record_property):
    states, verdicts, found = search(Model(Rules()), changes=3)
    record_property("states", states)
    assert found is None
    assert states >= 5_000  # a search that has become small has become blind
    assert verdicts >= 1_000


GIVEN_AWAY = "the run is another's while its command runs"
MISTAKES = {
    "a refused connection counts as Redis being down for everybody": (
        Rules(refused_counts=False),
        GIVEN_AWAY,
    ),
    "a leader that never looked counts the time since it was made": (Rules(leader_anew=False), GIVEN_AWAY),
    "a leader that only reads does not notice that writes are refused": (Rules(writes=False), GIVEN_AWAY),
    "a key that expires by Redis' clock decides": (Rules(by_expiry=True), GIVEN_AWAY),
    "a cut-off worker ends nothing": (Rules(fences=False), GIVEN_AWAY),
    "a worker that wakes does not ask": (
        Rules(asks=False),
        "a command was ended though nobody could be given its run",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_who_may_know_has_a_history_that_shows_it(mistake):
    rules, wrong = MISTAKES[mistake]
    *_, found = search(Model(rules), changes=3)
    assert found is not None, "the search did not notice"
    assert found.wrong == wrong, "\n".join(found.steps)

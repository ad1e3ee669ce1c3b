"""The scripts under whatever schedulers, workers and people may do to them, and the same with a mistake put in."""

from collections.abc import Callable

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from models.machine import ScriptsMachine

from kuber_cron.common import store

PROFILE = settings(
    max_examples=25,
    stateful_step_count=40,
    derandomize=True,  # the same histories each time: a failure in CI is one here
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# To know that a mistake is found takes one history; to shrink it takes minutes.
FINDING = settings(PROFILE, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)


@pytest.fixture
def machine(redis_client):
    with structlog.testing.capture_logs():
        yield _maker(redis_client)


def _maker(client) -> Callable[[], RuleBasedStateMachine]:
    return lambda: ScriptsMachine(client)


def test_the_laws_hold_whatever_happens(machine):
    run_state_machine_as_test(machine, settings=PROFILE)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_laws_hold_in_long_histories(machine):
    run_state_machine_as_test(machine, settings=settings(PROFILE, max_examples=300, stateful_step_count=60))


# What is put in the place of what, and in which words some law is broken.
MISTAKES = {
    "a later cursor is good enough": (
        "if stored ~= item.believed then",
        "if item.kind == 'queue' and stored >= item.cursor then",
        "its instants are",
    ),
    "an end lets nothing go on": (
        "  settle({{run = run, outcome = outcome}})\n",
        "\n",
        "which is over|never over",
    ),
}
MORE_MISTAKES = {}


def _broken_by(machine, monkeypatch, old: str, new: str) -> str:
    original = store._text

    def altered(name: str) -> str:
        return original(name).replace(old, new)

    assert any(
        old in original(name) for name in ("decide", "start", "finish", "housekeep", "sweep", "return_claims")
    )
    monkeypatch.setattr(store, "_text", altered)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - a law, a helper's assertion or the script's own error
        run_state_machine_as_test(machine, settings=FINDING)
    return str(caught.value)

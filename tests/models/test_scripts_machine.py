"""The scripts under whatever schedulers, workers and operators may do to them, and the same with a mistake put in."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from tests.models.casts import CASTS
from tests.models.machine import ScriptsMachine

from kuber_cron.common.redis_store import scripts

PROFILE = settings(
    max_examples=8,
    stateful_step_count=40,
    derandomize=True,  # the same histories each time: a failure in CI is one here
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(PROFILE, max_examples=60, stateful_step_count=50)
# To know that a mistake is found takes one history, so many are only tried for the well hidden; to shrink it takes minutes.
FINDING = settings(
    LONG, max_examples=400, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False
)


@pytest.fixture
def machine(redis_client):
    """Runs a cast's histories on a server that they have to themselves."""

    def run(cast: str, profile: settings) -> None:
        def make() -> RuleBasedStateMachine:
            return ScriptsMachine(redis_client, cast)

        run_state_machine_as_test(make, settings=profile)

    with structlog.testing.capture_logs():
        yield run


@pytest.mark.parametrize("cast", CASTS)
def test_the_laws_hold_whatever_happens(machine, cast):
    machine(cast, PROFILE)


@pytest.mark.slow
@pytest.mark.timeout(700)  # a failure is shrunk for five minutes at most
@pytest.mark.parametrize("cast", CASTS)
def test_the_laws_hold_in_long_histories(machine, cast):
    machine(cast, LONG)


class Mistake(NamedTuple):
    """What is put in the place of what, and a cast that suffers from it."""

    cast: str
    right: str
    wrong: str


QUICK = {
    "a later cursor is good enough": Mistake(
        "overlap",
        "if stored ~= item.believed then",
        "if item.kind == 'queue' and stored >= item.cursor then",
    ),
    "an end lets nothing go on": Mistake("chains", "  settle(ctx, {{run = run, outcome = outcome}})\n", "\n"),
}
SLOW = {
    "any cursor is good enough": Mistake("overlap", "if stored ~= item.believed then", "if false then"),
    "a fenced leader goes on": Mistake("overlap", "if tonumber(stored) > epoch then", "if false then"),
    "an end leaves the run open": Mistake(
        "groups", "  close_run(ctx, run, job, outcome)\n  add_to", "  add_to"
    ),
    "what ends unstarted stays open": Mistake("overlap", "  close_run(ctx, run, job, reason)\n", "\n"),
    "what ends unstarted lets nothing go on": Mistake(
        "chains that overlap", "  todo[#todo + 1] = {run = run, outcome = reason}\n", "\n"
    ),
    "any end of a predecessor will do": Mistake(
        "chains", "if kind == 'after' and outcome ~= 'success' then", "if false then"
    ),
    "a predecessor that is running will do": Mistake(
        "chains", "if state == 'open' then gates", "if false then gates"
    ),
    "a group has room for one more": Mistake(
        "groups",
        "redis.call('SCARD', K .. 'group:' .. group) < limit",
        "redis.call('SCARD', K .. 'group:' .. group) <= limit",
    ),
    "forbid looks at what runs only": Mistake(
        "overlap",
        "if not ahead then return gates end",
        "if not ahead or live_status(ahead) ~= 'started' then return gates end",
    ),
    "one more may wait": Mistake(
        "overlap", "item.job, policy.max_running)", "item.job, policy.max_running + 1)"
    ),
    "a replaced run is waited for by nobody": Mistake(
        "overlap", "if ahead then gates[#gates + 1] = {ahead, 'line'} end", "\n"
    ),
    "a late end is taken": Mistake(
        "overlap", "if owner ~= execution then\n  if last", "if false then\n  if last"
    ),
    "a start is not told again": Mistake(
        "overlap", "if stored.execution == execution and stored.status == 'started' then", "if false then"
    ),
    "what is to be stopped is tried again": Mistake(
        "overlap", "if is_stopped and action ~= 'finish' then", "if false then"
    ),
    "a deadline is forgotten": Mistake(
        "removals and deadlines",
        "if deadline_at and now_ms()",
        "if false and now_ms()",
    ),
    "a removal cancels what was to run": Mistake(
        "overlap", "redis.call('HGET', run_key(old), 'on_remove') == 'cancel'", "true"
    ),
    "a deleted run is never looked at": Mistake(
        "overlap", "if redis.call('HEXISTS', K .. 'open', run) == 1 then", "if false then"
    ),
    "a suspended job goes on": Mistake(
        "overlap", "if is_paused(ctx, item.job, ctx.now_ms) then", "if false then"
    ),
    "a trigger takes no notice of what its job forbids": Mistake(
        "overlap", "if concurrency == 'forbid' then return false, 'overlap' end", "\n"
    ),
    "what is made up for stands in no line": Mistake(
        "overlap",
        "  if ahead then gates[#gates + 1] = {ahead, 'line'} end\n  return true, gates",
        "  return true, gates",
    ),
    "a retry stands in no line": Mistake(
        "overlap", "if is_in_line and not force then ahead", "if false then ahead"
    ),
    "what somebody stopped is a missed instant": Mistake("overlap", " and reason ~= 'stopped' then", " then"),
    "a request is decided each time that it is brought": Mistake(
        "overlap", "or (state and state ~= 'deciding') then", "or false then"
    ),
    "an ended run never expires": Mistake("overlap", "redis.call('EXPIRE', run_key(run), ttl)\n", "\n"),
}
SCRIPTS = (
    "decide_batch", "start_attempt", "end_attempt", "reap_lost_attempts", "repair_runs", "return_dead_claims",
    "create_manual_runs", "stop_run", "retry_run",
)  # fmt: skip


def finds(run: Callable[[str, settings], None], patch: pytest.MonkeyPatch, mistake: Mistake) -> None:
    original = scripts.script_text
    assert any(mistake.right in original(name) for name in SCRIPTS), (
        "the scripts have changed: so must the mistake"
    )
    patch.setattr(scripts, "script_text", lambda name: original(name).replace(mistake.right, mistake.wrong))
    # A law that is broken, an answer that is wrong or a script that cannot go on: each of them tells.
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the three have no class in common
        run(mistake.cast, FINDING)
    assert "compiling" not in str(caught.value)


@pytest.mark.parametrize("mistake", QUICK)
def test_a_mistake_in_a_script_is_found(machine, monkeypatch, mistake):
    finds(machine, monkeypatch, QUICK[mistake])


@pytest.mark.slow
@pytest.mark.parametrize("mistake", SLOW)
def test_each_mistake_in_a_script_is_found(machine, monkeypatch, mistake):
    finds(machine, monkeypatch, SLOW[mistake])

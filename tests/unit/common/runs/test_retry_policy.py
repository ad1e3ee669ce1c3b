"""Whether a run is attempted again, when, and on whose account."""

import math
import random
from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.jobs.options import RetryPolicy
from kuber_cron.common.runs.retry_policy import (
    MAX_INTERRUPTIONS,
    GiveUp,
    OutcomeKind,
    Requeue,
    Retry,
    SpentBudgets,
    decide,
    delay_seconds,
    longest_wait_seconds,
)

KINDS = get_args(OutcomeKind)
NOTHING = SpentBudgets()

words = st.integers(0, 255) | st.sampled_from(["timeout", "signal"])
policies = st.builds(
    RetryPolicy,
    retries=st.integers(0, 5),
    retry_delay=st.floats(0, 1e6),
    retry_backoff=st.floats(0, 1e6),
    retry_max_delay=st.floats(0, 1e6),
    retry_jitter=st.floats(0, 1),
    retry_on=st.none() | st.lists(words, max_size=4),
    no_retry_on=st.lists(words, max_size=4),
    execution=st.sampled_from(["at_least_once", "at_most_once"]),
    max_lost=st.integers(0, 5),
    on_interrupt=st.sampled_from(["requeue", "fail"]),
)
endings = st.tuples(st.sampled_from(KINDS), st.integers(0, 255)).map(
    lambda ending: (ending[0], ending[1] if ending[0] == "failed" else None)
)


def ask(policy, kind, code=None, spent=NOTHING, seed=0):
    return decide(policy, kind, exit_code=code, spent=spent, rng=random.Random(seed))


def test_a_failure_with_a_retry_left_is_tried_again_and_spends_it():
    decision = ask(RetryPolicy(retries=2, retry_jitter=0), "failed", 1, SpentBudgets(retries=1))
    assert decision == Retry(delay_seconds=20.0, cause="failed", spent=SpentBudgets(retries=2))


def test_without_retries_the_first_failure_is_final():
    assert ask(RetryPolicy(), "failed", 1) == GiveUp(kind="failed")


@pytest.mark.parametrize("kind", ["success", "stopped"])
def test_success_and_a_persons_stop_are_final(kind):
    assert ask(RetryPolicy(retries=9, max_lost=9), kind) == GiveUp(kind=kind)


def test_a_lost_attempt_spends_the_infrastructures_budget_and_no_retry():
    assert ask(RetryPolicy(retries=0, max_lost=1), "lost") == Requeue(
        cause="lost", spent=SpentBudgets(lost=1)
    )
    assert ask(RetryPolicy(retries=9, max_lost=1), "lost", spent=SpentBudgets(lost=1)) == GiveUp(kind="lost")


def test_an_interruption_spends_neither_budget():
    policy = RetryPolicy(retries=0, max_lost=0)
    assert ask(policy, "interrupted") == Requeue(cause="interrupted", spent=SpentBudgets(interrupted=1))


def test_an_interruption_is_final_where_the_job_says_fail():
    assert ask(RetryPolicy(on_interrupt="fail"), "interrupted") == GiveUp(kind="interrupted")


def test_interruptions_have_an_end():
    assert ask(RetryPolicy(), "interrupted", spent=SpentBudgets(interrupted=MAX_INTERRUPTIONS)) == GiveUp(
        kind="interrupted"
    )


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [("failed", 7, 7), ("timed_out", None, "timeout"), ("signalled", None, "signal")],
)
def test_retry_on_and_no_retry_on_name_outcomes(kind, code, word):
    assert isinstance(ask(RetryPolicy(retries=1, retry_on=[word]), kind, code), Retry)
    assert isinstance(ask(RetryPolicy(retries=1, retry_on=[99]), kind, code), GiveUp)
    assert isinstance(ask(RetryPolicy(retries=1, no_retry_on=[word]), kind, code), GiveUp)
    both = RetryPolicy(retries=1, retry_on=[word], no_retry_on=[word])
    assert isinstance(ask(both, kind, code), GiveUp)


def test_the_default_waits_double_from_ten_seconds_to_ten_minutes():
    policy = RetryPolicy(retry_jitter=0)
    waits = [delay_seconds(policy, attempt, random.Random(0)) for attempt in range(1, 9)]
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]


def test_the_same_seed_waits_the_same():
    assert ask(RetryPolicy(retries=1), "failed", 1, seed=5) == ask(
        RetryPolicy(retries=1), "failed", 1, seed=5
    )
    assert ask(RetryPolicy(retries=1), "failed", 1, seed=5) != ask(
        RetryPolicy(retries=1), "failed", 1, seed=6
    )


@given(policy=policies, ending=endings)
def test_a_job_is_its_own_retry_policy(policy, ending):
    job = Job(id="a", schedule="@daily", command="x", **asdict(policy))
    assert ask(job, *ending) == ask(policy, *ending)


@given(policy=policies, attempt=st.integers(1, 10**6), seed=st.integers(0, 9))
def test_a_wait_is_within_its_bounds_for_any_attempt(policy, attempt, seed):
    wait = delay_seconds(policy, attempt, random.Random(seed))
    assert math.isfinite(wait)
    assert 0 <= wait <= policy.retry_max_delay * (1 + policy.retry_jitter) * (1 + 1e-9)


@given(policy=policies.filter(lambda policy: policy.retry_backoff >= 1), attempt=st.integers(1, 10**6))
def test_without_jitter_no_wait_is_shorter_than_the_one_before(policy, attempt):
    policy = RetryPolicy(
        retry_delay=policy.retry_delay,
        retry_backoff=policy.retry_backoff,
        retry_max_delay=policy.retry_max_delay,
        retry_jitter=0,
    )
    assert delay_seconds(policy, attempt + 1, random.Random(0)) >= delay_seconds(
        policy, attempt, random.Random(0)
    )


@given(ending=endings, policy=policies, seed=st.integers(0, 9))
def test_at_most_once_is_never_attempted_again(ending, policy, seed):
    kind, code = ending
    never = RetryPolicy(
        execution="at_most_once",
        retries=policy.retries,
        max_lost=policy.max_lost,
        on_interrupt=policy.on_interrupt,
    )
    assert ask(never, kind, code, seed=seed) == GiveUp(kind=kind)


@given(policy=policies, history=st.lists(endings, max_size=30))
def test_no_history_exceeds_a_budget_or_forgets_an_attempt(policy, history):
    spent = SpentBudgets()
    for attempts, (kind, code) in enumerate(history):
        assert spent.retries + spent.lost + spent.interrupted == attempts
        decision = ask(policy, kind, code, spent)
        if isinstance(decision, GiveUp):
            break
        assert isinstance(decision, Requeue) == (kind in {"lost", "interrupted"})
        spent = decision.spent
        assert spent.retries <= policy.retries
        assert spent.lost <= policy.max_lost
        assert spent.interrupted <= MAX_INTERRUPTIONS


@given(seed=st.integers(), retries=st.integers(0, 12), delay=st.floats(0, 1000), jitter=st.floats(0, 1))
def test_no_run_waits_longer_than_the_longest_wait_of_its_policy(seed, retries, delay, jitter):
    policy = RetryPolicy(retries=retries, retry_delay=delay, retry_jitter=jitter)
    waited = sum(delay_seconds(policy, number, random.Random(seed)) for number in range(1, retries + 1))
    assert waited <= longest_wait_seconds(policy, 1e9) * (1 + 1e-9)
    assert longest_wait_seconds(policy, 100.0) <= 100.0
    assert longest_wait_seconds(replace(policy, execution="at_most_once"), 100.0) == 0

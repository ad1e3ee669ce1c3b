"""The retry policy: what follows a failed attempt, when, and which budget pays for it (spec: reliability.md §6, cron.md §3).

There are two budgets. ``retries`` pays for the command's own faults (an exit code, a signal, its timeout);
``max_lost`` pays for the infrastructure's (a worker that vanished). An orderly interruption (a worker that is
drained) spends neither, and is bounded only against endless loops. Pure: the caller counts, and brings the
randomness.
"""

import math
import random
from dataclasses import dataclass, replace
from typing import Literal

from kuber_cron.common.jobs.options import RetryPolicy

OutcomeKind = Literal["success", "failed", "timed_out", "signalled", "lost", "stopped", "interrupted"]
"""How an attempt may end (spec: interface.md, outcomes)."""

# A job longer than the grace, under a worker that is rolled every hour, is requeued for four days; nobody wants
# it for ever, and the promise says bounded.
MAX_INTERRUPTIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentBudgets:
    """The attempts of a run that were followed by another, by the budget that paid for them."""

    retries: int = 0
    lost: int = 0
    interrupted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Attempt the run again after ``delay_seconds``; one retry is spent. Counts in ``retries``."""

    delay_seconds: float
    cause: OutcomeKind
    spent: SpentBudgets


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """Put the run at its queue's front now; no retry is spent. Counts in ``recoveries``."""

    cause: Literal["lost", "interrupted"]
    spent: SpentBudgets


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """End the run with this outcome."""

    kind: OutcomeKind


RetryDecision = Retry | Requeue | GiveUp


def decide(
    policy: RetryPolicy,
    kind: OutcomeKind,
    *,
    exit_code: int | None = None,
    spent: SpentBudgets,
    rng: random.Random,
) -> RetryDecision:
    """Decide what follows an attempt that ended as ``kind``.

    Args:
        policy: The job's retry policy: the job itself, or its run's payload.
        kind: How the attempt ended.
        exit_code: The command's exit code where ``kind`` is ``failed``.
        spent: What the run's earlier attempts have used up, this one's outcome not yet counted.
        rng: Where the jitter comes from.

    Returns:
        ``Retry`` or ``Requeue`` with the counts to store, or ``GiveUp``.
    """
    if kind in {"success", "stopped"} or policy.execution == "at_most_once":
        return GiveUp(kind=kind)
    if kind == "interrupted":
        if policy.on_interrupt == "fail" or spent.interrupted >= MAX_INTERRUPTIONS:
            return GiveUp(kind=kind)
        return Requeue(cause="interrupted", spent=replace(spent, interrupted=spent.interrupted + 1))
    if kind == "lost":
        if spent.lost >= policy.max_lost:
            return GiveUp(kind=kind)
        return Requeue(cause="lost", spent=replace(spent, lost=spent.lost + 1))
    if spent.retries >= policy.retries or not is_retryable(policy, kind, exit_code):
        return GiveUp(kind=kind)
    return Retry(
        delay_seconds=delay_seconds(policy, spent.retries + 1, rng),
        cause=kind,
        spent=replace(spent, retries=spent.retries + 1),
    )


def is_retryable(policy: RetryPolicy, kind: OutcomeKind, exit_code: int | None) -> bool:
    """Return True if the policy retries this failure; ``no_retry_on`` beats ``retry_on``."""
    words: dict[str, str] = {"timed_out": "timeout", "signalled": "signal"}
    word: int | str | None = words.get(kind, exit_code)
    if word in policy.no_retry_on:
        return False
    return policy.retry_on is None or word in policy.retry_on


def delay_seconds(policy: RetryPolicy, attempt: int, rng: random.Random) -> float:
    """Return the seconds before the ``attempt``-th retry, counted from 1: min(delay · backoff^(k-1), max), ± jitter.

    The jitter is a share of the wait, either way, so the longest wait is ``retry_max_delay`` · (1 + jitter). Were the
    jitter cut off at the maximum, runs that failed together would come back together.
    """
    base = min(_power(policy.retry_delay, policy.retry_backoff, attempt - 1), policy.retry_max_delay)
    return max(0.0, base * (1.0 + policy.retry_jitter * rng.uniform(-1.0, 1.0)))


def longest_wait_seconds(policy: RetryPolicy, most: float) -> float:
    """Return the longest time in seconds that all retries of one run together may wait, at most ``most``."""
    if policy.execution == "at_most_once":
        return 0.0
    total = 0.0
    for number in range(policy.retries):
        base = min(_power(policy.retry_delay, policy.retry_backoff, number), policy.retry_max_delay)
        if base <= 0.0 or total >= most:
            break
        total += base * (1.0 + policy.retry_jitter)
    return min(total, most)


def _power(delay: float, backoff: float, exponent: int) -> float:
    """Return ``delay`` · ``backoff`` ** ``exponent``, infinite where a float would overflow."""
    if delay <= 0.0:
        return 0.0  # and not 0 · infinity, which is no number
    try:
        return delay * math.pow(backoff, exponent)
    except OverflowError:
        return math.inf

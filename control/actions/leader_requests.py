"""Requests that the leader has to decide: sent through Redis, awaited, and withdrawn when nobody answers in time.

A request is decided at most once, by whoever leads while it counts; its id gives the ids of the runs that are made for
it, so that a request which is sent again makes no second run.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kuber_cron.common.records.parsing import number, text
from kuber_cron.common.redis_store.scripts import Store, Value
from kuber_cron.common.runs import manual_request, signing
from kuber_cron.common.runs.manual_request import ManualRequest, RequestAction
from kuber_cron.control.actions.errors import HalfDecidedError, NotDecidedError, RefusedError
from kuber_cron.control.actions.results import CreatedRun
from kuber_cron.control.queries import redis_time

ANSWER_SECONDS = 10.0
"""How long a leader has to answer: longer than a takeover where the lease is a key in Redis."""

# A leader's scripts run at least once a second; a fence that nobody has touched for longer has no leader.
_LEADERLESS_SECONDS = 5.0
_POLL_SECONDS = (0.005, 0.1)  # first and longest pause between two polls for the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTerms:
    """By whom and how requests are made.

    Attributes:
        operator: Who asks, as the operator log records it: ``user@host``.
        wait: Lets some seconds pass, at most as many as it is given.
        signing_key: What requests are signed with; without one they may bring no variables where the leader signs.
        timeout_seconds: How long the leader has for its answer, before the request is withdrawn.
    """

    operator: str
    wait: Callable[[float], object]
    signing_key: bytes | None = field(default=None, repr=False)
    timeout_seconds: float = ANSWER_SECONDS


def new_id() -> str:
    """Return a random id for a request: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def new(
    store: Store,
    action: RequestAction,
    job: str,
    terms: RequestTerms,
    *,
    request_id: str | None = None,
    **attributes: Any,
) -> ManualRequest:
    """Return a request that counts from now on, by Redis' time.

    Args:
        store: The installation's Redis.
        action: ``trigger`` or ``backfill``.
        job: The job's name.
        terms: By whom and how it is made.
        request_id: 32 hexadecimal digits; random when None.
        attributes: Its further attributes (:class:`ManualRequest`).

    Raises:
        RequestError: An attribute is not of its kind or out of bounds.
    """
    now = redis_time.now(store)
    request = ManualRequest(
        id=request_id or new_id(),
        action=action,
        job=job,
        who=terms.operator,
        asked_at=now,
        until_at=now + timedelta(seconds=terms.timeout_seconds),
        **attributes,
    )
    request.check()
    return request


def submit(store: Store, request: ManualRequest, terms: RequestTerms) -> tuple[CreatedRun, ...]:
    """Return what became of each run of the request, as soon as the leader has decided it.

    Raises:
        RefusedError: The leader has refused it; nothing was made, or no more than the message says.
        NotDecidedError: Nobody has decided it, and it is withdrawn.
        HalfDecidedError: A leader has begun and not finished.
    """
    body = request.to_bytes()
    if len(body) > manual_request.MAX_BYTES:
        raise RefusedError(
            "request-too-large",
            f"the request has {len(body)} bytes, {manual_request.MAX_BYTES} are allowed",
            hint="give large values in a file that the command reads",
        )
    timeout_seconds = (request.until_at - request.asked_at).total_seconds()
    signature = signing.sign(body, terms.signing_key, signing.REQUEST) if terms.signing_key else ""
    word, *rest = call(store, "put", request.id, body, signature, int(timeout_seconds * 1000))
    if word == "FULL":
        raise NotDecidedError(
            "too many requests wait for a leader already", hint="kuber-cron status says who leads"
        )
    answer = _answer(store, request, terms.wait)
    if answer[0] == "WITHDRAWN":
        raise _not_decided(number(rest[0]) / 1000 if rest[0] else None, timeout_seconds)
    if answer[0] == "DECIDING":
        raise HalfDecidedError(
            f"{request.job}: a scheduler has begun to make the runs and not finished",
            hint=f"whoever leads next goes on: kuber-cron runs {request.job} shows them",
        )
    if answer[0] == "REFUSED":
        code, message, hint, *items = answer[1:]
        made = sum(CreatedRun.from_text(item).is_made for item in items)
        raise RefusedError(
            code, message + (f"; {made} runs had been made" if made else ""), hint=hint or None
        )
    return tuple(CreatedRun.from_text(item) for item in answer[1:])


def call(store: Store, action: str, *args: Value) -> list[str]:
    """Return the reply of ``common/redis_store/lua/manual_request.lua`` to one action of its asker."""
    return [text(part) for part in store.call("manual_request", action, *args)]


def _answer(store: Store, request: ManualRequest, wait: Callable[[float], object]) -> Sequence[str]:
    """Return the answer, or that the request is withdrawn: one of the two, whatever ends the waiting."""
    pause, longest = _POLL_SECONDS
    try:
        while redis_time.now(store) < request.until_at:
            answer = call(store, "read", request.id)
            if answer[0] in {"ANSWERED", "REFUSED"}:
                return answer
            if answer[0] == "GONE":
                break  # its time in Redis was over before ours
            wait(pause)
            pause = min(2 * pause, longest)
    except BaseException:
        call(store, "withdraw", request.id)
        raise
    return call(store, "withdraw", request.id)


def _not_decided(seen_seconds: float | None, timeout_seconds: float) -> NotDecidedError:
    if seen_seconds is None:
        return NotDecidedError(
            "no scheduler has ever led on this Redis: the request is withdrawn",
            hint="is this the right Redis, and the right KUBER_CRON_INSTANCE?",
        )
    if seen_seconds > _LEADERLESS_SECONDS:
        return NotDecidedError(
            f"no scheduler leads, and none has for {seen_seconds:.0f} s: the request is withdrawn",
            hint="kuber-cron status shows the schedulers; start one, and ask again",
        )
    return NotDecidedError(
        f"the scheduler that leads has not answered within {timeout_seconds:.0f} s: the request is withdrawn",
        hint="is it of an older release? kuber-cron status shows the versions",
    )

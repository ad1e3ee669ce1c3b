"""Acting: what a person does to runs and jobs, over the scripts, and what came of it.

What needs a decision (a trigger, a backfill) is asked of the leader and awaited; the rest is one script each, which works
without a leader. Everything is written down with who did it. Nothing here needs job files or the lease; a signing key
only makes variables possible.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.records.parsing import number, text
from kuber_cron.common.redis_store.scripts import Store, Value, rq_instant
from kuber_cron.common.runs import manual_request
from kuber_cron.common.runs.manual_request import ManualRequest
from kuber_cron.control.actions.results import CreatedRun

ANSWER_SECONDS = 10.0
"""How long a leader has to answer: longer than a takeover where the lease is a key in Redis."""

# A leader's scripts run at least once a second; a fence that has rested for longer has none.
_LEADERLESS_SECONDS = 5.0
_LOOKS = (0.005, 0.1)  # first and longest pause between looks for an answer, in seconds


class NotDecidedError(KuberCronError):
    """No leader has decided what was asked for, and none will: it is withdrawn."""

    code = "no-leader"


class HalfDecidedError(KuberCronError):
    """A leader has begun to decide what was asked for; whoever leads next goes on."""

    code = "no-answer"


class RefusedError(KuberCronError):
    """The leader has refused what was asked for; ``code`` says why."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class ScriptReply:
    """A script's answer to an act: its word and what goes with it (common/redis_store/lua/act.lua)."""

    word: str
    details: tuple[str, ...] = ()


class OperatorActions:
    """One person's, over one store."""

    def __init__(self, store: Store, who: str) -> None:
        self._store = store
        self._who = who

    def now(self) -> datetime:
        """Redis' time."""
        seconds, micro = self._store.client.time()
        return datetime.fromtimestamp(seconds + micro / 1e6, UTC)

    # --- without a leader ------------------------------------------------------------------------

    def stop(self, run: str) -> ScriptReply:
        """A run that waits has ended as stopped; one that runs is told to end, durably."""
        return self._act("stop", run)

    def retry(self, run: str, *, again: bool = False, force: bool = False) -> ScriptReply:
        """A run that has ended is queued anew, with all its budgets.

        Args:
            run: Its id.
            again: Also one that has succeeded.
            force: In no line, whatever its job says of overlap.
        """
        return self._act("retry", run, int(again), int(force))

    def pause(self, job: str, until_at: datetime | None) -> ScriptReply:
        """Nothing of the job (``*``: of any job) is queued by its schedule until then, or until it is resumed."""
        until_ms = 0 if until_at is None else max(1, int(until_at.timestamp() * 1000))
        detail = "" if until_at is None else f"{until_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self._act("pause", job, until_ms, detail)

    def resume(self, job: str) -> ScriptReply:
        """The job (``*``: the pause of all) goes on; what was skipped is not caught up with."""
        return self._act("resume", job)

    def release(self, run: str) -> ScriptReply:
        """The run has left the quarantine and is queued anew, to be judged again by the worker that takes it."""
        return self._act("release", run)

    def drop(self, run: str) -> ScriptReply:
        """The run's records have left the quarantine."""
        return self._act("drop", run)

    def _act(self, action: str, target: str, *rest: Value) -> ScriptReply:
        now = self.now()
        reply = self._store.call("act", action, self._who, rq_instant(now), now.timestamp(), target, *rest)
        word, *details = (text(part) for part in reply)
        return ScriptReply(word, tuple(details))

    # --- by the leader ---------------------------------------------------------------------------

    def new(self, *, patience_seconds: float = ANSWER_SECONDS, **what: Any) -> ManualRequest:
        """A request of this person's, from now on; ``what``: its other attributes.

        Raises:
            RequestError: One of them cannot be.
        """
        now = self.now()
        made = ManualRequest(
            id=secrets.token_hex(16),
            who=self._who,
            asked_at=now,
            until_at=now + timedelta(seconds=patience_seconds),
            **what,
        )
        made.check()
        return made

    def ask(
        self, asked: ManualRequest, *, signing_key: bytes | None, wait: Callable[[float], object]
    ) -> list[CreatedRun]:
        """What became of each run of the request.

        Args:
            asked: The request.
            signing_key: What it is signed with, if there is a key.
            wait: Lets some seconds pass.

        Raises:
            RefusedError: The leader has refused it; nothing was made, or no more than the message says.
            NotDecidedError: Nobody has decided it, and it is withdrawn.
            HalfDecidedError: A leader has begun and not finished.
        """
        body = asked.to_bytes()
        if len(body) > manual_request.MAX_BYTES:
            raise RefusedError(
                "request-too-large",
                f"the request has {len(body)} bytes, {manual_request.MAX_BYTES} are allowed",
                hint="give large values in a file that the command reads",
            )
        patience = asked.until_at - asked.asked_at
        signature = manual_request.sign(body, signing_key) if signing_key else ""
        word, *rest = self._request("put", asked.id, body, signature, int(patience.total_seconds() * 1000))
        if word == "FULL":
            raise NotDecidedError(
                "too many requests wait for a leader already", hint="kuber-cron status says who leads"
            )
        answer = self._awaited(asked, wait)
        if answer[0] == "WITHDRAWN":
            raise _undecided(number(rest[0]) / 1000 if rest[0] else None, patience.total_seconds())
        if answer[0] == "DECIDING":
            raise HalfDecidedError(
                f"{asked.job}: a scheduler has begun to make the runs and not finished",
                hint=f"whoever leads next goes on: kuber-cron runs {asked.job} shows them",
            )
        if answer[0] == "REFUSED":
            code, message, hint, *items = answer[1:]
            made = sum(CreatedRun.from_text(item).is_made for item in items)
            raise RefusedError(
                code, message + (f"; {made} runs had been made" if made else ""), hint=hint or None
            )
        return [CreatedRun.from_text(item) for item in answer[1:]]

    def _awaited(self, asked: ManualRequest, wait: Callable[[float], object]) -> Sequence[str]:
        """The answer, or that the request is withdrawn: one of the two, whatever ends the waiting."""
        pause, longest = _LOOKS
        try:
            while self.now() < asked.until_at:
                answer = self._request("look", asked.id)
                if answer[0] in {"ANSWERED", "REFUSED"}:
                    return answer
                if answer[0] == "GONE":
                    break  # its time was over before ours
                wait(pause)
                pause = min(2 * pause, longest)
        except BaseException:
            self._request("withdraw", asked.id)
            raise
        return self._request("withdraw", asked.id)

    def _request(self, action: str, *rest: Value) -> list[str]:
        return [text(part) for part in self._store.call("request", action, *rest)]


def _undecided(seen_seconds: float | None, patience_seconds: float) -> NotDecidedError:
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
        f"the scheduler that leads has not answered within {patience_seconds:.0f} s: the request is withdrawn",
        hint="is it of an older release? kuber-cron status shows the versions",
    )

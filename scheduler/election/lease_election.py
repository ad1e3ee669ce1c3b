"""Leadership by a lease in any ``LeaseStore``, fenced by Redis (spec: reliability.md §3).

One attempt: read the lease, decide (``lease_rules``, pure), write it, and read the fence in Redis. A term begins when
the lease is won *and* its epoch is claimed in Redis; from then on every older leader is fenced, whatever it
believes. While the store is away and Redis answers, the leader leads on (*failsafe*): whoever succeeds it
has to claim a larger epoch first, and that fences us.

An attempt is a generator that yields each call to the store and to Redis, and is sent its result. ``attempt``
makes the calls; the simulation in the tests delays, loses and repeats them under a clock of its own.

What this does *not* give: a term that no other can overlap. A process that was paused, a lease deleted or edited
by an operator, and a holder that is not one of ours (it never claims in Redis) can do that; docs/leadership.md.

One module, because an attempt is one state machine: leading, contesting and releasing share what is
known of the lease.
"""

import random
from functools import partial

import structlog

from kuber_cron.common.config.lease_timing import LeaseTiming
from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.scheduler.election import lease_rules
from kuber_cron.scheduler.election.election import REDIS_AWAY_SECONDS, Election, ElectionContext
from kuber_cron.scheduler.election.fence import FenceReply
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseRecord
from kuber_cron.scheduler.election.lease_store import Calls, FenceStore, LeaseStore, run
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_CLAIMS = 3
# An attempt that took longer than a retry is followed by the next after this part of one.
_LEAST_PAUSE = 0.1


class LeaseElection(Election):
    """Holds the lease while it can."""

    def __init__(
        self,
        context: ElectionContext,
        *,
        store: LeaseStore,
        fence: FenceStore,
        timing: LeaseTiming,
        rng: random.Random | None = None,
    ) -> None:
        """``rng`` spreads the standbys' attempts."""
        super().__init__(context, retry_seconds=timing.retry, stalled_seconds=2 * timing.lease)
        self._store = store
        self._fence = fence
        self._timing = timing
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._observation: lease_rules.Observation | None = None
        # The lease as last known, if it names us: what a release writes over.
        self._own: LeaseRecord | None = None
        # A write of ours got no answer, so the lease may name us without our knowing.
        self._is_unsure = False
        # Somebody else wrote to the lease during our term and it has not been renewed since.
        self._is_doubted = False
        # The last attempt to renew failed because the store is away, and Redis answered.
        self._is_forgiven = False
        self._valid_until = 0.0
        self._paused_until = 0.0
        self._read_at: float | None = None
        self._failure: LeaseError | None = None
        self._refused = ""
        self._in_failsafe = False

    @property
    def elected_by(self) -> str:
        """Where the lease is kept, in words for people."""
        return self._store.kind

    def attempt(self) -> float:
        """Try once to get or keep the lease; return the seconds until the next attempt."""
        return run(self.attempt_calls())

    def attempt_calls(self) -> Calls[float]:
        """Yield the calls of one attempt."""
        began = self._clock.elapsed()
        term = self._ongoing_term()
        if began < self._paused_until:
            yield from self._check_fence(0)
            return min(self._timing.retry, self._paused_until - began)
        if term is not None:
            pause = yield from self._lead(term, began)
        else:
            pause = yield from self._contest()
        self._note_failsafe()
        return pause

    def release(self) -> None:
        """Write that nobody holds the lease and notify the standbys, if it was ours and the store answers."""
        run(self.release_calls())

    def redis_answered_at(self) -> float:
        """Return when the fence was last read."""
        return self._fence.answered_at

    # --- leading ---------------------------------------------------------------------------------

    def _lead(self, term: Term, began: float) -> Calls[float]:
        failure: LeaseError | None = None
        if self._is_forgiven:
            # The attempt before failed so that the term goes on if this one begins in time, which it does.
            self._tenure.extend(term, self._failsafe_until(began))
        try:
            yield from self._renew(term, began)
        except LeaseError as error:
            failure = error
            self._failed(error)
        self._is_forgiven = False
        fence = yield from self._check_fence(term.epoch)
        if self._tenure.term is not term:
            return 0.0
        now = self._clock.elapsed()
        if fence is None:
            self._tenure.extend(term, self._valid_until)
            if now - self._fence.answered_at >= REDIS_AWAY_SECONDS:
                yield from self._pause_contesting("redis does not answer")
        elif fence.verdict == "OTHER_CLUSTER" or fence.epoch > term.epoch:
            self.step_down(f"epoch {fence.epoch} has claimed the schedule")
        elif fence.epoch < term.epoch:
            self.step_down(f"redis has lost the claim: it holds epoch {fence.epoch}")
        elif failure is not None:
            self._is_forgiven = failure.reason in lease_rules.FORGIVABLE and not self._is_doubted
            self._tenure.extend(term, self._failsafe_until(began) if self._is_forgiven else self._valid_until)
        return max(began + self._timing.retry - now, _LEAST_PAUSE * self._timing.retry)

    def _failsafe_until(self, began: float) -> float:
        """Return until when an attempt that began then and failed carries the term on: the next one begins before."""
        timing = self._timing
        until = min(began + timing.retry + 2 * timing.request, self._valid_until + timing.failsafe)
        return max(self._valid_until, until)

    def _renew(self, term: Term, began: float) -> Calls[None]:
        for is_last in (False, True):
            record = yield from self._read()
            decision = lease_rules.decide(
                record,
                self._observation,
                holder=self.holder,
                epoch=term.epoch,
                now=self._clock.elapsed(),
            )
            if isinstance(decision, lease_rules.StepDown):
                self._metrics.failed("conflict")
                self.step_down(f"the lease is held by {decision.holder or 'nobody'}")
                return
            sent = self._clock.elapsed()
            try:
                yield from self._write(
                    lease_rules.renewed(
                        record,
                        holder=self.holder,
                        epoch=term.epoch,
                        lease=self._timing.lease,
                        wall=self._clock.now(),
                        through=self._tenure.through,
                    )
                )
            except LeaseError as error:
                if error.reason not in {"conflict", "not_found"}:
                    raise
                # Somebody else wrote, so failsafe would be a guess until the lease is known to be ours.
                self._is_doubted = True
                self._tenure.extend(term, self._valid_until)
                if is_last:
                    raise
                continue
            self._is_doubted = False
            self._valid_until = sent + self._timing.valid
            self._tenure.extend(term, self._valid_until)
            self._metrics.renewed(self._clock.elapsed() - began)
            return

    # --- contesting ------------------------------------------------------------------------------

    def _contest(self) -> Calls[float]:
        pause = self._timing.retry * self._rng.uniform(1.0, 1.2)
        try:
            record = yield from self._read()
        except LeaseError as error:
            self._failed(error)
            yield from self._check_fence(0)
            return pause
        fence = yield from self._check_fence(0)
        now = self._clock.elapsed()
        decision = lease_rules.decide(record, self._observation, holder=self.holder, epoch=None, now=now)
        if isinstance(decision, lease_rules.Wait):
            return min(pause, decision.until - now)
        # Who cannot reach Redis could decide nothing.
        if fence is None or fence.verdict == "OTHER_CLUSTER":
            return pause
        try:
            yield from self._acquire(record)
        except LeaseError as error:
            self._failed(error)
        return pause if self._tenure.valid_term() is None else self._timing.retry

    def _acquire(self, record: LeaseRecord | None) -> Calls[None]:
        recorded = record.transitions if record is not None else 0
        floor = self._tenure.epoch
        epoch = lease_rules.next_epoch(recorded, floor)
        if lease_rules.is_typed_in(recorded, floor):
            log.warning(
                "lease transitions ignored: they are no count of terms", transitions=recorded, epoch=epoch
            )
        for _ in range(_CLAIMS):
            sent = self._clock.elapsed()
            through = max(record.through if record is not None else 0, self._tenure.through)
            record = yield from self._write(
                lease_rules.taken(
                    record,
                    holder=self.holder,
                    epoch=epoch,
                    lease=self._timing.lease,
                    wall=self._clock.now(),
                    through=through,
                )
            )
            claimed = yield from self._claim(epoch)
            if claimed is None or claimed.verdict == "OTHER_CLUSTER":
                break
            if claimed.verdict == "CLAIMED":
                self._is_doubted = self._is_forgiven = False
                self._valid_until = sent + self._timing.valid
                self._begin(
                    Term(epoch, self.holder, "", max(through, self._tenure.through)), self._valid_until
                )
                return
            epoch = lease_rules.next_epoch(claimed.epoch, claimed.epoch)
        log.warning("lease released: its epoch could not be claimed in redis", epoch=epoch)
        yield from self.release_calls()

    # --- releasing -------------------------------------------------------------------------------

    def release_calls(self) -> Calls[None]:
        """Yield the calls of a release. The term has been ended before."""
        if self._own is None and not self._is_unsure:
            return
        try:
            if self._own is None:
                yield from self._read()
            for is_last in (False, True):
                if self._own is None:
                    return
                try:
                    made = lease_rules.released(
                        self._own, wall=self._clock.now(), through=self._tenure.through
                    )
                    yield from self._write(made)
                except LeaseError as error:
                    if error.reason != "conflict" or is_last:
                        raise
                    yield from self._read()
                    continue
                break
        except LeaseError as error:
            log.warning("releasing the lease failed: it expires by itself", error=error.message)
            return
        log.info("leadership released", holder=self.holder)
        try:
            yield self._fence.publish_release
        except RedisUnreachableError:
            log.info("notifying the standbys failed: they read the lease within a retry")

    def _pause_contesting(self, reason: str) -> Calls[None]:
        self._metrics.failed("redis")
        self.step_down(reason)
        yield from self.release_calls()
        self._paused_until = self._clock.elapsed() + self._timing.lease

    # --- single calls ----------------------------------------------------------------------------

    def _read(self) -> Calls[LeaseRecord | None]:
        record: LeaseRecord | None = yield self._store.read
        self._is_unsure = False
        self._seen(record)
        return record

    def _write(self, record: LeaseRecord) -> Calls[LeaseRecord]:
        try:
            written: LeaseRecord = yield partial(self._store.write, record)
        except LeaseError as error:
            self._is_unsure = self._is_unsure or error.reason in {"timeout", "transport", "server_error"}
            raise
        self._seen(written)
        return written

    def _seen(self, record: LeaseRecord | None) -> None:
        now = self._read_at = self._clock.elapsed()
        grace = 1.2 * self._timing.retry + self._timing.request
        self._observation = lease_rules.observe(self._observation, record, now, grace=grace)
        self._own = record if record is not None and record.holder == self.holder else None
        if self._failure is not None:
            log.info("lease reachable again", after=self._failure.reason)
            self._failure = None

    def _check_fence(self, epoch: int) -> Calls[FenceReply | None]:
        """Return the fence; None if Redis did not answer."""
        try:
            found: FenceReply = yield partial(self._fence.check, epoch)
        except RedisUnreachableError:
            return None
        self._take_in(found)
        return found

    def _claim(self, epoch: int) -> Calls[FenceReply | None]:
        try:
            claimed: FenceReply = yield partial(self._fence.claim, epoch)
        except RedisUnreachableError:
            return None
        self._take_in(claimed)
        return claimed

    def _take_in(self, answer: FenceReply) -> None:
        if answer.verdict != "OTHER_CLUSTER":
            self._tenure.saw(answer.epoch, answer.through)
            self._refused = ""
        elif not self._refused:
            self._refused = f"this Redis serves another cluster or lease, {answer.who[:8]}"
            log.error("not contesting: this Redis serves another cluster or lease", other=answer.who)

    # --- logs and health -------------------------------------------------------------------------

    def _failed(self, error: LeaseError) -> None:
        self._metrics.failed(error.reason)
        if error.reason == "conflict":
            return  # another was quicker, which is how elections go
        if self._failure is None or self._failure.reason != error.reason:
            write = log.error if error.reason in {"forbidden", "rejected"} else log.warning
            write("reading or writing the lease failed", error=error.message, hint=error.hint)
        self._failure = error

    def _note_failsafe(self) -> None:
        on = self._tenure.valid_term() is not None and self._clock.elapsed() >= self._valid_until
        if on and not self._in_failsafe:
            log.warning(
                "failsafe: leading on without the lease, because a successor has to fence us in redis"
            )
        elif self._in_failsafe and not on:
            log.info("failsafe is over", leading=self._tenure.valid_term() is not None)
        self._in_failsafe = on
        self._metrics.failsafe(on=on)

    def check_lease(self) -> str:
        """Return ``ok`` where this process leads or could, else why not."""
        if self._refused:
            return self._refused
        failure, read_at = self._failure, self._read_at
        if failure is not None and failure.reason in {"forbidden", "rejected"}:
            return f"{failure.message} ({failure.hint})" if failure.hint else failure.message
        if self.valid_term() is not None:
            return "ok"
        if read_at is None:
            return failure.message if failure is not None else "the lease has not been read yet"
        seconds = self._clock.elapsed() - read_at
        return "ok" if seconds < self._timing.lease else f"the lease has not been read for {seconds:.0f} s"

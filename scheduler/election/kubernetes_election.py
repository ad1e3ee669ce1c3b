"""Leadership by a Kubernetes Lease, fenced by Redis (spec: reliability.md §3).

One turn: read the Lease, decide (``lease``, pure), write it, and look at the fence in Redis. A term begins when
the Lease is won *and* its epoch is claimed in Redis; from then on every older leader is fenced, whatever it
believes. While the API server is away and Redis answers, the leader leads on (*failsafe*): whoever succeeds it
has to claim a larger epoch first, and that fences us.

A turn is a generator that yields each call to the API server and to Redis, and is sent its result. ``turn``
makes the calls; the simulation in the tests delays, loses and repeats them under a clock of its own.

What this does *not* give: a term that no other can overlap. A process that was paused, a Lease deleted or edited
by hand, and a holder that is not one of ours (it never claims in Redis) can do that; docs/leadership.md.
"""

import random
from functools import partial

import structlog

from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.scheduler.election import lease_rules
from kuber_cron.scheduler.election.contest import REDIS_AWAY_SECONDS, Contest, Setup
from kuber_cron.scheduler.election.fence import FenceReply
from kuber_cron.scheduler.election.lease_rules import LeaseError, LeaseRecord
from kuber_cron.scheduler.election.lease_store import Calls, FenceStore, LeaseStore, Times, run
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

_CLAIMS = 3
# A turn that took longer than a retry is followed by the next after this part of one.
_LEAST_PAUSE = 0.1


class KubernetesElection(Contest):
    """Holds the Lease while it can. ``token()`` is the only question; ask right before each side effect."""

    def __init__(
        self,
        setup: Setup,
        *,
        api: LeaseStore,
        fence: FenceStore,
        times: Times,
        rng: random.Random | None = None,
    ) -> None:
        """``rng`` spreads the standbys' attempts."""
        super().__init__(setup, retry_seconds=times.retry, stalled_seconds=2 * times.lease)
        self._api = api
        self._fence = fence
        self._times = times
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._observation: lease_rules.Observation | None = None
        # The Lease as last known, if it names us: what a release writes over.
        self._own: LeaseRecord | None = None
        # A write of ours got no answer, so the Lease may name us without our knowing.
        self._is_unsure = False
        # Somebody else wrote to the Lease during our term and it has not been renewed since.
        self._is_doubted = False
        # The last attempt to renew failed because the API server is away, and Redis answered.
        self._is_forgiven = False
        self._valid_until = 0.0
        self._rests_until = 0.0
        self._read_at: float | None = None
        self._failure: LeaseError | None = None
        self._refused = ""
        self._in_failsafe = False

    def turn(self) -> float:
        """One try to get or keep the Lease; the seconds until the next."""
        return run(self.attempt())

    def attempt(self) -> Calls[float]:
        """The calls of one turn."""
        began = self._clock.elapsed()
        term = self._end_what_is_over()
        if began < self._rests_until:
            yield from self._look(0)
            return min(self._times.retry, self._rests_until - began)
        if term is not None:
            pause = yield from self._lead(term, began)
        else:
            pause = yield from self._contest()
        self._tell_failsafe()
        return pause

    def release(self) -> None:
        """The Lease names nobody and the standbys know, if it was ours and the API server answers."""
        run(self.give_away())

    def redis_answered_at(self) -> float:
        """When the fence was last looked at."""
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
        looked = yield from self._look(term.epoch)
        if self._tenure.term is not term:
            return 0.0
        now = self._clock.elapsed()
        if looked is None:
            self._tenure.extend(term, self._valid_until)
            if now - self._fence.answered_at >= REDIS_AWAY_SECONDS:
                yield from self._rest("redis does not answer")
        elif looked.verdict == "OTHER_CLUSTER" or looked.epoch > term.epoch:
            self.give_up(f"epoch {looked.epoch} has claimed the schedule")
        elif looked.epoch < term.epoch:
            self.give_up(f"redis has lost the claim: it holds epoch {looked.epoch}")
        elif failure is not None:
            self._is_forgiven = failure.reason in lease_rules.FORGIVABLE and not self._is_doubted
            self._tenure.extend(term, self._failsafe_until(began) if self._is_forgiven else self._valid_until)
        return max(began + self._times.retry - now, _LEAST_PAUSE * self._times.retry)

    def _failsafe_until(self, began: float) -> float:
        """How long an attempt that began then and failed carries the term on: until the next one has to begin."""
        times = self._times
        until = min(began + times.retry + 2 * times.request, self._valid_until + times.failsafe)
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
                self.give_up(f"the Lease is held by {decision.holder or 'nobody'}")
                return
            sent = self._clock.elapsed()
            try:
                yield from self._write(
                    lease_rules.renewed(
                        record,
                        holder=self.holder,
                        epoch=term.epoch,
                        lease=self._times.lease,
                        wall=self._clock.now(),
                        through=self._tenure.through,
                    )
                )
            except LeaseError as error:
                if error.reason not in {"conflict", "not_found"}:
                    raise
                # Somebody else wrote, so failsafe would be a guess until the Lease is known to be ours.
                self._is_doubted = True
                self._tenure.extend(term, self._valid_until)
                if is_last:
                    raise
                continue
            self._is_doubted = False
            self._valid_until = sent + self._times.valid
            self._tenure.extend(term, self._valid_until)
            self._metrics.renewed(self._clock.elapsed() - began)
            return

    # --- contesting ------------------------------------------------------------------------------

    def _contest(self) -> Calls[float]:
        pause = self._times.retry * self._rng.uniform(1.0, 1.2)
        try:
            record = yield from self._read()
        except LeaseError as error:
            self._failed(error)
            yield from self._look(0)
            return pause
        looked = yield from self._look(0)
        now = self._clock.elapsed()
        decision = lease_rules.decide(record, self._observation, holder=self.holder, epoch=None, now=now)
        if isinstance(decision, lease_rules.Wait):
            return min(pause, decision.until - now)
        # Who cannot reach Redis could decide nothing.
        if looked is None or looked.verdict == "OTHER_CLUSTER":
            return pause
        try:
            yield from self._acquire(record)
        except LeaseError as error:
            self._failed(error)
        return pause if self._tenure.token() is None else self._times.retry

    def _acquire(self, record: LeaseRecord | None) -> Calls[None]:
        recorded = record.transitions if record is not None else 0
        floor = self._tenure.epoch
        epoch = lease_rules.next_epoch(recorded, floor)
        if lease_rules.is_typed_in(recorded, floor):
            log.warning(
                "the Lease's transitions are no count of terms: ignored", transitions=recorded, epoch=epoch
            )
        for _ in range(_CLAIMS):
            sent = self._clock.elapsed()
            through = max(record.through if record is not None else 0, self._tenure.through)
            record = yield from self._write(
                lease_rules.taken(
                    record,
                    holder=self.holder,
                    epoch=epoch,
                    lease=self._times.lease,
                    wall=self._clock.now(),
                    through=through,
                )
            )
            claimed = yield from self._claim(epoch)
            if claimed is None or claimed.verdict == "OTHER_CLUSTER":
                break
            if claimed.verdict == "CLAIMED":
                self._is_doubted = self._is_forgiven = False
                self._valid_until = sent + self._times.valid
                self._begin(
                    Term(epoch, self.holder, "", max(through, self._tenure.through)), self._valid_until
                )
                return
            epoch = lease_rules.next_epoch(claimed.epoch, claimed.epoch)
        log.warning("the Lease was won and its epoch could not be claimed in redis: given back", epoch=epoch)
        yield from self.give_away()

    # --- giving away -----------------------------------------------------------------------------

    def give_away(self) -> Calls[None]:
        """The calls of a release. The term has been ended before."""
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
            log.warning("the Lease was not released, it expires by itself", error=error.message)
            return
        log.info("leadership released", holder=self.holder)
        try:
            yield self._fence.announce
        except RedisUnreachableError:
            log.info("the standbys could not be told, they will look within a retry")

    def _rest(self, reason: str) -> Calls[None]:
        self._metrics.failed("redis")
        self.give_up(reason)
        yield from self.give_away()
        self._rests_until = self._clock.elapsed() + self._times.lease

    # --- single calls ----------------------------------------------------------------------------

    def _read(self) -> Calls[LeaseRecord | None]:
        record: LeaseRecord | None = yield self._api.read
        self._is_unsure = False
        self._seen(record)
        return record

    def _write(self, record: LeaseRecord) -> Calls[LeaseRecord]:
        try:
            written: LeaseRecord = yield partial(self._api.write, record)
        except LeaseError as error:
            self._is_unsure = self._is_unsure or error.reason in {"timeout", "transport", "server_error"}
            raise
        self._seen(written)
        return written

    def _seen(self, record: LeaseRecord | None) -> None:
        now = self._read_at = self._clock.elapsed()
        grace = 1.2 * self._times.retry + self._times.request
        self._observation = lease_rules.observe(self._observation, record, now, grace=grace)
        self._own = record if record is not None and record.holder == self.holder else None
        if self._failure is not None:
            log.info("the API server serves the Lease again", after=self._failure.reason)
            self._failure = None

    def _look(self, epoch: int) -> Calls[FenceReply | None]:
        """The fence's answer; None if Redis gave none."""
        try:
            looked: FenceReply = yield partial(self._fence.look, epoch)
        except RedisUnreachableError:
            return None
        self._take_in(looked)
        return looked

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
            self._refused = f"this Redis serves another cluster or Lease, {answer.who[:8]}"
            log.error("not contesting: this Redis serves another cluster or Lease", other=answer.who)

    # --- what is said of it ----------------------------------------------------------------------

    def _failed(self, error: LeaseError) -> None:
        self._metrics.failed(error.reason)
        if error.reason == "conflict":
            return  # another was quicker, which is how elections go
        if self._failure is None or self._failure.reason != error.reason:
            say = log.error if error.reason in {"forbidden", "rejected"} else log.warning
            say("the Lease could not be read or written", error=error.message, hint=error.hint)
        self._failure = error

    def _tell_failsafe(self) -> None:
        on = self._tenure.token() is not None and self._clock.elapsed() >= self._valid_until
        if on and not self._in_failsafe:
            log.warning(
                "failsafe: leading on without the API server, for a successor has to fence us in redis"
            )
        elif self._in_failsafe and not on:
            log.info("failsafe is over", leading=self._tenure.token() is not None)
        self._in_failsafe = on
        self._metrics.failsafe(on=on)

    def check_lease(self) -> str:
        """``ok`` where this process leads or could, else why not."""
        if self._refused:
            return self._refused
        failure, read_at = self._failure, self._read_at
        if failure is not None and failure.reason in {"forbidden", "rejected"}:
            return f"{failure.message} ({failure.hint})" if failure.hint else failure.message
        if self.token() is not None:
            return "ok"
        if read_at is None:
            return failure.message if failure is not None else "the Lease has not been read yet"
        seconds = self._clock.elapsed() - read_at
        return "ok" if seconds < self._times.lease else f"the Lease has not been read for {seconds:.0f} s"

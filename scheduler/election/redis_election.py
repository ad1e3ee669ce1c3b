"""Leadership by a key in Redis, for where there is no Kubernetes: Compose, one machine (reliability.md §3).

The epochs are the same as under a Kubernetes Lease: each term of leadership takes the next number of
``fence.epoch``, or of the largest that this process has seen, should Redis have been rolled back. The deciding
script checks the lease's key too, so it expires by the one clock that also takes the write. What this does
*not* give: a leader while Redis is away; without Redis nothing is decided.
"""

import structlog

from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.scheduler.election.election import Election, ElectionContext
from kuber_cron.scheduler.election.fence import Fence, FenceReply
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

TTL_SECONDS = 5.0
RENEW_SECONDS = 1.0
# /livez fails when no attempt was made for this long.
_STALLED_SECONDS = 40.0
# Leadership ends locally this long before the key can expire.
MARGIN_SECONDS = 1.0


class RedisElection(Election):
    """Holds the lease while it can.

    No ``LeaseStore``: the key and the fence change in one script, where a store and the fence are two steps.
    """

    def __init__(self, context: ElectionContext, fence: Fence) -> None:
        super().__init__(context, retry_seconds=RENEW_SECONDS, stalled_seconds=_STALLED_SECONDS)
        self._fence = fence
        self._refused = ""
        self._is_away = False
        self._key_epoch = 0  # of the key that may still be ours

    @property
    def elected_by(self) -> str:
        """Where the lease is kept, in words for people."""
        return "Redis"

    def attempt(self) -> float:
        """Try once to acquire or renew; return the seconds until the next attempt."""
        term = self._ongoing_term()
        sent = self._clock.elapsed()
        try:
            if term is not None:
                answer = self._fence.renew_lease(term.epoch)
            else:
                answer = self._fence.acquire_lease(self._tenure.epoch)
            if answer.verdict == "HELD" and answer.who.startswith(f"{self.holder}:"):
                # Ours, from a term that we have ended or from an answer that was lost: a new term has a new epoch.
                self._fence.release_lease(int(answer.who.rpartition(":")[2]))
                return 0.0
        except RedisUnreachableError as error:
            self._metrics.failed("redis")
            if not self._is_away:
                log.warning("reaching the lease failed: redis does not answer", error=error.message)
            self._is_away = True
            return RENEW_SECONDS
        if self._is_away:
            log.info("lease reachable again")
        self._is_away = False
        self._take_in(answer, term, sent)
        self._tenure.saw(answer.epoch, answer.through)
        return RENEW_SECONDS

    def _take_in(self, answer: FenceReply, term: Term | None, sent: float) -> None:
        valid_until = sent + TTL_SECONDS - MARGIN_SECONDS
        refused = ""
        if answer.verdict == "RENEWED" and term is not None:
            self._tenure.extend(term, valid_until)
            self._metrics.renewed(self._clock.elapsed() - sent)
        elif answer.verdict == "ACQUIRED":
            through = max(answer.through, self._tenure.through)
            lease = f"{self.holder}:{answer.epoch}"
            self._key_epoch = answer.epoch
            self._begin(Term(answer.epoch, self.holder, lease, through), valid_until)
        elif answer.verdict == "LOST":
            self._metrics.failed("conflict")
            self.step_down(f"the lease is held by {answer.who or 'nobody'}")
        elif answer.verdict == "OTHER_CLUSTER":
            refused = f"this Redis serves another installation, {answer.who}"
            if refused != self._refused:
                log.error("not contesting: this Redis serves another installation", other=answer.who)
        self._refused = refused

    def release(self) -> None:
        """Delete the key and notify the standbys, if the key was ours."""
        if not self._key_epoch:
            return
        try:
            answer = self._fence.release_lease(self._key_epoch)
        except RedisUnreachableError as error:
            log.warning("releasing the lease failed: it expires by itself", error=error.message)
            return
        if answer.verdict == "RELEASED":
            log.info("leadership released", epoch=self._key_epoch)
        self._key_epoch = 0

    def redis_answered_at(self) -> float:
        """Return when the lease's script last answered."""
        return self._fence.answered_at

    def check_lease(self) -> str:
        """Return ``ok`` unless this Redis is another installation's."""
        return self._refused or "ok"

"""Leadership by a key in Redis, for where there is no Kubernetes: Compose, one machine (reliability.md §3).

The epochs are the same as under a Kubernetes Lease: each term of leadership takes the next number of
``fence.epoch``, or of the largest that this process has seen, should Redis have been rolled back. The deciding
script checks the lease's key too, so it expires by the one clock that also takes the write. What this does
*not* give: a leader while Redis is away; without Redis nothing is decided.
"""

import structlog

from kuber_cron.common.errors import RedisUnreachableError
from kuber_cron.scheduler.election.contest import Contest, Setup
from kuber_cron.scheduler.election.fence import Fence, FenceReply
from kuber_cron.scheduler.election.term import Term

log = structlog.get_logger(__name__)

TTL_SECONDS = 5.0
RENEW_SECONDS = 1.0
# /livez fails when the election has not turned for this long.
_STALLED_SECONDS = 40.0
# Leadership ends locally this long before the key can expire.
MARGIN_SECONDS = 1.0


class RedisElection(Contest):
    """Holds the lease while it can. ``token()`` is the only question; ask right before each side effect."""

    def __init__(self, setup: Setup, fence: Fence) -> None:
        super().__init__(setup, retry_seconds=RENEW_SECONDS, stalled_seconds=_STALLED_SECONDS)
        self._fence = fence
        self._refused = ""
        self._is_away = False
        self._key_epoch = 0  # of the key that may still be ours

    def turn(self) -> float:
        """One try to acquire or renew."""
        term = self._end_what_is_over()
        sent = self._clock.elapsed()
        try:
            answer = self._fence.lease(
                "renew" if term else "acquire", term.epoch if term else self._tenure.epoch
            )
            if answer.verdict == "HELD" and answer.who.startswith(f"{self.holder}:"):
                # Ours, from a term that we gave up or from an answer that was lost: a new term has a new epoch.
                self._fence.lease("release", int(answer.who.rpartition(":")[2]))
                return 0.0
        except RedisUnreachableError as error:
            self._metrics.failed("redis")
            if not self._is_away:
                log.warning("the lease cannot be reached", error=error.message)
            self._is_away = True
            return RENEW_SECONDS
        if self._is_away:
            log.info("the lease can be reached again")
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
            self.give_up(f"the lease is held by {answer.who or 'nobody'}")
        elif answer.verdict == "OTHER_CLUSTER":
            refused = f"this Redis serves another installation, {answer.who}"
            if refused != self._refused:
                log.error("not contesting: this Redis serves another installation", other=answer.who)
        self._refused = refused

    def release(self) -> None:
        """The key is gone and the standbys know, if the key was ours."""
        if not self._key_epoch:
            return
        try:
            answer = self._fence.lease("release", self._key_epoch)
        except RedisUnreachableError as error:
            log.warning("leadership not released, it expires by itself", error=error.message)
            return
        if answer.verdict == "RELEASED":
            log.info("leadership released", epoch=self._key_epoch)
        self._key_epoch = 0

    def redis_answered_at(self) -> float:
        """When the lease's script last answered."""
        return self._fence.answered_at

    def check_lease(self) -> str:
        """``ok`` unless this Redis is another installation's."""
        return self._refused or "ok"

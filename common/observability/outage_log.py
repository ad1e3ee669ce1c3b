"""The log of an outage: one line when it begins, one from time to time with a count, one when it is over.

Loops that ask again and again report each failure here, all the loops of one worker at one object, so that an hour without
Redis is a dozen lines and not ten thousand.
"""

import threading

import structlog

from kuber_cron.common.clock import Clock

log = structlog.get_logger(__name__)

_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 600.0
# One loop may reach Redis while another does not: the outage is over once none has failed for this long.
_QUIET_SECONDS = 2.0


class OutageLog:
    """Redis' outages as the loops of one worker, or one loop of a scheduler, meet them; safe from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._began = self._failed_at = self._log_at = 0.0
        self._seconds = _FIRST_SECONDS

    def failed(self, event: str, error: Exception, **facts: object) -> None:
        """Report a failure: logged as ``event`` if it is the first of an outage, and else counted."""
        with self._lock:
            now = self._clock.elapsed()
            self._failures += 1
            self._failed_at = now
            if self._failures == 1:
                self._began, self._seconds = now, _FIRST_SECONDS
            elif now < self._log_at:
                return
            else:
                self._seconds = min(_LONGEST_SECONDS, 2 * self._seconds)
                facts |= {"failures": self._failures, "seconds": round(now - self._began)}
            self._log_at = now + self._seconds
        log.warning(event, error=str(error), **facts)

    def answered(self) -> None:
        """Report a success: logged if it ends an outage."""
        if not self._failures:
            return
        with self._lock:
            now = self._clock.elapsed()
            if not self._failures or now - self._failed_at < _QUIET_SECONDS:
                return
            failures, self._failures = self._failures, 0
            seconds = round(self._failed_at - self._began)
        log.info("redis answers again", failures=failures, seconds=seconds)

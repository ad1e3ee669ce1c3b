"""Self-fencing: how long a worker has been silent, and what follows for its commands, as pure values.

A worker that is cut off ends its commands before another is given their runs (spec: reliability.md §6, Self-fencing).
The silence is counted on the interval clock from the *sending* of the last acknowledged heartbeat. It grows whatever the
error is: a connection that is refused proves nothing about others, who may have another way or another primary. It stands
still only while the primary itself answers that it takes nobody's writes, because nobody can be given the runs then.

The leader judges from what it saw later than that sending (``scheduler/maintenance/worker_watch.py``), so KILL comes first.
"""

from dataclasses import dataclass, replace

# The part of the ttl between KILL and the first moment at which another worker may start the run.
RESERVE_SECONDS = 2.0
# After a gap in which this process did not run, Redis is asked for at most so long before anything is ended.
ASK_SECONDS = 2.0
# A refusal holds for so long, within which the next answer is awaited; less than the reserve.
REFUSAL_SECONDS = 1.9
# The fence is looked at four times a second; a longer gap is a sleep, a pause, or a machine that gives no time.
GAP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Silence:
    """The silence of one worker. Instants are of the interval clock, in seconds.

    Attributes:
        acked_at: When the last acknowledged heartbeat was sent, moved on by the time that does not count.
        refused_at: When the primary last said that it takes nobody's writes; None if the last answer was another.
        asks_until: Until when an answer is awaited before anything is ended, after a gap.
    """

    acked_at: float
    refused_at: float | None = None
    asks_until: float = 0.0

    def acknowledged(self, sent_at: float) -> "Silence":
        """A heartbeat that was sent at ``sent_at`` has been acknowledged."""
        return Silence(max(self.acked_at, sent_at))

    def refused(self, now: float) -> "Silence":
        """The primary said just now that it takes nobody's writes: the time since it last said so does not count."""
        if self.refused_at is None:
            return replace(self, refused_at=now)
        return replace(self, acked_at=self.acked_at + max(0.0, now - self.refused_at), refused_at=now)

    def unanswered(self) -> "Silence":
        """A heartbeat failed in a way that proves nothing about others."""
        return replace(self, refused_at=None)

    def awoken(self, now: float, ttl_seconds: float, *, ran_until: float) -> "Silence":
        """This process has not run since ``ran_until``: it asks before it ends anything.

        It asks for at most ``ASK_SECONDS``, and not beyond the moment of KILL unless that is past already. A worker that was
        cut off before the gap asks nothing.
        """
        if self.is_cut_off(ran_until, ttl_seconds):
            return replace(self, refused_at=None)
        kill_at = self.acked_at + ttl_seconds - RESERVE_SECONDS
        until = now + ASK_SECONDS if now >= kill_at else min(now + ASK_SECONDS, kill_at)
        return replace(self, asks_until=until, refused_at=None)

    def seconds(self, now: float) -> float:
        """Return how long the silence has lasted."""
        if self.refused_at is not None and 0.0 <= now - self.refused_at <= REFUSAL_SECONDS:
            return self.refused_at - self.acked_at
        return now - self.acked_at

    def is_cut_off(self, now: float, ttl_seconds: float) -> bool:
        """Return True where half the ttl has passed in silence: nothing may be started."""
        return self.seconds(now) >= ttl_seconds / 2

    def grace_seconds(self, now: float, ttl_seconds: float) -> float | None:
        """Return how long commands may take to end from now on, None while they may go on."""
        if not self.is_cut_off(now, ttl_seconds) or now < self.asks_until:
            return None
        return max(0.0, ttl_seconds - RESERVE_SECONDS - self.seconds(now))

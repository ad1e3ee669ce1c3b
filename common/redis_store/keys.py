"""The keys in Redis: each has its method here, and is spelt nowhere else in Python (in Lua: ``lua/``, which a test compares).

Everything lies under RQ's prefix (``rq`` for the default instance). RQ's own keys come last; ours are all under
``<prefix>:kuber-cron:``. Key names are stored in running installations: a name that changes loses what it held.
"""

from dataclasses import dataclass
from typing import Literal

from kuber_cron.common.records.parsing import text

DEFAULT_INSTANCE = "kuber-cron"
DEFAULT_PREFIX = "rq"

Registry = Literal["finished", "failed", "canceled", "scheduled", "deferred", "wip"]
"""RQ's sorted sets of a queue's runs that are not in its list."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys under one RQ prefix. The kind of a key stands first in its method's docstring."""

    prefix: str = DEFAULT_PREFIX

    @classmethod
    def of(cls, instance: str) -> "Keys":
        """Return the keys of an instance: under RQ's own prefix for the default one, else under its name."""
        return cls(DEFAULT_PREFIX if instance == DEFAULT_INSTANCE else instance)

    @property
    def instance(self) -> str:
        """The name of the instance whose keys these are."""
        return DEFAULT_INSTANCE if self.prefix == DEFAULT_PREFIX else self.prefix

    def _own(self, name: str) -> str:
        return f"{self.prefix}:kuber-cron:{name}"

    # Leadership

    @property
    def fence(self) -> str:
        """Hash: who may decide, and how much was decided.

        ``epoch holder cluster seen through server lost_at``, and ``hand_at hand_count``: the place in line of manual runs.
        """
        return self._own("fence")

    @property
    def lease(self) -> str:
        """String with a ttl: ``holder:epoch``, where no Kubernetes Lease is used."""
        return self._own("lease")

    @property
    def released(self) -> str:
        """Channel: a leader has released its term; standbys need not wait for its end."""
        return self._own("released")

    @property
    def schedulers(self) -> str:
        """Hash: replica → its scheduler entry: version, jobs, the term it leads in."""
        return self._own("schedulers")

    @property
    def job_summaries(self) -> str:
        """Hash: job → its summary: queue, delay, life … for those who have no job files."""
        return self._own("jobs")

    # Decisions

    @property
    def boot(self) -> str:
        """String: the boot whose ``@reboot`` jobs have been decided."""
        return self._own("boot")

    @property
    def cursors(self) -> str:
        """Hash: job → its last decided instant, with the schedule and zone it was decided by."""
        return self._own("cursor")

    @property
    def timings(self) -> str:
        """Hash: job → its cursor's timing: what else moved its occurrences when they were decided."""
        return self._own("timing")

    def log(self, job: str) -> str:
        """Stream, bounded: the job's decision log, an entry for each decision."""
        return self._own(f"log:{job}")

    @property
    def missed(self) -> str:
        """Hash: ``job|reason`` → instants not queued. The leader exports it, and it survives the leader."""
        return self._own("missed")

    @property
    def changed(self) -> str:
        """Set, at most one entry a job: jobs whose numbers the leader has to read again."""
        return self._own("changed")

    @property
    def ended(self) -> str:
        """Hash: ``job|outcome`` → runs that ended for good. Exported as ``missed`` is."""
        return self._own("ended")

    @property
    def paused(self) -> str:
        """Hash: job (or ``*`` for all) → until when, in milliseconds; 0 = until resumed."""
        return self._own("paused")

    @property
    def removed(self) -> str:
        """Hash: job that has left the files and is not forgotten yet → when the last of its runs ended."""
        return self._own("removed")

    # Runs between their decision and their final end

    @property
    def open_runs(self) -> str:
        """Hash: every run between decision and final end → its group, or nothing."""
        return self._own("open")

    def active(self, job: str) -> str:
        """Sorted set: the job's open runs by instant. Overlap is judged by it."""
        return self._own(f"active:{job}")

    def line(self, job: str) -> str:
        """Sorted set: the open runs of a job that allows no overlap, by the order of their decisions."""
        return self._own(f"line:{job}")

    @property
    def held(self) -> str:
        """Sorted set: runs decided and in no queue, by the order of their decisions."""
        return self._own("held")

    def gates(self, run: str) -> str:
        """Hash: the run that a held run waits for → ``after`` (its success) or ``line`` (its end)."""
        return self._own(f"gates:{run}")

    def gated(self, run: str) -> str:
        """Set: the held runs that wait for this one."""
        return self._own(f"gated:{run}")

    def past(self, job: str) -> str:
        """Sorted set, bounded: how the instants of a job that others come after went."""
        return self._own(f"past:{job}")

    @property
    def groups(self) -> str:
        """Hash: group → how many of it may run at once."""
        return self._own("groups")

    def group(self, name: str) -> str:
        """Set: the runs of a group that run."""
        return self._own(f"group:{name}")

    def waiting(self, group: str) -> str:
        """Sorted set: the runs that wait for room in the group, by the order of their decisions."""
        return self._own(f"waiting:{group}")

    # Ended runs

    def stats(self, job: str) -> str:
        """Hash: last run, last success, last duration, last outcome of the job.

        ``failing``: the run that failed last, until the next success. ``expected_from``: the instant after which
        a success is expected; the job was new, edited or suspended then.
        """
        return self._own(f"stats:{job}")

    def history(self, job: str) -> str:
        """List, bounded: the job's ended runs, newest first."""
        return self._own(f"history:{job}")

    def sizes(self, job: str) -> str:
        """Hash: ended run → its size in bytes; under the empty name their sum."""
        return self._own(f"sizes:{job}")

    @property
    def history_limits(self) -> str:
        """Hash: how much of ended runs stays, ``runs``, ``seconds``, ``bytes``, by the leader's settings."""
        return self._own("bounds")

    @property
    def quarantine(self) -> str:
        """Stream, bounded: runs that nobody could read or verify, with the reason."""
        return self._own("quarantine")

    def aside(self, run: str) -> str:
        """Key of any kind: what stood under the name of a quarantined run and was no run."""
        return self._own(f"aside:{run}")

    # Operators

    @property
    def requests(self) -> str:
        """List: the ids of what operators request of the leader, oldest first."""
        return self._own("requests")

    def request(self, request: str) -> str:
        """Hash with a ttl: one request, ``body signature``, and what became of it."""
        return self._own(f"request:{request}")

    def answer(self, request: str) -> str:
        """List with a ttl: what became of each run of the request."""
        return self._own(f"answer:{request}")

    @property
    def requested(self) -> str:
        """Channel: a request has been put on the list."""
        return self._own("asked")

    @property
    def acted(self) -> str:
        """Hash: action → how often operators did it."""
        return self._own("acted")

    @property
    def acts(self) -> str:
        """Stream, bounded: what operators did last, with who and when."""
        return self._own("acts")

    # Workers

    @property
    def claimers(self) -> str:
        """Set: the workers that have, or may have, a claim list."""
        return self._own("claims")

    def claims(self, worker: str) -> str:
        """List: run ids that a worker has claimed and not yet started."""
        return self._own(f"claims:{worker}")

    def alive(self, worker: str) -> str:
        """String with a ttl: the worker's liveness."""
        return self._own(f"alive:{worker}")

    def seen(self, worker: str) -> str:
        """String: ``<count> <ttl in ms>``, the worker's heartbeats. Its claim list is returned for a day after the last."""
        return self._own(f"seen:{worker}")

    def output(self, execution: str) -> str:
        """String with a ttl: the output so far of a running attempt."""
        return self._own(f"output:{execution}")

    @property
    def lost(self) -> str:
        """Hash: job → attempts lost. Not exported."""
        return self._own("lost")

    @property
    def counters(self) -> str:
        """Hash: ends that came too ``late``. Not exported."""
        return self._own("counters")

    # RQ's own keys

    @property
    def queues(self) -> str:
        """Set: the keys of all queues."""
        return f"{self.prefix}:queues"

    def queue(self, name: str) -> str:
        """List: the runs of a queue, the next one first."""
        return f"{self.prefix}:queue:{name}"

    def queue_name(self, key: bytes | str) -> str:
        """Return the name of the queue whose key this is, as `queues` holds it."""
        return text(key).removeprefix(self.queue(""))

    def run(self, run: str) -> str:
        """Hash: a run, which is RQ's hash of a job."""
        return f"{self.prefix}:job:{run}"

    def results(self, run: str) -> str:
        """Stream: the results of a run's attempts."""
        return f"{self.prefix}:results:{run}"

    def registry(self, name: Registry, queue: str) -> str:
        """Sorted set: the runs of the queue that are in this state."""
        return f"{self.prefix}:{name}:{queue}"

    @property
    def workers(self) -> str:
        """Set: the keys of all workers that have registered."""
        return f"{self.prefix}:workers"

    def queue_workers(self, queue: str) -> str:
        """Set: the keys of the workers that serve the queue."""
        return f"{self.prefix}:workers:{queue}"

    def worker(self, name: str) -> str:
        """Hash: a worker, as RQ describes it."""
        return f"{self.prefix}:worker:{name}"

    def worker_name(self, key: bytes | str) -> str:
        """Return the name of the worker whose key this is, as `workers` holds it."""
        return text(key).removeprefix(self.worker(""))

    def worker_executions(self, worker: str) -> str:
        """Set: ``run:execution`` of each attempt that occupies a slot of the worker."""
        return f"{self.prefix}:worker:{worker}:executions"

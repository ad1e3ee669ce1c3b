"""A cluster of real processes on one machine: three schedulers, two workers, a Redis, and a proxy before each way.

The keeper starts again whatever should run and has ended, as a kubelet would. Every process carries a mark in
its environment that its commands inherit, by which what is left over at the end is found.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from tests.faults.history import Asked, History, Span
from tests.faults.jobs import JobFile, boot_offset, read_lines
from tests.faults.member import Member, Role, parent_of
from tests.faults.proxy import Proxies
from tests.faults.recorder import Recorder
from tests.faults.redis_server import USER, RedisServer
from tests.faults.setup import Setup
from tests.support.waiting import eventually

import kuber_cron

MARK = "FAULTS_RUN"
_RESTARTS_SECONDS = 0.2
# The leader reads the counters that it exports a little more often than this.
OBSERVED_SECONDS = 6.5
_MISSED = re.compile(r'^cron_job_missed_total\{job="([^"]*)",reason="([^"]*)"\} (\S+)$', re.MULTILINE)
# Keys that are meant to stay: state that is bounded by the number of jobs, workers or queues.
STAYS = (
    "rq:kuber-cron:fence", "rq:kuber-cron:lease", "rq:kuber-cron:cursor", "rq:kuber-cron:timing", "rq:kuber-cron:log:", "rq:kuber-cron:past:",
    "rq:kuber-cron:missed", "rq:kuber-cron:ended", "rq:kuber-cron:counters", "rq:kuber-cron:lost", "rq:kuber-cron:stats:", "rq:kuber-cron:boot",
    "rq:kuber-cron:bounds", "rq:kuber-cron:sizes:", "rq:kuber-cron:acts", "rq:kuber-cron:acted", "rq:kuber-cron:changed", "rq:kuber-cron:jobs", "rq:kuber-cron:schedulers",
    "rq:kuber-cron:history:", "rq:kuber-cron:claims", "rq:queues", "rq:finished:", "rq:failed:", "rq:canceled:", "rq:kuber-cron:groups", "rq:kuber-cron:timing",
)  # fmt: skip


def _is_of_workers(client: redis.Redis, key: str) -> bool:
    """Whether it is RQ's list of workers, and names none whose own key has expired."""
    return key.startswith("rq:workers") and all(client.exists(name) for name in client.smembers(key))  # type: ignore[union-attr] # not asynchronous


class Cluster:
    """Everything of one run; after the block nothing of it is left."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        self.directory = directory
        self.setup = setup
        self.mark = secrets.token_hex(8)
        self.server = RedisServer(
            directory / "redis", fsync=setup.fsync, environ={MARK: f"{self.mark}-redis"}
        )
        self.jobs = JobFile(directory, setup.specs)
        self.recorder = Recorder(
            self.server, [spec.id for spec in setup.specs], setup.times.takeover(setup.election)
        )
        self.members: list[Member] = []
        self._addresses = 0
        self.hung: list[str] = []
        self._early: dict[tuple[str, int], int] = {}
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    # --- life --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._kill_all)
            # A copy, so that what is edited meanwhile is not met by the processes that are started later.
            shutil.copytree(
                Path(kuber_cron.__file__).parent,
                self.directory / "code" / "kuber_cron",
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            self.setup.spoil(self.directory / "code" / "kuber_cron")
            self.proxies = stack.enter_context(Proxies())
            stack.callback(self.server.close)
            self.server.start()
            self.recorder.start()
            stack.callback(self.recorder.stop)
            for number in range(self.setup.schedulers):
                self.add("scheduler", number + 1)
            for number in range(self.setup.workers):
                self.add("worker", number + 1)
            self._keeper.start()
            stack.callback(self._end_keeper)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def fail_over(self, server: RedisServer) -> None:
        """Another server takes the first one's place, for the processes and for what looks at them."""
        self.server.kill()
        self.move_to(server)
        for member in self.members:
            member.redis.cut()

    def move_to(self, server: RedisServer) -> None:
        """The address of Redis is another server's from now on; connections to the one before stay as they are."""
        self._stack.callback(server.close)
        self.server = server
        self.recorder.follow(server)
        for member in self.members:
            member.redis.upstream = server.port

    def another_server(self, name: str) -> RedisServer:
        """One more Redis with nothing in it, not started, which the caller closes or moves to."""
        return RedisServer(
            self.directory / name, fsync=self.setup.fsync, environ={MARK: f"{self.mark}-redis"}
        )

    def address(self) -> str:
        """An address of this machine that no other way has, so that it alone can lose its route."""
        self._addresses += 1
        pid = os.getpid()
        return f"127.{64 + pid % 64}.{pid // 64 % 256}.{self._addresses}"

    def add(self, role: Role, number: int) -> Member:
        """One more member, wanted from now on."""
        member = Member(f"{role}-{number}", role, self)
        self.members.append(member)
        return member

    def _keep(self) -> None:
        while not self._stop.wait(_RESTARTS_SECONDS):
            for member in list(self.members):
                try:
                    member.look(time.monotonic())
                except Exception as error:  # noqa: BLE001 - a keeper that died silently would look like a fault
                    self.hung.append(f"the keeper could not look after {member.name}: {error!r}")

    def _end_keeper(self) -> None:
        self._stop.set()
        if self._keeper.is_alive():
            self._keeper.join(5)

    def _kill_all(self) -> None:
        for pid, _ in self.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for member in self.members:
            if member.process is not None:
                member.process.wait(10)

    # --- what processes are given --------------------------------------------------------------------------

    def command(self, role: Role) -> Sequence[str]:
        """The command line of a member."""
        return self.setup.scheduler if role == "scheduler" else (sys.executable, "-m", "kuber_cron", "worker")

    def variables(self, member: Member) -> dict[str, str]:
        """Its settings."""
        times = self.setup.times
        settings = {
            "REDIS_URL": f"redis://{USER}:{USER}@{member.redis.host}:{member.redis.port}/0",
            "INSECURE": "1",
            "ELECTION": self.setup.election,
            "JOBS": str(self.jobs.directory),
            "METRICS_PORT": str(member.port),
            "METRICS_HOST": "127.0.0.1",
            "LOG_FORMAT": "json",
            "LOG_DIR": str(self.directory / "output"),
            "LEASE_SECONDS": f"{times.lease:g}",
            "RENEW_SECONDS": f"{times.renew:g}",
            "RETRY_SECONDS": f"{times.retry:g}",
            "WORKER_TTL_SECONDS": f"{times.ttl:g}",
            "WORKER_SLOTS": str(self.setup.slots),
            "WORKER_OUTPUT": "off",
            "GRACE_SECONDS": f"{times.grace:g}",
        }
        found = {f"KUBER_CRON_{name}": value for name, value in settings.items()}
        if member.api is not None and self.setup.kubeconfig is not None:
            found["KUBECONFIG"] = str(
                self.setup.kubeconfig(self.directory / f"{member.name}.kubeconfig", member.api.port)
            )
        return (
            found | {MARK: self.mark, "PYTHONPATH": str(self.directory / "code")} | dict(self.setup.variables)
        )

    # --- looking -------------------------------------------------------------------------------------------

    def of(self, role: Role) -> list[Member]:
        """The wanted members of one tier."""
        return [member for member in self.members if member.role == role and member.wanted]

    def leader(self, seconds: float = 12.0) -> Member | None:
        """The scheduler that leads, once there is one; None if there is none for so long."""
        found: list[Member] = []

        def leads() -> bool:
            found[:] = [m for m in self.of("scheduler") if not m.paused and m.health().get("leader")]
            return bool(found)

        try:
            eventually(leads, seconds, every=0.05)
        except AssertionError:
            return None
        return found[0]

    def standbys(self) -> list[Member]:
        """The schedulers that run and do not lead."""
        return [m for m in self.of("scheduler") if not m.paused and m.health().get("leader") is False]

    def is_up(self) -> bool:
        """Whether every wanted member answers that it is ready."""
        return all(member.health("/readyz").get("status") == "ok" for member in self.members if member.wanted)

    def marked(self) -> list[tuple[int, str]]:
        """Processes of this run that live: process id and command line. Without the server."""
        found = []
        mark = f"{MARK}={self.mark}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        words = (
                            (entry / "cmdline")
                            .read_bytes()
                            .replace(b"\0", b" ")
                            .decode(errors="replace")
                            .strip()
                        )
                        if words:  # a zombie has none
                            found.append((int(entry.name), words))
        return found

    def commands(self) -> list[int]:
        """The process ids of jobs that run now."""
        return [pid for pid, words in self.marked() if "job.sh" in words]

    def below(self, member: Member) -> list[int]:
        """The process ids of what a member has started and what that has started, as long as they live."""
        parents = {pid: parent_of(pid) for pid, _ in self.marked()}
        found = {member.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found - {member.pid})

    # --- the end: quiet, drained, judged -----------------------------------------------------------------------

    def settle(self, drain_seconds: float | None = None) -> float:
        """Everything is healed, every instant up to the answer is decided, and no run is unfinished any more.

        Both waits are bounded: what is not done by then is the checker's to name. A backlog that still shrinks is waited for.
        """
        self._wait(self.is_up, 30)
        times, takeover = self.setup.times, self.setup.times.takeover(self.setup.election)
        until = float(int(time.time()))
        self._wait(lambda: self._all_decided(until), 2 * takeover + 10)
        self.jobs.write(suspended=True)
        self.jobs.hurry()
        with self.server.client() as client:
            self._drain(client, 3 * (times.ttl + 2) + 30 if drain_seconds is None else drain_seconds)
            self.recorder.sample(client)
        return until

    def _drain(self, client: redis.Redis, seconds: float) -> None:
        """Until no run is unfinished, or until so long after the number of them last fell."""
        fewest, fell_at = self._unfinished(client), time.monotonic()

        def is_over() -> bool:
            nonlocal fewest, fell_at
            count = self._unfinished(client)
            if count < fewest:
                fewest, fell_at = count, time.monotonic()
            return not count or time.monotonic() - fell_at > seconds

        self._wait(is_over, 10 * seconds)

    def _all_decided(self, until: float) -> bool:
        return all(
            max(self.recorder.decided_through(job.id), job.periods[0].at)
            + max(p.seconds for p in job.periods)
            > until
            for job in self.jobs.known()
        )

    def _unfinished(self, client: redis.Redis) -> int:
        # Instants keep being decided, as suspended; runs decided before the file was read still come.
        return len(self.recorder.sample(client))

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        try:
            return bool(eventually(condition, seconds, every=0.2))
        except AssertionError:
            return False

    def note_descriptors(self) -> None:
        """Remember how many descriptors each process has now."""
        self._early = {(m.name, m.pid): m.descriptors() for m in self.members if m.pid}

    def end(
        self,
        until: float,
        *,
        faults: Sequence[object] = (),
        asked: tuple[Asked, ...] = (),
        loses_state: bool = False,
    ) -> History:
        """Everything is stopped in order; what was taken down."""
        late = {(m.name, m.pid): m.descriptors() for m in self.members if m.pid}
        descriptors = {
            f"{name} ({pid})": (self._early[name, pid], count)
            for (name, pid), count in late.items()
            if (name, pid) in self._early
        }
        exported = self._exported()
        for role in ("scheduler", "worker"):
            self.terminate([member for member in self.members if member.role == role])
        offset = boot_offset()
        processes = [*self.hung, *(words for _, words in self.marked())]
        with self.server.client() as client:
            self.recorder.sample(client)
            missed = {str(name): int(count) for name, count in client.hgetall("rq:kuber-cron:missed").items()}
            through = client.hget("rq:kuber-cron:fence", "through")
            keys = [
                str(key)
                for key in client.keys("*")
                if client.ttl(key) == -1 and not _is_of_workers(client, key)
            ]
        self.recorder.stop()
        recorder = self.recorder
        return History(
            jobs=self.jobs.known(),
            entries=tuple(recorder.entries),
            lines=read_lines(self.jobs.lines, offset),
            pushes=tuple(recorder.pushes),
            finals=tuple(recorder.finals.values()),
            sightings=recorder.sightings(),
            faults=(*faults, *recorder.stalls),  # type: ignore[arg-type] # they are Faults
            asked=asked,
            until=until,
            ttl=self.setup.times.ttl,
            unheard=tuple(Span(began=span.began, ended=span.ended) for span in recorder.unheard),
            missed=missed,
            exported=exported,
            through=None if through is None else int(through),
            keys=tuple(sorted(key for key in keys if not key.startswith(STAYS))),
            processes=tuple(processes),
            descriptors=descriptors,
            loses_state=loses_state,
            noticed=self._noticed(),
        )

    def _exported(self) -> dict[str, int] | None:
        """The missed instants as the leader's page has them, read when it has had the time to look again."""
        threading.Event().wait(OBSERVED_SECONDS)
        leader = self.leader()
        page = leader.get("/metrics", 3.0) if leader is not None else ""
        found = _MISSED.findall(page)
        return {f"{job}|{reason}": int(float(count)) for job, reason, count in found} if found else None

    def terminate(self, members: Sequence[Member], seconds: float = 15.0) -> None:
        """SIGTERM to each, and the end of each; one that does not end in time is killed and named."""
        for member in members:
            member.wanted = False
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGTERM)
        for member in members:
            process = member.process
            if process is None:
                continue
            try:
                process.wait(self.setup.times.grace + seconds)
            except subprocess.TimeoutExpired:
                self.hung.append(f"{member.name} did not end on SIGTERM")
                process.kill()
                process.wait()

    def _noticed(self) -> int:
        return sum(
            m.log.read_text(errors="replace").count("redis has lost ")
            for m in self.of_any()
            if m.log.exists()
        )

    def of_any(self) -> list[Member]:
        """Every scheduler that ever was."""
        return [member for member in self.members if member.role == "scheduler"]

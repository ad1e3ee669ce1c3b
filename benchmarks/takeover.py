"""How long nobody decides, or a run stands still, when a process ends: `python benchmarks/takeover.py [15/10/2 ...]`.

Leaders: three real schedulers on a Redis of their own, once for each election: a Lease (on the API server's double of
the tests) with the default times, one with the fast ones, or those with the times that are named; and the key in Redis.
The leader is sent SIGKILL or SIGTERM and started anew, 20 times each. Told are the seconds until the next leader's claim
is in Redis, and until its first decision. A SIGTERM near a minute's turn waits until it is past: these are sent at
other moments.

Lost workers: a leader, two real workers and one run, whose command sleeps. The worker that has it and its command are
killed in the same moment, as with their machine, and a worker is started anew. Told are the seconds until the leader
has queued the run again, and until the other worker has started the command. What RQ's own workers do then is
computed from their settings, or measured once with `--peer`, which takes a quarter of an hour.

All of these run side by side, for each is idle nearly all the time; but no process is started while a hand-over of
milliseconds is measured. With KUBECONFIG the Leases, `takeover-15-10-2` and the like, are on that API server, in the
kubeconfig's namespace, and stay there.
"""

import argparse
import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import redis
import rq
from measuring import KEYS, machine, shares
from rq.job import Job as RQJob

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.api_server import ApiServer

from kuber_cron.common.config.settings import LeaseTiming, Settings
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.scheduler.election import redis_election

TIMES = LeaseTiming()
PROFILES = (f"{TIMES.lease:g}/{TIMES.renew:g}/{TIMES.retry:g}", "6/4/1")
WHAT = ("kubernetes", "redis", "worker")
TTL_SECONDS: float = Settings.model_fields["worker_ttl_seconds"].default
# Whoever was started anew has looked at the lease, or has sent a heartbeat, by then.
SETTLED_SECONDS = 4.0
LONGEST_SECONDS = 90.0
JOBS = "* * * * * true\n@every 1s true # each second\n"
# One run for all tries: what is due meanwhile is skipped, and each worker that is lost costs it an attempt.
LOST_JOB = (
    "# kuber-cron: name=long concurrency=forbid max_lost=10000\n"
    "@every 1s echo $KUBER_CRON_ATTEMPT >> {proof}; exec sleep 600\n"
)
TABLE = "| {} | what | tries | min | p50 | p90 | max |{}\n| --- | --- | ---: | ---: | ---: | ---: | ---: |{}"

_over = threading.Event()  # everybody is to end
_calm = threading.Lock()  # held while a process starts, and while milliseconds are measured
_failures: list[str] = []


def rest(seconds: float) -> None:
    if _over.wait(seconds):
        raise SystemExit("stopped")


def until(what: str, is_so: Callable[[], object], seconds: float = LONGEST_SECONDS) -> float:
    """Look for it each millisecond at first, and then each ten; when it was so."""
    began = time.monotonic()
    while not is_so():
        waited = time.monotonic() - began
        if waited > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        rest(0.001 if waited < 1 else 0.01)
    return time.monotonic()


def destroy(process: "subprocess.Popen[bytes]") -> float:
    """The process and all that it has started are killed at once; when."""
    killed = time.monotonic()
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)  # it starts nothing more
        started = psutil.Process(process.pid).children(recursive=True)
        killed = time.monotonic()
        process.kill()
        for each in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
    return killed


class Party:
    """A Redis of its own and the processes on it; nothing of them is left at the end."""

    def __init__(self, stack: ExitStack, jobs: str) -> None:
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.url = stack.enter_context(EmbeddedRedis(self.directory / "redis")).url
        self.client = stack.enter_context(redis.Redis.from_url(self.url, protocol=2))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(self._end)
        self.jobs = self.directory / "jobs"
        self.jobs.write_text(jobs.format(proof=self.proof))

    @property
    def proof(self) -> Path:
        return self.directory / "proof"

    def start(self, name: str, *words: str, **environ: str) -> None:
        """It is up."""
        ours = {
            "HOSTNAME": name,
            "KUBER_CRON_REDIS_URL": self.url,
            "KUBER_CRON_INSECURE": "1",
            "KUBER_CRON_METRICS_PORT": "0",
            "KUBER_CRON_METRICS_HOST": "127.0.0.1",
            "KUBER_CRON_LOG_DIR": str(self.directory / "logs"),
            "KUBER_CRON_WORKER_OUTPUT": "off",
        }
        log = self._log(name)
        with _calm, log.open("wb") as file:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "kuber_cron", *words], env=os.environ | ours | environ, stderr=file
            )
            until(f"{name} is up", lambda: b"telemetry is served" in log.read_bytes())

    def last_words(self) -> str:
        return "\n".join(
            f"{name}: {line}"
            for name in self.processes
            for line in self._log(name).read_text().splitlines()[-8:]
        )

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _end(self) -> None:
        for process in self.processes.values():
            destroy(process)


class Replicas:
    """Three schedulers, one of which leads."""

    def __init__(self, party: Party, environ: dict[str, str]) -> None:
        self._party = party
        self._environ = environ
        self._rng = random.Random(1)
        for name in "abc":
            self._start(name)
        until("a first decision", lambda: self._newest() > 0)

    def lose(self, how: signal.Signals) -> tuple[float, float]:
        """The leader is sent the signal: seconds until the next one's claim, and until its first decision."""
        rest(SETTLED_SECONDS + self._rng.uniform(0, 2))
        is_quick = how == signal.SIGTERM
        if is_quick:
            until("a moment within a minute", lambda: 3 < time.time() % 60 < 50)
        with _calm if is_quick else contextlib.nullcontext():
            epoch, leader = self._fence()
            process = self._party.processes[leader]
            began = time.monotonic()
            process.send_signal(how)
            claimed = until(f"a claim after {leader}", lambda: self._fence()[0] > epoch) - began
            decided = until(f"a decision after {leader}", lambda: self._newest() > epoch) - began
        process.wait()
        self._start(leader)
        return claimed, decided

    def _start(self, name: str) -> None:
        self._party.start(name, "scheduler", str(self._party.jobs), **self._environ)

    def _fence(self) -> tuple[int, str]:
        epoch, holder = self._party.client.hmget(KEYS.fence, "epoch", "holder")
        return int(epoch or 0), (holder or b"").decode().split("_")[0]

    def _newest(self) -> int:
        """The epoch of the newest decision."""
        client = self._party.client
        names = [name.decode() for name in client.hkeys(KEYS.cursors)]
        entries = [entry for name in names for entry in client.xrevrange(KEYS.log(name), count=1)]
        return max((int(entry[b"epoch"]) for _, entry in entries), default=0)


class Workers:
    """A scheduler, two workers, and a run that one of them has."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._rng = random.Random(1)
        party.start("scheduler", "scheduler", str(party.jobs), KUBER_CRON_ELECTION="redis")
        for name in ("one", "two"):
            party.start(name, "worker")
        until("the command has begun", self.attempts)
        (run,) = party.client.hkeys(KEYS.open_runs)
        self._key = KEYS.run(run.decode())
        rest(TTL_SECONDS + 2)  # a new leader takes nobody for lost before that

    def attempts(self) -> list[str]:
        """Those that have begun, as the command itself has written them."""
        return self._party.proof.read_text().split() if self._party.proof.exists() else []

    def lose(self) -> tuple[float, float]:
        """The worker is lost: seconds until its run is queued again, and until the command runs again."""
        rest(SETTLED_SECONDS + self._rng.uniform(0, TTL_SECONDS / 3))
        begun, lost, name = len(self.attempts()), self._lost(), self._busy()
        killed = destroy(self._party.processes[name])
        queued = until(f"{name}'s run is queued again", lambda: self._lost() > lost) - killed
        again = until(f"{name}'s run is started again", lambda: len(self.attempts()) > begun) - killed
        self._party.start(name, "worker")
        return queued, again

    def _lost(self) -> int:
        return int(self._party.client.hget(self._key, "lost") or 0)

    def _busy(self) -> str:
        worker = self._party.client.hget(self._key, "worker_name") or b""
        pid = int(self._party.client.hget(f"rq:worker:{worker.decode()}", "pid") or 0)
        return next(name for name, process in self._party.processes.items() if process.pid == pid)


def takeovers(profile: str, times: int) -> list[str]:
    """The rows of one election: a Lease with these times, or the key in Redis where there are none."""
    with ExitStack() as stack:
        environ = lease(stack, profile) if profile else {"KUBER_CRON_ELECTION": "redis"}
        name = f"Lease {profile}" if profile else f"Redis, ttl {redis_election.TTL_SECONDS:g} s"
        party = Party(stack, JOBS)
        replicas = Replicas(party, environ)
        rows = []
        for how in (signal.SIGKILL, signal.SIGTERM):
            found = tries(f"{name}, {how.name}", party, times, partial(replicas.lose, how))
            claims, decisions = zip(*found, strict=True) if found else ((), ())
            last = f"{max(decisions):.2f}" if decisions else ""
            rows.append(f"| {name} | {how.name} | {figures(claims)} | {last} |")
        return rows


def lease(stack: ExitStack, profile: str) -> dict[str, str]:
    """What a scheduler has to know of a Lease with these times."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = str(stack.enter_context(ApiServer()).kubeconfig(directory / "kubeconfig"))
    names = ("LEASE_SECONDS", "RENEW_SECONDS", "RETRY_SECONDS")
    times = zip(names, profile.split("/"), strict=True)
    return {f"KUBER_CRON_{name}": seconds for name, seconds in times} | {
        "KUBECONFIG": path,
        "KUBER_CRON_ELECTION": "kubernetes",
        "KUBER_CRON_LEASE_NAME": "takeover-" + profile.replace("/", "-").replace(".", "-"),
    }


def lost_workers(times: int) -> list[str]:
    with ExitStack() as stack:
        party = Party(stack, LOST_JOB)
        workers = Workers(party)
        found = tries("lost workers", party, times, workers.lose)
        begun = workers.attempts()
        if begun != [str(number + 1) for number in range(len(begun))]:
            _failures.append(f"lost workers: the attempts that were begun are {' '.join(begun)}")
        queued, again = zip(*found, strict=True) if found else ((), ())
        name = f"ttl {TTL_SECONDS:g} s"
        return [
            f"| {name} | SIGKILL → queued again | {figures(queued)} |",
            f"| {name} | SIGKILL → started by another | {figures(again)} |",
        ]


def tries(
    what: str, party: Party, times: int, one: Callable[[], tuple[float, float]]
) -> list[tuple[float, float]]:
    """So many, or those before the first that failed."""
    found = []
    try:
        for _ in range(times):
            found.append(one())  # noqa: PERF401 - those before a failure are kept
    except TimeoutError as error:
        _failures.append(f"{what}, try {len(found) + 1}: {error}\n{party.last_words()}")
    return found


def figures(seconds: tuple[float, ...]) -> str:
    if not seconds:
        return "0 | | | |"
    values = (min(seconds), *shares(list(seconds), 0.5, 0.9), max(seconds))
    return " | ".join(
        [str(len(seconds)), *(f"{each:.2f}" if each >= 1 else f"{each:.3f}" for each in values)]
    )


def computed() -> str:
    """What RQ's settings make of a lost worker, in the words of its own code."""
    with redis.Redis() as client:  # never asked
        worker = rq.Worker(["peer"], connection=client, prepare_for_work=False)
        job = RQJob.create(subprocess.call, connection=client, timeout=3600)
        ttl, beat = worker.get_heartbeat_ttl(job), worker.job_monitoring_interval
        block = worker.dequeue_timeout
    # It looks only between two waits for a run, and where the last look is longer ago than that.
    look = math.ceil(worker.maintenance_interval / block) * block
    return (
        f"rq {rq.VERSION}, computed from its settings and not measured: an execution expires {ttl - beat} to {ttl} s "
        f"after its worker's death, and an idle worker looks each {look} s (a busy one after "
        f"{worker.maintenance_interval} s), so {ttl - beat} to {ttl + look} s, {ttl - beat / 2 + look / 2:.0f} s on "
        "average with one other worker, which is idle; then the job runs again if it has `retry` left, else it has failed"
    )


def measured() -> str:
    """Two of RQ's workers with its own settings, of which one is lost: once."""
    with ExitStack() as stack:
        party = Party(stack, "")
        command = f"echo $$ >> {party.proof}; exec sleep 3600"
        for name in ("one", "two"):
            party.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "rq.cli", "worker", "peer", "--url", party.url, "--quiet"]
            )
        until("two workers of rq's", lambda: party.client.scard("rq:workers") == 2)
        queue = rq.Queue("peer", connection=party.client)
        job = queue.enqueue(
            subprocess.call, ["/bin/sh", "-c", command], job_timeout=7200, retry=rq.Retry(max=3)
        )
        until("the command runs", party.proof.exists)
        rest(SETTLED_SECONDS)
        pid = int(party.client.hget(f"rq:worker:{job.fetch(job.id, party.client).worker_name}", "pid"))
        killed = destroy(next(each for each in party.processes.values() if each.pid == pid))
        again = until("rq has run it again", lambda: len(party.proof.read_text().split()) == 2, 1200) - killed
        return f"rq {rq.VERSION}, measured once: SIGKILL → started by another after {again:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profiles", nargs="*", default=PROFILES, help="LEASE/RENEW/RETRY in seconds")
    parser.add_argument("--times", type=int, default=20, help="tries of each")
    parser.add_argument("--only", nargs="+", choices=WHAT, default=WHAT, help="these alone")
    parser.add_argument("--at-once", type=int, default=4, help="so many side by side")
    parser.add_argument("--peer", action="store_true", help="measure RQ's workers too, once")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        print(machine(redis.Redis.from_url(server.url, protocol=2)), flush=True)
    with ThreadPoolExecutor(given.at_once + given.peer) as pool:
        try:
            # The longest ones first.
            peer = pool.submit(measured) if given.peer else None
            profiles = given.profiles if "kubernetes" in given.only else []
            sets = [pool.submit(takeovers, profile, given.times) for profile in profiles]
            lost = pool.submit(lost_workers, given.times) if "worker" in given.only else None
            if "redis" in given.only:
                sets.append(pool.submit(takeovers, "", given.times))
            if sets:
                print("\nSeconds until the next leader's claim:\n")
                print(TABLE.format("election, times", " to its first decision, max |", " ---: |"))
            for rows in sets:
                print("\n".join(rows.result()), flush=True)
            if lost:
                print("\nSeconds until a lost worker's run goes on:\n")
                print(TABLE.format("worker", "", ""))
                print("\n".join(lost.result()), flush=True)
            if lost or peer:
                print(f"\n{peer.result() if peer else computed()}")
        except BaseException:
            _over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if _failures:
        raise SystemExit("\n".join(["", *_failures]))


if __name__ == "__main__":
    main()

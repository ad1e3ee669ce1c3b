"""What one worker process gets through, and how soon it starts a command: `python benchmarks/working.py`.

All on one Redis that appends to a file each second: a real `kuber-cron worker` with 64 slots, another with a single
slot, RQ's Worker, its SimpleWorker, a pool of its workers (one for each core), and a bare loop without any Redis that
starts a command and waits for it. All run `/bin/sh -c true` with pipes for stdout and stderr; RQ's workers and the loop
by the same call, `subprocess.run(…, capture_output=True)`. Workers run throughout and have run fifty commands before.

A rate: runs are made beforehand and queued in one pipeline; from just before it is sent until no run is queued, claimed
or started any more, each with all its book-keeping and its result kept. Rounds in turns, so that whatever else the
machine does meets them all; the ratio is the median of the rounds' ratios. CPU is that of all processes but Redis.

A start: one run at a time to a worker that has nothing to do, in turns too, twice. To the command's own first word: it
writes a byte into a pipe that this program waits on, the same for all, and from one clock. And to what is recorded as
`started_at`, which is not the same thing: with us the clock before the start script, so that the claim and no fork lie
before it; with RQ the clock in the work-horse before it calls the function, so that the fork and the book-keeping do.
"""

import contextlib
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import redis
from measuring import KEYS, await_that, machine, rest, shares
from redis.client import Pipeline
from rq import Queue

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder

ROUNDS = 5
WARM_UP = 50
SLOTS = 64
CORES = os.cpu_count() or 1
JOBS = 50  # that the runs belong to; a hundred of each are kept
STARTS = 100  # of RQ's workers, and three times as many of ours
_number = iter(range(10**9))

Push = Callable[[redis.Redis, str, str, int], tuple[Pipeline, list[str]]]


def of_ours(client: redis.Redis, queue: str, command: str, count: int) -> tuple[Pipeline, list[str]]:
    """A pipeline that queues so many runs, as the deciding script would, and their names."""
    builder, start, names = RunHashBuilder(client, None), datetime(2026, 1, 1, tzinfo=UTC), []
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        job = Job(id=f"bench-{number % JOBS}", schedule="@every 1s", command=command, queue=queue)
        record = builder.build(job, start + timedelta(seconds=next(_number)), datetime.now(UTC))
        pipe.hset(KEYS.run(record.run), items=list(record.fields))
        pipe.rpush(KEYS.queue(queue), record.run)
        names.append(record.run)
    pipe.sadd("rq:queues", KEYS.queue(queue))
    return pipe, names


def of_rq(client: redis.Redis, queue: str, command: str, count: int) -> tuple[Pipeline, list[str]]:
    """As above, by RQ's own means."""
    pipe = client.pipeline(transaction=False)
    call = {"check": True, "capture_output": True}
    calls = [Queue.prepare_data(subprocess.run, (shell(command),), call) for _ in range(count)]
    return pipe, [job.id for job in Queue(queue, connection=client).enqueue_many(calls, pipeline=pipe)]


def shell(command: str) -> list[str]:
    return ["/bin/sh", "-c", command]


@dataclass
class Contender:
    """One of those that are compared: whose queue it serves, by which command line, how many runs a round."""

    name: str
    queue: str
    words: list[str]
    push: Push
    runs: int
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    pid: int = 0

    def cpu_seconds(self) -> float:
        """Of the worker, of what it has started, and of what that has."""
        process = psutil.Process(self.pid)
        used = sum(process.cpu_times()[:4])
        for each in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                used += sum(each.cpu_times()[:4])
        return used

    def run(self, client: redis.Redis, command: str, count: int) -> tuple[float, float]:
        """Seconds and seconds of CPU until so many runs have ended, all of them well."""
        pipe, names = self.push(client, self.queue, command, count)
        cpu, began = self.cpu_seconds(), time.perf_counter()
        pipe.execute()
        until_idle(client, self.queue, 0.005)
        took = time.perf_counter() - began
        spent = self.cpu_seconds() - cpu
        with client.pipeline(transaction=False) as look:
            for name in names:
                look.hget(KEYS.run(name), "status")
            if set(look.execute()) != {b"finished"}:
                raise SystemExit(f"{self.name}: not all runs have succeeded")
        return took, spent


OURS = Contender(f"kuber-cron worker, {SLOTS} slots", "default", ["--slots", str(SLOTS)], of_ours, 2_000)
ONE = Contender("kuber-cron worker, 1 slot", "one", ["--slots", "1", "--queues", "one"], of_ours, 500)
WORKER = Contender("rq Worker", "rq", ["worker", "rq"], of_rq, 200)
SIMPLE = Contender(
    "rq SimpleWorker", "simple", ["worker", "simple", "--worker-class", "rq.worker.SimpleWorker"], of_rq, 400
)
POOL = Contender(
    f"rq worker-pool, {CORES} workers", "pool", ["worker-pool", "pool", "-n", str(CORES)], of_rq, 300
)
ALL = [OURS, ONE, WORKER, SIMPLE, POOL]
BARE_RUNS = 500


@contextlib.contextmanager
def at_work(contender: Contender, url: str, directory: Path) -> Iterator[None]:
    """Its process, ended at the end."""
    settings = {
        "REDIS_URL": url,
        "INSECURE": "1",
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "LOG_LEVEL": "error",
        "LOG_DIR": str(directory / "logs"),
        "WORKER_OUTPUT": "off",
    }
    if contender.push is of_ours:
        words = ["kuber_cron", "worker", *contender.words]
    else:
        words = ["rq.cli", *contender.words, "--url", url, "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in settings.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    contender.pid = process.pid
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def until_idle(client: redis.Redis, queue: str, pause: float, seconds: float = 120) -> None:
    """Nothing waits there, is claimed or runs any more: ours and RQ's runs alike."""
    claims = [KEYS.claims(text(name)) for name in client.smembers(KEYS.claimers)]

    def is_idle() -> bool:
        with client.pipeline(transaction=False) as look:
            for key in [KEYS.queue(queue), f"{KEYS.queue(queue)}:intermediate", f"rq:wip:{queue}", *claims]:
                look.exists(key)
            return not any(look.execute())

    await_that(f"nothing to do in {queue}", is_idle, seconds, pause)


# -- how many a second -------------------------------------------------------------------------------------


def bare() -> tuple[float, float]:
    before, began = sum(os.times()[:4]), time.perf_counter()
    for _ in range(BARE_RUNS):
        subprocess.run(shell("true"), check=True, capture_output=True)
    return time.perf_counter() - began, sum(os.times()[:4]) - before


def rates(client: redis.Redis) -> None:
    loop = Contender("bare subprocess loop", "", [], of_rq, BARE_RUNS)
    for contender in ALL:
        contender.run(client, "true", WARM_UP)
    own = 0.0
    for _ in range(ROUNDS):
        for contender in [*ALL, loop]:
            before = psutil.Process(OURS.pid).cpu_times()
            took, cpu = bare() if contender is loop else contender.run(client, "true", contender.runs)
            contender.rates.append(contender.runs / took)
            contender.cpu.append(1000 * cpu / contender.runs)
            if contender is OURS:
                after = psutil.Process(OURS.pid).cpu_times()
                own += after.user + after.system - before.user - before.system
    print(f"| runs of `true`, {ROUNDS} rounds | a second, best | median | ours to it | CPU each |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for each in [*ALL, loop]:
        ratio = statistics.median(mine / its for mine, its in zip(OURS.rates, each.rates, strict=True))
        told = "" if each is OURS else f"{ratio:.0%}" if each is loop else f"{ratio:.1f}x"
        print(f"| {each.name} | {max(each.rates):.0f} | {statistics.median(each.rates):.0f} | {told} "
              f"| {statistics.median(each.cpu):.2f} ms |")  # fmt: skip
    print(f"\nOf ours, {1000 * own / ROUNDS / OURS.runs:.2f} ms of CPU each are the worker's own. "
          "The goals: 400 a second, 9x rq Worker, 40% of the bare loop.", flush=True)  # fmt: skip


# -- how soon ----------------------------------------------------------------------------------------------


def start(client: redis.Redis, contender: Contender, pipe_path: Path, pipe: int) -> tuple[float, float]:
    """Milliseconds from just before a run is sent: to the command's first word, and to its `started_at`."""
    made, names = contender.push(client, contender.queue, f"echo > {shlex.quote(str(pipe_path))}", 1)
    wall, began = time.time(), time.perf_counter()
    made.execute()
    os.read(pipe, 1)
    spoke = time.perf_counter() - began
    until_idle(client, contender.queue, 0.002)
    recorded = datetime.fromisoformat(text(client.hget(KEYS.run(names[0]), "started_at") or b""))
    rest(0.03)  # RQ's worker has to see its work-horse's end, before it waits on its queue again
    return 1000 * spoke, 1000 * (recorded.timestamp() - wall)


def starts(client: redis.Redis, directory: Path) -> None:
    path = directory / "first-words"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)
    found: dict[str, list[tuple[float, float]]] = {each.name: [] for each in (OURS, WORKER, SIMPLE)}
    for _ in range(STARTS):
        for each in (OURS, OURS, OURS, WORKER, SIMPLE):
            found[each.name].append(start(client, each, path, pipe))
    os.close(pipe)
    print(
        "\n| queued → started, idle worker | starts | p50 | p99 | ours to it, p50 | p99 | recorded, p50 | p99 |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    mine = shares([spoke for spoke, _ in found[OURS.name]], 0.5, 0.99)
    for name, pairs in found.items():
        spoken = shares([spoke for spoke, _ in pairs], 0.5, 0.99)
        recorded = shares([told for _, told in pairs], 0.5, 0.99)
        ratios = [
            "" if name == OURS.name else f"{its / ours:.1f}x" for its, ours in zip(spoken, mine, strict=True)
        ]
        cells = [f"{value:.1f} ms" for value in spoken] + ratios + [f"{value:.1f} ms" for value in recorded]
        print(f"| {name} | {len(pairs)} | {' | '.join(cells)} |")
    print("\nThe goals: p50 of 5 ms, p99 of 20 ms.", flush=True)


def together(client: redis.Redis) -> None:
    took, _ = OURS.run(client, "sleep 1", SLOTS)
    print(f"\n{SLOTS} times `sleep 1` in {SLOTS} slots: {took:.2f} s.")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedRedis(Path(folder) / "redis"))
        client = stack.enter_context(redis.Redis.from_url(server.url, protocol=2))
        print(machine(client) + "\n", flush=True)
        for contender in ALL:
            stack.enter_context(at_work(contender, server.url, Path(folder)))
        await_that("all workers", lambda: client.scard("rq:workers") == len(ALL) - 1 + CORES, 60)
        rates(client)
        starts(client, Path(folder))
        together(client)


if __name__ == "__main__":
    main()

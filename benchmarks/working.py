"""What one worker process gets through: `python benchmarks/working.py`.

A real `kuber-cron worker` on a Redis of its own, appending to a file each second: 2,000 runs of `true` queued
beforehand, each with its full book-keeping (claim, start, heartbeats, log file, result, end). Beside it in the same run:
RQ's own Worker and SimpleWorker running the same command from a Python function, and a bare loop that starts the
command and waits for it. Rates are by the clock of this program, from the first command's end to the last one's.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import redis
from rq import Queue

from kuber_cron.common.embedded import EmbeddedRedis
from kuber_cron.common.jobs import Job
from kuber_cron.common.store import Keys
from kuber_cron.scheduler.payloads import Builder

RUNS = 2_000
PEER_RUNS = 200
SLOTS = 64
KEYS = Keys("rq")
SHELL = ["/bin/sh", "-c", "true"]
_number = iter(range(10**9))


def push(client: redis.Redis, command: str, count: int) -> list[str]:
    """Queue so many runs, as the deciding script would."""
    builder, start, names = Builder(client, None), datetime(2026, 1, 1, tzinfo=UTC), []
    job = Job(id="bench", schedule="@every 1s", command=command)
    with client.pipeline(transaction=False) as pipe:
        for _ in range(count):
            record = builder.record(job, start + timedelta(seconds=next(_number)), datetime.now(UTC))
            pipe.hset(KEYS.run(record.run), items=list(record.fields))
            pipe.rpush(KEYS.queue("default"), record.run)
            names.append(record.run)
        pipe.sadd("rq:queues", KEYS.queue("default"))
        pipe.execute()
    return names


@contextlib.contextmanager
def worker(url: str, directory: Path) -> Iterator[psutil.Process]:
    settings = {
        "REDIS_URL": url,
        "INSECURE": "1",
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "LOG_LEVEL": "warning",
        "LOG_DIR": str(directory / "logs"),
        "WORKER_OUTPUT": "off",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "kuber_cron", "worker", "--slots", str(SLOTS)],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in settings.items()},
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def until_idle(client: redis.Redis, seconds: float = 120) -> None:
    """Nothing waits and nothing runs any more."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    places = (KEYS.queue("default"), "rq:wip:default", *client.keys(KEYS.own("claims:*")))
    while any(client.exists(place) for place in places) or client.keys(KEYS.own("claims:*")):
        if time.monotonic() > deadline:
            raise SystemExit(f"{client.llen(places[0])} runs still wait after {seconds:g} s")
        pause.wait(0.003)


def ours(url: str, directory: Path) -> None:
    with redis.Redis.from_url(url, protocol=2) as client:
        client.flushall()
        with worker(url, directory) as process:
            push(client, "true", 100)
            until_idle(client)
            cpu = process.cpu_times()
            push(client, "true", RUNS)
            began = time.monotonic()
            until_idle(client)
            rate = RUNS / (time.monotonic() - began)
            used = process.cpu_times()
            own = (used.user + used.system - cpu.user - cpu.system) / RUNS * 1000
            print(
                f"| kuber-cron worker, {SLOTS} slots, {own:.2f} ms of its own CPU each | {rate:.0f} |",
                flush=True,
            )
            RATES["ours"] = rate
            push(client, "sleep 1", SLOTS)
            began = time.monotonic()
            pause = threading.Event()
            pause.wait(0.7)
            memory = process.memory_info().rss / 1e6
            until_idle(client)
            FACTS.append(f"| {SLOTS} times `sleep 1` in {SLOTS} slots | {time.monotonic() - began:.2f} s |")
            FACTS.append(f"| resident memory with {SLOTS} running | {memory:.0f} MB |")
            FACTS.append(f"| queued → started, idle worker, p50 and p99 of 300 | {latency(client, 300)} |")


def latency(client: redis.Redis, count: int) -> str:
    """From the push of a run to the moment at which its start script has run, in milliseconds."""
    found, pause = [], threading.Event()
    for _ in range(count):
        pushed = time.time()
        (run,) = push(client, "true", 1)
        until_idle(client)
        started = datetime.fromisoformat((client.hget(KEYS.run(run), "started_at") or b"").decode())
        found.append((started.timestamp() - pushed) * 1000)
        pause.wait(0.005)
    found.sort()
    return f"{statistics.median(found):.1f} ms, {found[int(count * 0.99)]:.1f} ms"


def rq_worker(url: str, kind: str) -> float:
    with redis.Redis.from_url(url, protocol=2) as client:
        client.flushall()
        queue = Queue("peer", connection=client)
        for _ in range(PEER_RUNS):
            queue.enqueue(subprocess.call, SHELL)
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "rq.cli", "worker", "peer", "--url", url, "--burst", "--quiet",
             "--worker-class", f"rq.worker.{kind}"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return PEER_RUNS / (time.monotonic() - began - START_SECONDS)


def bare() -> float:
    began = time.monotonic()
    for _ in range(RUNS // 4):
        subprocess.run(SHELL, check=True, capture_output=True)
    return RUNS / 4 / (time.monotonic() - began)


def start_seconds() -> float:
    """What RQ's command takes to be imported, which is not held against it."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import rq.cli"], check=True)
    return time.monotonic() - began


RATES: dict[str, float] = {}
FACTS: list[str] = []
START_SECONDS = start_seconds()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        print("| runs of `true` | a second |")
        print("| --- | ---: |")
        ours(server.url, Path(folder))
        for kind in ("Worker", "SimpleWorker"):
            RATES[kind] = rq_worker(server.url, kind)
            print(f"| rq {kind} | {RATES[kind]:.0f} ({RATES['ours'] / RATES[kind]:.1f}x) |", flush=True)
        RATES["bare"] = bare()
        print(f"| bare subprocess loop | {RATES['bare']:.0f} ({RATES['ours'] / RATES['bare']:.0%}) |")
    print("\n| what | figure |")
    print("| --- | ---: |")
    print("\n".join(FACTS))


if __name__ == "__main__":
    main()

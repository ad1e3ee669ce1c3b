"""What many occurrences at one instant cost: `python benchmarks/deciding.py [JOBS ...]` (default 10000).

A real `kuber-cron scheduler` process on a Redis of its own, appending to a file each second: JOBS jobs, all due at
one instant, every 20 s. The figure is when the last of them was in its queue, by Redis' own clock: the newest id of
the decision logs, less the instant. Beside it, in the same run and on the same server, RQ's CronScheduler with as
many jobs that are due, and the floor: the same hashes and list entries, packed beforehand, through a plain pipeline.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from rq.cron import CronScheduler

from kuber_cron.common.embedded import EmbeddedRedis
from kuber_cron.common.store import Keys
from kuber_cron.worker import entry

EVERY = 20
ROUNDS = 2
SLOW_MICROSECONDS = 1_000
KEYS = Keys("rq")


@contextlib.contextmanager
def scheduler(directory: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    settings = {
        "REDIS_URL": url,
        "INSECURE": "1",
        "ELECTION": "redis",
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "kuber_cron", "scheduler", str(directory / "crontab")],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in settings.items()},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def await_queue(client: redis.Redis, length: int, seconds: float) -> None:
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while client.llen(KEYS.queue("default")) < length:
        if time.monotonic() > deadline:
            raise SystemExit(
                f"only {client.llen(KEYS.queue('default'))} of {length} queued after {seconds:g} s"
            )
        pause.wait(0.1)


def last_queued_after(client: redis.Redis, jobs: int, instant: int) -> float:
    """Seconds from the instant to the newest decision about it, by the stream ids that Redis gave them."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(jobs):
            pipe.xrevrange(KEYS.own(f"log:job-{number}"), count=1)
        newest = [entries[0] for entries in pipe.execute()]
    if any(int(fields[b"first"]) != instant for _, fields in newest):
        raise SystemExit("not all were decided for this instant")
    return max(int(entry_id.split(b"-")[0]) for entry_id, _ in newest) / 1000 - instant


def longest_hold(client: redis.Redis) -> float:
    """The longest that one command of ours held Redis, in milliseconds, since the last look."""
    entries = [entry for entry in client.slowlog_get(1000) if entry["command"].startswith(b"EVALSHA")]
    client.slowlog_reset()
    return max((entry["duration"] for entry in entries), default=0) / 1000


def ours(server: EmbeddedRedis, directory: Path, jobs: int) -> tuple[list[float], float, float]:
    """Seconds for each round, the longest hold in ms, and the scheduler's CPU seconds a round."""
    (directory / "crontab").write_text(
        "".join(f"# kuber-cron: name=job-{number}\n@every {EVERY}s true\n" for number in range(jobs))
    )
    found, hold, cpu = [], 0.0, 0.0
    with redis.Redis.from_url(server.url, protocol=2) as client, scheduler(directory, server.url) as process:
        client.flushall()
        client.config_set("slowlog-log-slower-than", SLOW_MICROSECONDS)
        client.config_set("slowlog-max-len", 1000)
        await_queue(client, jobs, 120 + jobs / 200)
        for _ in range(ROUNDS):
            client.delete(KEYS.queue("default"))
            client.slowlog_reset()
            before = cpu_seconds(process.pid)
            await_queue(client, jobs, EVERY + 60)
            cpu += (cpu_seconds(process.pid) - before) / ROUNDS
            instant = int(client.time()[0]) // EVERY * EVERY
            found.append(last_queued_after(client, jobs, instant))
            hold = max(hold, longest_hold(client))
    return found, hold, cpu


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rq_own(client: redis.Redis, jobs: int) -> float:
    logging.getLogger("rq.cron").setLevel(logging.ERROR)
    peer = CronScheduler(connection=client, logging_level=logging.ERROR)
    for number in range(jobs):
        peer.register(entry.run, "peer", args=("", ""), interval=EVERY, name=f"peer-{number}")
    client.flushall()
    began = time.monotonic()
    peer.enqueue_jobs()
    took = time.monotonic() - began
    if client.llen("rq:queue:peer") != jobs:
        raise SystemExit("RQ's scheduler has not queued them all")
    return took


def floor(client: redis.Redis, jobs: int) -> float:
    """The same bytes as one of our runs has, packed beforehand, sent and answered."""
    run = client.lindex(KEYS.queue("default"), 0)
    fields = client.hgetall(KEYS.run(run.decode()))
    flat = [part for item in fields.items() for part in item]
    connection = client.connection_pool.get_connection()
    packed = []
    for number in range(jobs):
        name = f"job-{number}-floor"
        packed += connection.pack_commands(
            [("HSET", KEYS.run(name), *flat), ("SADD", "rq:queues", "x"), ("RPUSH", "rq:queue:floor", name)]
        )
    began = time.monotonic()
    sender = threading.Thread(target=connection.send_packed_command, args=(packed,))
    sender.start()
    for _ in range(3 * jobs):
        connection.read_response()
    took = time.monotonic() - began
    sender.join()
    client.connection_pool.release(connection)
    return took


def main() -> None:
    print("| jobs | last queued after the instant | decisions/s | RQ CronScheduler | pre-packed floor | "
          "longest hold of Redis | scheduler CPU |")  # fmt: skip
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for jobs in [int(word) for word in sys.argv[1:]] or [10_000]:
        with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
            rounds, hold, cpu = ours(server, Path(folder), jobs)
            best = min(rounds)
            with redis.Redis.from_url(server.url, protocol=2) as client:
                least = floor(client, jobs)
                peer = rq_own(client, jobs)
        print(
            f"| {jobs:,} | {' / '.join(f'{each:.2f} s' for each in rounds)} | {jobs / best:,.0f} | "
            f"{peer:.2f} s ({peer / best:.1f}x) | {least:.2f} s ({least / best:.0%}) | {hold:.1f} ms | {cpu:.2f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()

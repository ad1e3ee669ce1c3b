"""What many occurrences at one instant cost: `python benchmarks/deciding.py [JOBS ...]` (default 10000).

A real `kuber-cron scheduler` process on a Redis of its own, appending to a file each second: JOBS jobs, all due at
one instant, every 10 s (with more than 10,000 jobs every 60 s). The figure is when the last of them was in its queue, by
Redis' own clock: the newest id of the decision logs, less the instant. Beside it, in the same run and on the same
server, RQ's CronScheduler with as many jobs that are due, and the floor: the same hashes and list entries, packed
beforehand, through a plain pipeline. Ratios are of the best round to the best of theirs, for other work on the machine only ever adds.
"""

import logging
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from measuring import (
    KEYS,
    await_that,
    cpu_seconds,
    milliseconds_of,
    resident_mb,
    rest,
    scheduler,
    write_jobs,
)
from rq.cron import CronScheduler

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.worker import entry

SLOW_MICROSECONDS = 1_000


def await_queue(client: redis.Redis, length: int, seconds: float) -> None:
    queue = KEYS.queue("default")
    await_that(f"{length} runs in the queue", lambda: client.llen(queue) >= length, seconds)


def last_queued_after(client: redis.Redis, jobs: int, instant: int) -> float:
    """Seconds from the instant to the newest decision about it, by the stream ids that Redis gave them."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(jobs):
            pipe.xrevrange(KEYS.log(f"job-{number}"), count=1)
        newest = [entries[0] for entries in pipe.execute()]
    if any(int(fields[b"first"]) != instant for _, fields in newest):
        raise SystemExit("not all were decided for this instant")
    return max(milliseconds_of(entry_id) for entry_id, _ in newest) / 1000 - instant


def longest_hold(client: redis.Redis) -> float:
    """The longest that one command of ours held Redis, in milliseconds, since the last look."""
    entries = [entry for entry in client.slowlog_get(1000) if entry["command"].startswith(b"EVALSHA")]
    client.slowlog_reset()
    return max((entry["duration"] for entry in entries), default=0) / 1000


@dataclass
class Ours:
    """Of each round: when the last was queued, the longest hold of Redis in ms; CPU seconds a round, resident MB."""

    rounds: list[float]
    hold: float
    cpu: float
    memory: list[float]


def ours(server: EmbeddedRedis, directory: Path, jobs: int, every: int, rounds: int) -> Ours:
    lines = [f"# kuber-cron: name=job-{number}\n@every {every}s true\n" for number in range(jobs)]
    write_jobs(directory / "jobs", lines)
    found = Ours([], 0.0, 0.0, [])
    with (
        redis.Redis.from_url(server.url, protocol=2) as client,
        scheduler(directory / "jobs", server.url) as process,
    ):
        client.config_set("slowlog-log-slower-than", SLOW_MICROSECONDS)
        client.config_set("slowlog-max-len", 1000)
        await_queue(client, jobs, 2 * every + 120 + jobs / 200)
        # Until here the jobs may have been seen for the first time on both sides of an instant.
        client.delete(KEYS.queue("default"))
        await_queue(client, jobs, 2 * every + 60)
        length = 0
        while (now := client.llen(KEYS.queue("default"))) != length:
            length = now
            rest(2)
        for _ in range(rounds):
            client.delete(KEYS.queue("default"))
            client.slowlog_reset()
            before = cpu_seconds(process.pid)
            await_queue(client, jobs, 2 * every + 60)
            found.cpu += (cpu_seconds(process.pid) - before) / rounds
            instant = int(client.time()[0]) // every * every
            found.rounds.append(last_queued_after(client, jobs, instant))
            found.hold = max(found.hold, longest_hold(client))
            found.memory.append(resident_mb(process.pid))
    return found


def rq_own(client: redis.Redis, jobs: int, every: int) -> float:
    logging.getLogger("rq.cron").setLevel(logging.ERROR)
    peer = CronScheduler(connection=client, logging_level=logging.ERROR)
    for number in range(jobs):
        peer.register(entry.run, "peer", args=("", ""), interval=every, name=f"peer-{number}")
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
    print("| jobs | last queued after the instant | RQ CronScheduler | pre-packed floor | longest hold of Redis | "
          "decisions/s | scheduler CPU a round | memory after each round |")  # fmt: skip
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for jobs in [int(word) for word in sys.argv[1:]] or [10_000]:
        every, rounds = (10, 6) if jobs <= 10_000 else (60, 3)
        with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
            own = ours(server, Path(folder), jobs, every, rounds)
            best = min(own.rounds)
            with redis.Redis.from_url(server.url, protocol=2) as client:
                least = min(floor(client, jobs) for _ in range(rounds))
                peer = min(rq_own(client, jobs, every) for _ in range(2))
        print(
            f"| {jobs:,} | {' / '.join(f'{each:.2f}' for each in own.rounds)} s | "
            f"{peer:.2f} s ({peer / best:.1f}x) | {least:.2f} s ({least / best:.0%}) | {own.hold:.1f} ms | "
            f"{jobs / best:,.0f} | {own.cpu:.2f} s | {' / '.join(f'{each:.0f} MB' for each in own.memory)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""An hour without a scheduler: `python benchmarks/catchup.py [JOBS]` (default 10000), and how soon all is decided.

A tenth of the jobs is due each minute, the others half hourly and half daily. Their cursors are put an hour back, with the
logs emptied, and a real `kuber-cron scheduler` process is started on what is then left of an outage. The figure is from the
new term in Redis to the last of the missed decisions, by Redis' own clock; what has to be there is counted by a generator
of its own and compared with the logs, instant by instant.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import redis
from measuring import KEYS, await_that, cpu_seconds, milliseconds_of, scheduler, write_jobs

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

HOUR = 3600
MINUTE = 60


def schedule(number: int, jobs: int) -> tuple[str, int, int]:
    """The job's schedule; its period and the offset of its instants, in seconds."""
    if number < jobs // 10:
        return "* * * * *", MINUTE, 0
    minute = number % 60
    if number % 2:
        return f"{minute} * * * *", HOUR, minute * 60
    hour = number // 60 % 24
    return f"{minute} {hour} * * *", 24 * HOUR, hour * HOUR + minute * 60


def expected(number: int, jobs: int, after: int, until: int) -> list[int]:
    _, period, offset = schedule(number, jobs)
    first = (after - offset) // period * period + offset + period
    return list(range(first, until + 1, period))


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(
        "| policy | jobs | missed instants | queued | not queued, said so | decided after | scheduler CPU |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for policy in ("catchup=last", "catchup=all max_catchup=100"):
        print(measured(jobs, policy), flush=True)


def measured(jobs: int, policy: str) -> str:
    names = [f"job-{number}" for number in range(jobs)]
    lines = [
        f"# kuber-cron: name={name} {policy}\n{schedule(number, jobs)[0]} true\n"
        for number, name in enumerate(names)
    ]
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        write_jobs(Path(folder) / "jobs", lines)
        with redis.Redis.from_url(server.url, protocol=2) as client:
            cursors, fence = KEYS.cursors, KEYS.fence
            with scheduler(Path(folder) / "jobs", server.url):
                await_that("a cursor for each job", lambda: client.hlen(cursors) == jobs, 120)
            after = int(client.time()[0]) - HOUR
            with client.pipeline(transaction=False) as pipe:
                for name, cursor in client.hgetall(cursors).items():
                    _, _, rest = cursor.partition(b"|")
                    pipe.hset(cursors, name, b"%d|%s" % (after, rest))
                    pipe.delete(KEYS.log(name.decode()))
                pipe.delete(KEYS.queue("default"))
                pipe.execute()
            epoch = client.hget(fence, "epoch")
            with scheduler(Path(folder) / "jobs", server.url) as process:
                await_that("a new term", lambda: client.hget(fence, "epoch") != epoch, 60, 0.002)
                began, cpu = server_milliseconds(client), cpu_seconds(process.pid)
                until = began // 1000 // MINUTE * MINUTE

                def is_done() -> bool:
                    reached = (int(each.partition(b"|")[0]) for each in client.hvals(cursors))
                    return sum(at < until for at in reached) <= jobs - due_by(jobs, after, until)

                await_that("the missed instants' decisions", is_done, 300, 0.5)
                cpu = cpu_seconds(process.pid) - cpu
            count, last = accounted(client, jobs, (after, until))
    return (
        f"| {policy} | {jobs:,} | {count.total():,} | {count['queued']:,} | {count['skipped']:,} | "
        f"{(last - began) / 1000:.2f} s | {cpu:.2f} s |"
    )


def due_by(jobs: int, after: int, until: int) -> int:
    """How many jobs have an instant at the very end, which their cursors then stand at."""
    return sum(expected(number, jobs, after, until)[-1:] == [until] for number in range(jobs))


def server_milliseconds(client: redis.Redis) -> int:
    seconds, micro = client.time()
    return int(seconds * 1000 + micro // 1000)


def accounted(client: redis.Redis, jobs: int, window: tuple[int, int]) -> tuple[Counter[str], int]:
    """Every missed instant is in the logs once; how many came to what, and when the last of them was decided (ms)."""
    words, last = Counter[str](), 0
    with client.pipeline(transaction=False) as pipe:
        for number in range(jobs):
            pipe.xrange(KEYS.log(f"job-{number}"))
        logs = pipe.execute()
    for number, entries in enumerate(logs):
        due = expected(number, jobs, *window)
        told = Counter[int]()
        for entry_id, fields in entries:
            first, end, count = (int(fields[name]) for name in (b"first", b"last", b"count"))
            covered = [at for at in due if first <= at <= end]
            if end <= window[1]:
                last = max(last, milliseconds_of(entry_id))
                words[fields[b"decision"].decode()] += count
                told.update(covered)
                if len(covered) != count:
                    raise SystemExit(f"job-{number}: an entry counts {count} instants and spans {covered}")
        if told != Counter(due):
            raise SystemExit(f"job-{number}: due {due}, in the log {sorted(told.elements())}")
    return words, last


if __name__ == "__main__":
    main()

"""A steady stream of occurrences: `python benchmarks/sustained.py [SECONDS]` (default 60), a thousand a second.

A real `kuber-cron scheduler` process on a Redis of its own, appending to a file each second, and a thousand jobs that
are due every second. Lateness is by Redis' own clock: the id of each decision's entry in its log, less its instant.
"""

import sys
import tempfile
from pathlib import Path

import redis
from measuring import KEYS, await_that, cpu_seconds, milliseconds_of, rest, scheduler, shares, write_jobs

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

JOBS = 1000
# What the start costs is no part of the stream.
_SETTLED_SECONDS = 15


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    lines = [f"# kuber-cron: name=job-{number}\n@every 1s true\n" for number in range(JOBS)]
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        write_jobs(Path(folder) / "jobs", lines)
        with (
            redis.Redis.from_url(server.url, protocol=2) as client,
            scheduler(Path(folder) / "jobs", server.url) as process,
        ):
            await_that("the first runs", lambda: client.llen(KEYS.queue("default")) >= JOBS, 60)
            rest(_SETTLED_SECONDS)
            first, before = int(client.time()[0]) + 1, cpu_seconds(process.pid)
            rest(seconds + 1)
            cpu = (cpu_seconds(process.pid) - before) / (seconds + 1)
            rest(2)
            late, decided = [], 0
            for number in range(JOBS):
                for entry_id, fields in client.xrange(KEYS.log(f"job-{number}"), min=first * 1000):
                    instant = int(fields[b"first"])
                    if first <= instant < first + seconds:
                        decided += fields[b"decision"] == b"queued"
                        late.append(milliseconds_of(entry_id) - 1000.0 * instant)
    middle, most, last = shares(late, 0.5, 0.99, 1.0)
    print("| occurrences | queued | lateness p50 | p99 | max | scheduler, of a core |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {JOBS * seconds:,} | {decided:,} | {middle:.0f} ms | {most:.0f} ms | {last:.0f} ms | {cpu:.0%} |"
    )
    if decided != JOBS * seconds:
        raise SystemExit("not every occurrence was queued once")


if __name__ == "__main__":
    main()

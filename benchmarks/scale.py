"""What a number of jobs costs: `python benchmarks/scale.py [JOBS ...]` (default 1000 10000 100000).

For each number, a real `kuber-cron scheduler` process on a Redis of its own. The jobs are daily and none of them is due; ten
more are due each second at the end, and what a second costs with them, less what it costs without, is what a wake-up costs:
it must not grow with the number of jobs. Reload: one job is added to one of the files, and has its cursor in Redis.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
from measuring import KEYS, await_that, cpu_seconds, resident_mb, rest, scheduler, write_jobs

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

DUE = 10
_MEASURED_SECONDS = 30
# Parsed and compiled as the scheduler does it, in a process that does nothing else.
_LOAD = """
import os, sys, time
from pathlib import Path
from kuber_cron.common.clock import SystemClock
from kuber_cron.scheduler.decisions.catalog import Watcher
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
before, began = resident(), time.process_time()
watcher = Watcher(sys.argv[1:], clock=SystemClock())
watcher.load()
print(time.process_time() - began, resident() - before)
"""


def line(number: int) -> str:
    # Noon lies twelve hours off from where most people measure; what comes near is due once and no more.
    return f"# kuber-cron: name=job-{number} retries=2 timeout=10m\n{number % 60} {number // 60 % 24} * * 1 /opt/run-{number} -v\n"


def measured(jobs: int) -> str:
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        files = Path(folder) / "jobs"
        write_jobs(files, [line(number) for number in range(jobs)])
        told = subprocess.run(
            [sys.executable, "-c", _LOAD, str(files)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        load, memory = (float(word) for word in told.stdout.split()[-2:])
        with (
            redis.Redis.from_url(server.url, protocol=2) as client,
            scheduler(files, server.url) as process,
        ):
            cursors, cards = KEYS.cursors, KEYS.job_summaries
            await_that("a cursor for each job", lambda: client.hlen(cursors) == jobs, 300)
            await_that("a card for each job", lambda: client.hlen(cards) == jobs, 300, 1)
            rest(20 + jobs / 450)  # the first looks at each job are part of the start
            idle = share_of_core(process.pid)
            resident = resident_mb(process.pid)
            began, before = time.monotonic(), cpu_seconds(process.pid)
            with (files / "jobs-0000").open("a") as file:
                file.write("# kuber-cron: name=one-more\n0 12 1 1 * true\n")
            await_that("the new job's cursor", lambda: client.hexists(cursors, "one-more"), 120, 0.01)
            reload, reload_cpu = time.monotonic() - began, cpu_seconds(process.pid) - before
            (files / "due").write_text(
                "".join(f"# kuber-cron: name=due-{number}\n@every 1s true\n" for number in range(DUE))
            )
            await_that("the first due runs", lambda: client.llen(KEYS.queue("default")) >= DUE, 120)
            rest(20 + jobs / 1000)
            busy = share_of_core(process.pid)
    return (
        f"| {jobs:,} | {load:.2f} s | {memory:.0f} MB | {resident:.0f} MB | {idle:.2%} | "
        f"{1000 * (busy - idle):.1f} ms | {reload:.2f} s ({reload_cpu:.2f} s) |"
    )


def share_of_core(pid: int) -> float:
    before = cpu_seconds(pid)
    rest(_MEASURED_SECONDS)
    return (cpu_seconds(pid) - before) / _MEASURED_SECONDS


def main() -> None:
    print("| jobs | parse and load, CPU | memory of it | process | idle, of a core | a wake-up of ten due, CPU | "
          "reload of one changed line, and its CPU |")  # fmt: skip
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for jobs in [int(word) for word in sys.argv[1:]] or [1_000, 10_000, 100_000]:
        print(measured(jobs), flush=True)


if __name__ == "__main__":
    main()

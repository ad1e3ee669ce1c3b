"""What jobs, runs and commands cost in memory: `python benchmarks/memory.py [JOBS ...]` (default 100 1000 10000).

First a real `kuber-cron scheduler` with so many jobs, none of them due: its resident size, and what Redis holds for
them. Then 1,000 runs of `echo` that a real worker has ended, with output, result and log of decisions, as they are
kept for `why` and rq-dashboard; beside them, on the same server, as many jobs of RQ's own that its SimpleWorker
has ended, result kept. Redis' figure is `used_memory`, before and after.

Last, as many commands at once: `sleep` in the slots of one `kuber-cron worker`, and in an `rq worker-pool` that has a
worker for each, which forks a work-horse for it. PSS of the whole tree of processes, from /proc/PID/smaps_rollup: a page
that several share is counted once, in parts, so that a fork is charged with what it has for itself. What the commands' own
processes take (`sleep`) is told and taken off. All workers have run a command before. Linux only.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
from measuring import machine
from rq import Queue
from working import Push, of_ours, of_rq

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.common.redis_store.keys import Keys

KEYS = Keys("rq")
RUNS = 1_000
AT_ONCE = (8, 64)
LINE = "0 0 1 1 *  pg_dump --no-owner db-{number} | gzip > /backup/db-{number}.sql.gz\n"
SETTINGS = {
    "INSECURE": "1",
    "ELECTION": "redis",
    "METRICS_PORT": "0",
    "METRICS_HOST": "127.0.0.1",
    "LOG_LEVEL": "error",
    "WORKER_OUTPUT": "off",
}


def tier(url: str, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
    given = SETTINGS | {"REDIS_URL": url} | settings
    return subprocess.Popen(
        [sys.executable, "-m", "kuber_cron", *words],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in given.items()},
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def until(is_so: Callable[[], bool], seconds: float = 180) -> None:
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"not so after {seconds:g} s")
        pause.wait(0.1)


def jobs(client: redis.Redis, url: str, folder: Path, count: int) -> str:
    client.flushall()
    before = used(client)
    crontab = folder / "crontab"
    crontab.write_text(
        "".join(f"# kuber-cron: name=job-{number}\n" + LINE.format(number=number) for number in range(count))
    )
    began = time.monotonic()
    process = tier(url, "scheduler", str(crontab))
    until(lambda: client.hlen(KEYS.cursors) >= count)
    took = time.monotonic() - began
    threading.Event().wait(5)
    measured = psutil.Process(process.pid)
    size = measured.memory_info().rss / 1e6
    cpu = measured.cpu_times()
    threading.Event().wait(10)
    now = measured.cpu_times()
    busy = (now.user + now.system - cpu.user - cpu.system) / 10
    each = (used(client) - before) / count
    stop(process)
    return f"| {count:,} | {took:.1f} s | {size:.0f} MB | {busy:.1%} | {each:,.0f} bytes |"


def our_runs(client: redis.Redis, url: str, folder: Path) -> float:
    """Bytes of Redis for each run that has ended: ten for each of a hundred jobs, which all are kept."""
    client.flushall()
    each = RUNS // 10
    crontab = folder / "crontab"
    lines = (f"# kuber-cron: name=job-{number}\n@every 2s  echo done {number}\n" for number in range(each))
    crontab.write_text("".join(lines))
    before = used(client)
    worker = tier(url, "worker", LOG_DIR=str(folder / "logs"))
    scheduler = tier(url, "scheduler", str(crontab))
    until(lambda: client.zcard("rq:finished:default") >= RUNS)
    stop(scheduler)
    until(lambda: client.llen(KEYS.queue("default")) == 0)
    stop(worker)
    return (used(client) - before) / client.zcard("rq:finished:default")


def rq_runs(client: redis.Redis, url: str) -> float:
    client.flushall()
    before = used(client)
    queue = Queue("peer", connection=client)
    for number in range(RUNS):
        queue.enqueue(subprocess.check_output, ["echo", "done", str(number)], result_ttl=86400)
    subprocess.run(
        [sys.executable, "-m", "rq.cli", "worker", "peer", "--url", url, "--burst", "--quiet",
         "--worker-class", "rq.worker.SimpleWorker"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return (used(client) - before) / RUNS


class Tree:
    """A worker's process and all below it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._worker = psutil.Process(process.pid)

    def parts(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """Its interpreters, and the commands."""
        found: tuple[list[psutil.Process], list[psutil.Process]] = [self._worker], []
        for each in self._worker.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found[each.exe() != self._worker.exe()].append(each)
        return found

    def run(self, client: redis.Redis, queue: str, push: Push, count: int) -> tuple[float, float]:
        """MB of each part while so many commands run."""
        push(client, queue, "exec sleep 600", count)[0].execute()
        until(lambda: len(self.parts()[1]) == count)
        threading.Event().wait(3)
        own, commands = self.megabytes()
        for each in self.parts()[1]:
            with contextlib.suppress(psutil.Error):
                each.terminate()
        until(lambda: not self.parts()[1])
        threading.Event().wait(3)
        return own, commands

    def megabytes(self) -> tuple[float, float]:
        """PSS of each part."""
        own, commands = (sum(pss(each.pid) for each in part) for part in self.parts())
        return own, commands


def pss(pid: int) -> float:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


@dataclass(frozen=True)
class Contender:
    """A way to run commands at once: its command line, what is queued for it and how, whether it needs a worker for each."""

    name: str
    words: list[str]
    queue: str
    push: Push
    has_a_worker_each: bool


OURS = Contender(
    "kuber-cron worker", ["kuber_cron", "worker", "--slots", str(max(AT_ONCE))], "default", of_ours, False
)
POOL = Contender("rq worker-pool", ["rq.cli", "worker-pool", "peer", "--quiet"], "peer", of_rq, True)


def measured(
    client: redis.Redis, url: str, folder: Path, who: Contender, count: int
) -> tuple[float, float, float]:
    """MB of a worker, or of a pool: idle, with so many commands, and those commands'."""
    client.flushall()
    given = SETTINGS | {"REDIS_URL": url, "LOG_DIR": str(folder / "logs")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            *who.words,
            *(["-n", str(count), "--url", url] if who.has_a_worker_each else []),
        ],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in given.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: client.scard("rq:workers") == (count if who.has_a_worker_each else 1))
        tree = Tree(process)
        tree.run(client, who.queue, who.push, count)  # what the first command brings along stays
        idle, _ = tree.megabytes()
        own, commands = tree.run(client, who.queue, who.push, count)
    finally:
        stop(process)
    return idle, own, commands


def commands(client: redis.Redis, url: str, folder: Path) -> None:
    print("\n| commands at once | | idle | all running | of that their own | the rest, a command | the rest, one more "
          "| to ours |")  # fmt: skip
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    before: dict[str, tuple[int, float]] = {}
    for count in AT_ONCE:
        mine = 0.0
        for who in (OURS, POOL):
            idle, own, theirs = measured(client, url, folder, who, count)
            each, one_more, ratio = own / count, "", ""
            if who.name in before:
                fewer, less = before[who.name]
                one_more = f"{(own - less) / (count - fewer):.2f} MB"
            if who is POOL:
                ratio = f"{each / mine:.0f}x"
            before[who.name], mine = (count, own), each
            print(f"| {count} | {who.name} | {idle:.0f} MB | {own + theirs:.0f} MB | {theirs:.1f} MB | {each:.2f} MB "
                  f"| {one_more} | {ratio} |", flush=True)  # fmt: skip


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [100, 1_000, 10_000]
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis") as server:
        folder = Path(name)
        with redis.Redis.from_url(server.url, protocol=2) as client:
            print(machine(client) + "\n")
            print("| jobs | ready after | scheduler, resident | idle CPU | Redis for each job |")
            print("| ---: | ---: | ---: | ---: | ---: |")
            for count in counts:
                print(jobs(client, server.url, folder, count), flush=True)
            ours, theirs = our_runs(client, server.url, folder), rq_runs(client, server.url)
            print("\n| a run that has ended, as it is kept | Redis |")
            print("| --- | ---: |")
            print(f"| Kuber-Cron: hash, result, output, decision, statistics | {ours:,.0f} bytes |")
            print(f"| RQ: hash, result | {theirs:,.0f} bytes ({ours / theirs:.2f}x) |")
            commands(client, server.url, folder)


if __name__ == "__main__":
    main()

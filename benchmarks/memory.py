"""What jobs and runs cost in memory: `python benchmarks/memory.py [JOBS ...]` (default 100 1000 10000).

First a real `kuber-cron scheduler` with so many jobs, none of them due: its resident size, and what Redis holds for
them. Then 1,000 runs of `echo` that a real worker has ended, with output, result and log of decisions, as they are
kept for `why` and rq-dashboard; beside them, on the same server, as many jobs of RQ's own that its SimpleWorker
has ended, result kept. Redis' figure is `used_memory`, before and after.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import redis
from rq import Queue

from kuber_cron.common.embedded import EmbeddedRedis
from kuber_cron.common.store import Keys

KEYS = Keys("rq")
RUNS = 1_000
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
    until(lambda: client.hlen(KEYS.own("cursor")) >= count)
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


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [100, 1_000, 10_000]
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis") as server:
        folder = Path(name)
        with redis.Redis.from_url(server.url, protocol=2) as client:
            print("| jobs | ready after | scheduler, resident | idle CPU | Redis for each job |")
            print("| ---: | ---: | ---: | ---: | ---: |")
            for count in counts:
                print(jobs(client, server.url, folder, count), flush=True)
            ours, theirs = our_runs(client, server.url, folder), rq_runs(client, server.url)
            print("\n| a run that has ended, as it is kept | Redis |")
            print("| --- | ---: |")
            print(f"| Kuber-Cron: hash, result, output, decision, statistics | {ours:,.0f} bytes |")
            print(f"| RQ: hash, result | {theirs:,.0f} bytes ({ours / theirs:.2f}x) |")


if __name__ == "__main__":
    main()

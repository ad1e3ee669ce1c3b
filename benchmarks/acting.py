"""What an act by hand takes: `python benchmarks/acting.py [TRIGGERS]` (default 300).

A real `kuber-cron scheduler` with 1,000 jobs (one due each second) and a real `kuber-cron worker`, on a Redis of
their own. A trigger is asked over the same path as by the command, from a warm process; then the command itself is
run. A stop is timed from its call to the end of the command that it ends.
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
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.manual_request import ManualRequest
from kuber_cron.control.actions import leader_requests
from kuber_cron.control.actions.leader_requests import RequestTerms
from kuber_cron.control.actions.stop import stop_run
from kuber_cron.control.queries import redis_time

KEYS = Keys("rq")
JOBS = 1000


@contextlib.contextmanager
def tiers(directory: Path, url: str) -> Iterator[dict[str, str]]:
    settings = {
        "REDIS_URL": url, "INSECURE": "1", "ELECTION": "redis", "METRICS_PORT": "0", "METRICS_HOST": "127.0.0.1",
        "LOG_LEVEL": "error", "LOG_DIR": str(directory / "logs"), "WORKER_OUTPUT": "off", "WORKER_SLOTS": "16",
    }  # fmt: skip
    environment = os.environ | {f"KUBER_CRON_{name}": value for name, value in settings.items()}
    words = (["scheduler", str(directory / "crontab")], ["worker"])
    processes = [
        subprocess.Popen([sys.executable, "-m", "kuber_cron", *each], env=environment) for each in words
    ]
    try:
        yield environment
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise SystemExit("it did not happen")
        threading.Event().wait(0.002)
    return found


def told(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"| {name} | {statistics.median(values) * 1000:.1f} ms | {p99 * 1000:.1f} ms |", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 300
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        directory = Path(folder)
        lines = [
            "# kuber-cron: name=quick\n0 0 1 1 * true\n# kuber-cron: name=long\n0 0 1 1 * exec sleep 60\n@every 1s true\n"
        ]
        lines += [
            f"# kuber-cron: name=job-{number}\n{number % 60} {number % 24} * * * true\n"
            for number in range(JOBS)
        ]
        (directory / "crontab").write_text("".join(lines))
        with (
            redis.Redis.from_url(server.url, protocol=2) as client,
            tiers(directory, server.url) as environment,
        ):
            until(lambda: client.hlen(KEYS.cursors) > JOBS and client.scard("rq:workers"))
            store = Store(client, KEYS)
            terms = RequestTerms(operator="bench@desk", wait=threading.Event().wait)

            def hash_of(run: str, field: str) -> str:
                return (client.hget(KEYS.run(run), field) or b"").decode()

            def trigger(job: str) -> tuple[ManualRequest, str]:
                asked = leader_requests.new(store, "trigger", job, terms)
                (made,) = leader_requests.submit(store, asked, terms)
                return asked, made.run

            answered, started, stopped = [], [], []
            for _ in range(count):
                asked, run = trigger("quick")
                answered.append((redis_time.now(store) - asked.asked_at).total_seconds())
                at = until(lambda run=run: hash_of(run, "started_at"))
                started.append((datetime.fromisoformat(at) - asked.asked_at).total_seconds())
            for _ in range(20):
                _, run = trigger("long")
                until(lambda run=run: hash_of(run, "status") == "started")
                threading.Event().wait(0.1)
                before = redis_time.now(store)
                stop_run(store, run, operator=terms.operator)
                ended = until(lambda run=run: hash_of(run, "ended_at"))
                stopped.append((datetime.fromisoformat(ended) - before).total_seconds())
            whole = []
            for _ in range(10):
                began = time.monotonic()
                subprocess.run(
                    [sys.executable, "-m", "kuber_cron", "trigger", "quick"],
                    env=environment, stdout=subprocess.DEVNULL, check=True,
                )  # fmt: skip
                whole.append(time.monotonic() - began)
    print("| what | median | 99 % |\n| --- | ---: | ---: |")
    told("trigger asked → answered", answered)
    told("trigger asked → command started", started)
    told("stop → command ended", stopped)
    told("`kuber-cron trigger`, from its start to its end", whole)


if __name__ == "__main__":
    main()

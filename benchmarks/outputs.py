"""What a flood of output costs a worker: `python benchmarks/outputs.py [GB]`.

A real `kuber-cron worker` on a Redis of its own runs one command that writes so many gigabytes (10), as lines of
two bytes and as lines of a hundred, once with nothing on the worker's stdout and once with JSON lines that somebody
reads. Told for each: whether the run succeeded, how long it took, by how much the worker's memory grew at most, how
long its log file is and what was dropped, and how late the other commands started meanwhile.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from json import loads
from pathlib import Path

import psutil
import redis

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder

KEYS = Keys("rq")
LINES = {"y": "yes", "100 bytes": f"yes {'x' * 99}"}
_number = iter(range(10**9))


def push(client: redis.Redis, name: str, command: str) -> str:
    record = RunHashBuilder(client, None).build(
        Job(id=name, schedule="@every 1s", command=command),
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_number)),
        datetime.now(UTC),
    )
    client.hset(KEYS.run(record.run), items=list(record.fields))
    client.sadd("rq:queues", KEYS.queue("default"))
    client.rpush(KEYS.queue("default"), record.run)
    return record.run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def worker(url: str, directory: Path, output: str, port: int) -> Iterator[psutil.Process]:
    settings = {
        "REDIS_URL": url, "INSECURE": "1", "METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1",
        "LOG_LEVEL": "error", "LOG_DIR": str(directory / "logs"), "WORKER_OUTPUT": output,
        "REDIS_ALLOW_VOLATILE": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "kuber_cron", "worker", "--slots", "8"],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in settings.items()},
        stdout=subprocess.PIPE,
    )
    threading.Thread(target=drain, args=(process.stdout,), daemon=True).start()
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def drain(pipe: object) -> None:
    while os.read(pipe.fileno(), 1 << 20):  # type: ignore[attr-defined] # a pipe
        pass


def has_ended(client: redis.Redis, run: str) -> bool:
    return client.hget(KEYS.run(run), "status") in {b"finished", b"failed"}


def until_ended(client: redis.Redis, run: str, process: psutil.Process) -> int:
    """The run has ended; the largest resident size that was seen meanwhile."""
    pause, peak = threading.Event(), 0
    while not has_ended(client, run):
        peak = max(peak, process.memory_info().rss)
        pause.wait(0.02)
    return peak


def measure(gigabytes: float, line: str, output: str) -> str:
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder) / "redis", appendfsync="no") as server,
    ):
        client = redis.Redis.from_url(server.url, protocol=2)
        with worker(server.url, Path(folder), output, port) as process:
            for _ in range(5):
                until_ended(client, push(client, "warm", "echo hello"), process)
            before = process.memory_info().rss
            cpu = process.cpu_times()
            began = time.monotonic()
            size = int(gigabytes * 1e9)
            flood = push(client, "flood", f"{LINES[line]} | head -c {size}; echo the end")
            beside, waits, peak = threading.Event(), [], 0
            while not has_ended(client, flood):
                at = time.monotonic()
                peak = max(peak, until_ended(client, push(client, "beside", "true"), process))
                waits.append(time.monotonic() - at)
                beside.wait(0.2)
            took = time.monotonic() - began
            used = process.cpu_times()
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
            dropped = {
                row.split('"')[1]: float(row.split()[-1])
                for row in text.splitlines()
                if row.startswith("cron_log_dropped_bytes_total")
            }
            ((_, fields),) = client.xrevrange(f"rq:results:{flood}", count=1)
            told = loads(b64decode(fields[b"return_value"]))
            (log,) = (Path(folder) / "logs" / "flood").iterdir()
            is_whole = told["output_bytes"] == size + 8 and log.read_bytes().endswith(b"the end\n")
            if told["outcome"] != "success" or not is_whole:
                raise SystemExit(f"the run ended as {told}")
            seconds = used.user - cpu.user + used.system - cpu.system
            return (
                f"{line:>10} {output:>5} {took:7.1f} s {size / took / 1e6:7.0f} MB/s {seconds:6.1f} s "
                f"{(peak - before) / 1e6:6.1f} MB {log.stat().st_size / 1e6:6.2f} MB "
                f"{dropped['limit'] / 1e9:6.2f} GB {dropped['reader'] / 1e9:6.2f} GB "
                f"{sorted(waits)[len(waits) // 2] * 1e3:6.0f} / {max(waits) * 1e3:.0f} ms"
            )


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    print(f"{gigabytes:g} GB from one command")
    print(
        "      line stdout     took       rate   worker   grown     log     limit    reader   beside: median / worst"
    )
    for output in ("off", "json"):
        for line in LINES:
            print(measure(gigabytes, line, output), flush=True)


if __name__ == "__main__":
    main()

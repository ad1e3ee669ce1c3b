"""What the benchmarks of the scheduler share: its process, what it costs, and the machine that all of it ran on.

`python benchmarks/measuring.py` prints the machine.
"""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
import rq

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.common.redis_store.keys import Keys

KEYS = Keys("rq")
# A file holds 10,000 jobs at most; people who have many spread them much earlier.
JOBS_A_FILE = 1000


def machine(client: redis.Redis) -> str:
    """One line that says what the figures were measured on, and whether anything else ran beside it."""
    model = "an unknown processor"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, Redis {client.info('server')['redis_version']}, "
        f"rq {rq.VERSION}, redis-py {redis.__version__}; load {load}"
    )


def write_jobs(folder: Path, lines: list[str]) -> None:
    """The jobs, each with all its lines in one text, a thousand to a file."""
    folder.mkdir(exist_ok=True)
    for start in range(0, len(lines), JOBS_A_FILE):
        (folder / f"jobs-{start // JOBS_A_FILE:04}").write_text("".join(lines[start : start + JOBS_A_FILE]))


@contextlib.contextmanager
def scheduler(jobs: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A real scheduler process, ended at the end."""
    settings = {
        "REDIS_URL": url,
        "INSECURE": "1",
        "ELECTION": "redis",
        "METRICS_PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "LOG_LEVEL": "error",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "kuber_cron", "scheduler", str(jobs)],
        env=os.environ | {f"KUBER_CRON_{name}": value for name, value in settings.items()},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def await_that(what: str, is_so: Callable[[], bool], seconds: float, pause: float = 0.1) -> float:
    """Wait until it is so; for how many seconds. Exits where it never is."""
    rest, began = threading.Event(), time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"not within {seconds:g} s: {what}")
        rest.wait(pause)
    return time.monotonic() - began


def rest(seconds: float) -> None:
    """Let so much time pass."""
    threading.Event().wait(seconds)


def cpu_seconds(pid: int) -> float:
    """What the process has used of a core, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """What the process holds of memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def milliseconds_of(entry_id: bytes) -> int:
    """When Redis took in an entry of a log, by its own clock."""
    return int(entry_id.split(b"-")[0])


def shares(values: list[float], *parts: float) -> list[float]:
    """The values below which these parts of all lie."""
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in parts]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        print(machine(redis.Redis.from_url(server.url, protocol=2)))

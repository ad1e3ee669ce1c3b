"""How long nobody decides when a leader ends: real schedulers, a real Redis, the API server's double of the tests.

    python benchmarks/takeover.py 15/10/2 6/4/1 --times 5

Prints, for each signal, the seconds from the signal to the next leader's claim in Redis and to its first decision.
With KUBECONFIG the Lease is on that API server, in the kubeconfig's namespace.
"""

import argparse
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from apiserver import ApiServer

from kuber_cron.common.embedded import EmbeddedRedis
from kuber_cron.common.store import Keys

KEYS = Keys("rq")
JOBS = "*/1 * * * * true\n@every 1s true # each second\n"
_pause = threading.Event()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait for it; when it was so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("nobody leads")
        _pause.wait(0.003)
    return time.monotonic()


class Replicas:
    def __init__(self, times: str, url: str, kubeconfig: Path, directory: Path) -> None:
        lease, renew, retry = times.split("/")
        self.directory = directory
        self.client = redis.Redis.from_url(url, protocol=2)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "jobs").write_text(JOBS)
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "KUBER_CRON_ELECTION": "kubernetes",
            "KUBER_CRON_INSECURE": "1",
            "KUBER_CRON_METRICS_PORT": "0",
            "KUBER_CRON_REDIS_URL": url,
            "KUBER_CRON_LEASE_SECONDS": lease,
            "KUBER_CRON_RENEW_SECONDS": renew,
            "KUBER_CRON_RETRY_SECONDS": retry,
        }
        self.lease = float(lease)

    def start(self, name: str) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "kuber_cron", "scheduler", self.directory / "jobs"],
                env={**self.environment, "HOSTNAME": name},
                stderr=log,
            )

    def fence(self) -> tuple[int, str]:
        epoch, holder = self.client.hmget(KEYS.own("fence"), "epoch", "holder")
        return int(epoch or 0), (holder or b"").decode().split("_")[0]

    def newest(self) -> int:
        """The epoch of the newest decision."""
        keys = list(self.client.scan_iter(KEYS.own("log:*")))
        entries = [entry for key in keys for _, entry in self.client.xrevrange(key, count=1)]
        return max((int(entry[b"epoch"]) for entry in entries), default=0)

    def measure(self, how: signal.Signals) -> tuple[float, float]:
        epoch, leader = self.fence()
        began = time.monotonic()
        self.running[leader].send_signal(how)
        claimed = until(lambda: self.fence()[0] > epoch) - began
        decided = until(lambda: self.newest() > epoch) - began
        self.running.pop(leader).wait()
        self.start(leader)
        return claimed, decided


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profiles", nargs="+", help="LEASE/RENEW/RETRY in seconds")
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    rng = random.Random(1)
    for profile, how in itertools.product(given.profiles, (signal.SIGKILL, signal.SIGTERM)):
        claims, decisions = zip(*takeovers(profile, how, given.times, rng), strict=True)
        print(
            f"{profile:8} {how.name:8} next leader {min(claims):6.2f} to {max(claims):5.2f} s "
            f"(median {statistics.median(claims):.2f}), first decision at most {max(decisions):5.2f} s",
            flush=True,
        )


def takeovers(profile: str, how: signal.Signals, times: int, rng: random.Random) -> list[tuple[float, float]]:
    """So many, one after another, among three replicas."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(EmbeddedRedis(directory / "redis"))
        named = os.environ.get("KUBECONFIG")
        kubeconfig = (
            Path(named) if named else stack.enter_context(ApiServer()).kubeconfig(directory / "kubeconfig")
        )
        replicas = Replicas(profile, server.url, kubeconfig, directory)
        for name in "abc":
            replicas.start(name)
        until(lambda: replicas.newest() > 0)
        measured = []
        for _ in range(times):
            # At any moment between two renewals, and far from a minute's turn, which a SIGTERM waits out.
            _pause.wait(4 + rng.uniform(0, 2))
            until(lambda: 3 < time.time() % 60 < 55)
            measured.append(replicas.measure(how))
        for process in replicas.running.values():
            process.terminate()
        for process in replicas.running.values():
            process.wait()
        return measured


if __name__ == "__main__":
    main()

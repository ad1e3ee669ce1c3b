"""`kuber-cron scheduler` processes with a job each second, and what they have decided together."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import redis
from tests.support import cli_process
from tests.support.elections import KEYS
from tests.support.waiting import eventually


class Schedulers:
    """Replicas with leases of 3 s on one API server, and one Redis."""

    def __init__(self, url: str, kubeconfig: Path, directory: Path, *, namespace: str = "default") -> None:
        self.client = redis.Redis.from_url(url, protocol=2)
        self.directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "jobs").write_text("TZ=UTC\n@every 1s true # every second\n")
        self._environment = cli_process.environment(
            KUBECONFIG=str(kubeconfig),
            KUBER_CRON_ELECTION="kubernetes",
            KUBER_CRON_NAMESPACE=namespace,
            KUBER_CRON_INSECURE="1",
            KUBER_CRON_METRICS_PORT="0",
            KUBER_CRON_METRICS_HOST="127.0.0.1",
            KUBER_CRON_REDIS_URL=url,
            KUBER_CRON_LEASE_SECONDS="3",
            KUBER_CRON_RENEW_SECONDS="2",
            KUBER_CRON_RETRY_SECONDS="0.5",
        )

    def start(self, name: str, kubeconfig: Path | None = None) -> None:
        """It is up; by another kubeconfig than the others' if one is given."""
        log = (self.directory / f"{name}.log").open("wb")
        with log:
            self._processes[name] = subprocess.Popen(
                [*cli_process.COMMAND, "scheduler", str(self.directory / "jobs")],
                env={
                    **self._environment,
                    "HOSTNAME": name,
                    **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}),
                },
                stderr=log,
            )
        eventually(lambda: b"telemetry is served" in (self.directory / f"{name}.log").read_bytes(), 30)

    def leader(self, after: int = 0, seconds: float = 20.0) -> tuple[str, int]:
        """Name and epoch of the first term after that epoch that has decided something."""

        def decided() -> tuple[str, int] | None:
            newest = self.client.xrevrange(KEYS.log(self.job()), count=1)
            if not newest:
                return None
            ((_, entry),) = newest
            epoch = int(entry[b"epoch"])
            return (entry[b"by"].decode().split("_")[0], epoch) if epoch > after else None

        return eventually(decided, seconds, every=0.005)

    def send(self, name: str, how: signal.Signals) -> None:
        """A signal."""
        self._processes[name].send_signal(how)

    def log(self, name: str) -> list[dict[str, Any]]:
        """Its lines so far."""
        text = (self.directory / f"{name}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def says(self, name: str, event: str) -> bool:
        """Whether a line of it begins like this."""
        return any(line["event"].startswith(event) for line in self.log(name))

    def health(self, name: str, path: str) -> tuple[int, dict[str, Any]]:
        """What ``/livez`` or ``/readyz`` answers."""
        (port,) = (line["port"] for line in self.log(name) if line["event"] == "telemetry is served")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def job(self) -> str:
        names = [key.decode().rpartition(":")[2] for key in self.client.keys(KEYS.log("*"))]
        return names[0] if names else ""

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self._processes.pop(name)
        process.send_signal(how)
        process.wait(60)

    def decisions(self) -> list[int]:
        """The instants that were queued, in the order in which that was decided."""
        queued = []
        for _, entry in self.client.xrange(KEYS.log(self.job())):
            if entry[b"decision"] == b"queued":
                assert entry[b"first"] == entry[b"last"]
                queued.append(int(entry[b"first"]))
            else:
                assert entry[b"decision"] == b"moved", entry
        return queued

    def nothing_is_lost_or_doubled(self, at_least: int) -> None:
        queued = self.decisions()
        assert queued == list(range(queued[0], queued[0] + len(queued)))
        assert len(queued) >= at_least
        runs = self.client.lrange("rq:queue:default", 0, -1)
        assert len(runs) == len(set(runs)) >= len(queued)

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self.client.close()

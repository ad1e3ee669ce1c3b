"""A whole installation for the tests of commands that look: a Redis, a real scheduler, a real worker, real commands."""

import contextlib
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import redis
from tests.support.cli_process import COMMAND, Said, environment
from tests.support.json_schema import document_faults
from tests.support.stepped import KEYS
from tests.support.waiting import eventually

from kuber_cron.cli import app
from kuber_cron.common.redis_store import connections


class Installation:
    """Processes on one Redis, and the command line beside them."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self.client: redis.Redis = connections.open_client(url, "general")
        self.environment = {
            "KUBER_CRON_REDIS_URL": url,
            "KUBER_CRON_INSECURE": "1",
            "KUBER_CRON_ELECTION": "redis",
            "KUBER_CRON_METRICS_PORT": "0",
            "KUBER_CRON_METRICS_HOST": "127.0.0.1",
            "KUBER_CRON_LOG_DIR": str(directory / "logs"),
            "KUBER_CRON_REDIS_ALLOW_VOLATILE": "1",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, tier: str, *words: str, name: str = "", **extra: str) -> None:
        """A ``scheduler`` or ``worker`` process; ``name``: its host's, for schedulers."""
        with (self.directory / f"{name or tier}.log").open("ab") as log:
            self.processes[name or tier] = subprocess.Popen(
                [*COMMAND, tier, *words],
                cwd=self.directory,
                env=environment(**self.environment, HOSTNAME=name or tier, **extra),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def say(self, *words: str, **extra: str) -> Said:
        """What the command line comes to, without the installation's log directory unless that is given.

        In this process: ten times quicker, for what does not hang on being a process.
        """
        settings = {"KUBER_CRON_REDIS_URL": self.url, "KUBER_CRON_LOG_DIR": str(self.directory / "nowhere")}
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, environment(**{**settings, **extra}), clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = app.execute(list(words))
        return Said(status, out.getvalue(), err.getvalue())

    def ask(self, *words: str, **extra: str) -> dict[str, Any]:
        """The JSON document that a command answers, as it is documented."""
        done = self.say(*words, "--format", "json", **extra)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        assert document_faults(words[0], found) == []
        return found

    def runs(self, job: str) -> list[dict[str, Any]]:
        """What ``runs JOB`` answers."""
        found: list[dict[str, Any]] = self.ask("runs", job)["runs"]
        return found

    def eventually(self, status: str, run: str, seconds: float = 30.0) -> None:
        """The run has that status in Redis."""
        eventually(lambda: self.client.hget(KEYS.run(run), "status") == status.encode(), seconds)

    def first_run(self, job: str, seconds: float = 30.0) -> str:
        """The id of the first run of the job that has been decided."""

        def found() -> str:
            for _, entry in self.client.xrange(KEYS.log(job)):
                if entry[b"run"]:
                    return str(entry[b"run"].decode())
            return ""

        return eventually(found, seconds)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """A process is gone."""
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(60)

    def end(self) -> None:
        """Nothing of it is left."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.client.close()


@contextlib.contextmanager
def installation(directory: Path, url: str, crontab: str = "", **worker: str) -> Iterator[Installation]:
    """One with these jobs and a scheduler and a worker, unless ``crontab`` is empty; all of it has ended afterwards."""
    made = Installation(directory, url)
    try:
        if crontab:
            (directory / "crontab").write_text(crontab)
            made.start("scheduler", "crontab")
            made.start("worker", KUBER_CRON_GRACE_SECONDS="1", **worker)
            eventually(lambda: made.client.scard("rq:workers") and made.client.hlen(KEYS.job_summaries), 60)
        yield made
    finally:
        made.end()

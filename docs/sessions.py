"""Records docs/sessions.md: an operator's five questions, asked of a real installation. `python docs/sessions.py`.

A Redis, a scheduler and a worker are started for it in a directory of their own; what the page shows is what the commands
have written, but for the names of that directory, of the machine and of whoever runs this. With a file's name as argument it
is written there instead.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

PAGE = Path(__file__).with_name("sessions.md")
CRONTAB = """\
CRON_TZ=Europe/Berlin
# kuber-cron: name=import concurrency=forbid kill_grace=2s description="orders of the shops"
@every 10s  for i in 1 2 3 4; do echo "shop $i of 4"; sleep 6; done
# kuber-cron: name=backup retries=1 retry_delay=2s
@every 30s  echo "dumping orders"; test -e room || { echo "no space left on device" >&2; exit 2; }
# kuber-cron: name=report after=backup
@after  echo "42 orders"
"""
HEAD = """# Five questions

A recorded session: what an operator asks at three in the morning, and what the commands answer. It is made by
`python docs/sessions.py`, which starts a Redis, a scheduler and a worker with this crontab, and writes down what each
command says. Nobody has told the commands where the job files are: they ask Redis alone (`KUBER_CRON_REDIS_URL`).

```crontab
{crontab}```
"""
_PATIENCE_SECONDS = 90


class Session:
    """A terminal, and what has been written on it."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.page = [HEAD.format(crontab=CRONTAB)]
        self._lines: list[str] = []
        ours = {name: value for name, value in os.environ.items() if not name.startswith("KUBER_CRON_")}
        self._environment = ours | {
            "KUBER_CRON_REDIS_URL": url,
            "KUBER_CRON_LOG_DIR": str(directory / "logs"),
        }
        self._tiers: list[subprocess.Popen[bytes]] = []

    def start(self, tier: str, *words: str) -> None:
        """A scheduler or a worker."""
        settings = {
            "KUBER_CRON_INSECURE": "1",
            "KUBER_CRON_ELECTION": "redis",
            "KUBER_CRON_METRICS_PORT": "0",
            "KUBER_CRON_METRICS_HOST": "127.0.0.1",
            "KUBER_CRON_WORKER_OUTPUT": "off",
            "KUBER_CRON_GRACE_SECONDS": "1",
            "HOSTNAME": tier,
        }
        with (self.directory / f"{tier}.log").open("wb") as log:
            self._tiers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "kuber_cron", tier, *words],
                    cwd=self.directory,
                    env=self._environment | settings,
                    stderr=log,
                )
            )

    def end(self) -> None:
        """Nothing of it is left."""
        for tier in self._tiers:
            tier.terminate()
        for tier in self._tiers:
            tier.wait(30)

    def ask(self, *words: str) -> dict[str, Any]:
        """What a command answers, for the recorder alone."""
        done = self._run([*words, "--format", "json"])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def runs(self, *words: str) -> list[dict[str, Any]]:
        """The runs that ``runs`` answers."""
        found: list[dict[str, Any]] = self.ask("runs", *words).get("runs", [])
        return found

    def until(self, found: Callable[[], Any]) -> Any:
        """The first true answer."""
        pause, deadline = threading.Event(), time.monotonic() + _PATIENCE_SECONDS
        while not (answer := found()):
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"not so within {_PATIENCE_SECONDS} s; the page so far:\n{''.join(self.page)}"
                )
            pause.wait(0.3)
        return answer

    def chapter(self, title: str, text: str) -> None:
        """A question, and a sentence about it."""
        self._close()
        self.page.append(f"\n## {title}\n\n{text}\n")

    def say(self, text: str) -> None:
        """A sentence between two commands."""
        self._close()
        self.page.append(f"\n{text}\n")

    def type(self, *words: str, status: int = 0) -> None:
        """A command, and what it says, both streams as a terminal shows them."""
        done = self._run(words, stderr=subprocess.STDOUT)
        if done.returncode != status:
            raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout}")
        said = done.stdout.replace(f"{self.directory}/logs", "/var/log/kuber-cron")
        host = re.escape(socket.gethostname())
        said = re.sub(rf"\b[\w.-]+@{host}", "ann@desk", said)
        said = re.sub(rf"\b{host}(-[0-9a-f]{{8}})\b", r"pod\1", said)
        self._lines.append(
            f"$ kuber-cron {' '.join(words)}\n{said}" + (f"[exit status {status}]\n" if status else "")
        )

    def written(self) -> str:
        """The whole page."""
        self._close()
        return "".join(self.page)

    def _close(self) -> None:
        if self._lines:
            self.page.append("\n```console recorded\n" + "".join(self._lines) + "```\n")
        self._lines = []

    def _run(self, words: Sequence[str], stderr: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "kuber_cron", *words],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=120,
            check=False,
        )


def record(session: Session) -> None:
    """The five questions."""
    session.until(lambda: len(session.runs("import", "--ended")) >= 1)
    failed = session.until(lambda: session.runs("backup", "--failed"))[-1]["run"]
    session.until(lambda: session.runs("import", "--running"))

    session.chapter(
        "What is running?", "First the whole picture, then the runs, then one of them as it goes on."
    )
    session.type("status")
    session.type("runs", "--running")
    session.type("logs", "import", "-f")

    session.chapter(
        "What failed?", "The newest first; one of them with all its attempts, and what it has written."
    )
    session.type("jobs", "--failing")
    session.type("runs", "--failed", "--since", "12h")
    session.type("show", failed)
    session.type("logs", failed, "--attempt", "1")

    session.chapter(
        "Why did this not run?",
        "Each instant was decided once; what was decided, by whom and why stands in a log.",
    )
    session.until(lambda: session.runs("import", "--running"))
    skipped = session.until(lambda: _skipped(session, "import"))
    session.type("why", "import", skipped)
    session.type("why", "report", _instant_of(failed))
    session.type("why", "backup", "2026-01-01T04:30")

    session.chapter(
        "Run it again",
        "Somebody has made room on the disk. The run that failed, then the job that came after it.",
    )
    (session.directory / "room").touch()
    session.type("retry", failed, "--wait")
    session.type("trigger", "report", "--wait")

    session.chapter("Stop it", "One run, at once and for good; then the job, until tomorrow.")
    running = session.until(lambda: _just_begun(session, "import"))
    session.type("stop", running, "--wait", status=1)
    session.say("Where nobody can be asked, as in a script, it has to be said:")
    session.type("stop", running, "--yes", "--wait")
    session.type("pause", "import", "--until", "8h")
    session.until(lambda: session.ask("why", "import")["answers"][0]["reason"] == "suspended")
    session.type("why", "import")
    session.type("resume", "import")


def _skipped(session: Session, job: str) -> str:
    (answer,) = session.ask("why", job)["answers"]
    return str(answer["at"]) if answer["reason"] == "overlap" else ""


def _just_begun(session: Session, job: str) -> str:
    """A run of the job that goes on for a while yet."""
    seen = session.ask("runs", job, "--running")
    now = datetime.fromisoformat(seen["now"])
    young = [
        run for run in seen["runs"] if (now - datetime.fromisoformat(run["started_at"])).total_seconds() < 5
    ]
    return str(young[0]["run"]) if young else ""


def _instant_of(run: str) -> str:
    stamp = run.rpartition("-")[2]
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:]}"


def main() -> None:
    """Write the page."""
    target = Path(sys.argv[1]) if sys.argv[1:] else PAGE
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis", listen="tcp") as server:
        session = Session(Path(name), server.url)
        (session.directory / "crontab").write_text(CRONTAB)
        try:
            session.start("scheduler", "crontab")
            session.start("worker")
            record(session)
        finally:
            session.end()
    target.write_text(session.written())


if __name__ == "__main__":
    main()

"""The version before and this one on one Redis, side by side: a rolling upgrade, the way back, and what both read.

The version before is a commit of this repository, unpacked beside this one: its processes are real ones.
"""

import io
import json
import os
import signal
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest
import redis
from tests.support.cli_process import COMMAND, environment
from tests.support.transcripts import said
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
BEFORE = "5374e5b0076f"  # what landed before the house was drawn anew
PARTS = ("src", "common", "scheduler", "worker", "cli")

COMMAND_LINE = 'echo "$KUBER_CRON_JOB $KUBER_CRON_SCHEDULED_AT $KUBER_CRON_ATTEMPT" >> {done}'
CRONTAB = """
# kuber-cron: name=plain
@every 1s {command}
# kuber-cron: name=flaky retries=1 retry_delay=1s retry_jitter=0
@every 2s {command}; test "$KUBER_CRON_ATTEMPT" != 1
# kuber-cron: name=first concurrency=queue max_running=50
@every 2s {command}
# kuber-cron: name=second after=first
@after {command}
# kuber-cron: name=grouped group=one:1
@every 2s {command}
# kuber-cron: name=paused
@every 1s {command}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """The folder with the version before."""
    known = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", BEFORE], capture_output=True, check=False)
    if known.returncode != 0:
        pytest.skip(
            f"only on a clone with the history of the repository, {BEFORE} in it: git fetch --unshallow"
        )
    archive = subprocess.run(["git", "-C", ROOT, "archive", BEFORE, *PARTS], capture_output=True, check=True)
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(folder, filter="tar")
    return folder


class Site:
    """Processes and commands of both versions on one Redis."""

    def __init__(self, directory: Path, url: str, before: Path) -> None:
        self.client = redis.Redis.from_url(url, protocol=2, decode_responses=True)
        self.directory = directory
        self.done = directory / "done"
        self._source = {"before": before / "src", "now": ROOT / "src"}
        self._environment = {
            "KUBER_CRON_REDIS_URL": url,
            "KUBER_CRON_INSECURE": "1",
            "KUBER_CRON_ELECTION": "redis",
            "KUBER_CRON_METRICS_PORT": "0",
            "KUBER_CRON_METRICS_HOST": "127.0.0.1",
            "KUBER_CRON_LOG_DIR": str(directory / "logs"),
            "KUBER_CRON_REDIS_ALLOW_VOLATILE": "1",
            "KUBER_CRON_WORKER_TTL_SECONDS": "6",
        }
        self._processes: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        (directory / "crontab").write_text(CRONTAB.format(command=COMMAND_LINE.format(done=self.done)))

    def _env(self, version: str, **extra: str) -> dict[str, str]:
        return environment(**self._environment, **extra, PYTHONPATH=str(self._source[version]))

    def start(self, version: str, tier: str) -> None:
        """Start one process of that tier."""
        with (self.directory / f"{tier}-{version}.log").open("ab") as log:
            self._processes[version, tier] = subprocess.Popen(
                [*COMMAND, tier, *(["crontab"] if tier == "scheduler" else [])],
                cwd=self.directory,
                env=self._env(version, HOSTNAME=f"{tier}-{version}"),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def end(self, version: str, tier: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal, and wait for the process's end."""
        process = self._processes.pop((version, tier))
        process.send_signal(how)
        process.wait(60)

    def call(self, version: str, *words: str) -> dict:
        """Return the JSON document of a command."""
        done = subprocess.run(
            [*COMMAND, *words, "--format", "json"],
            cwd=self.directory, env=self._env(version), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (version, words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def leader_decides(self, version: str) -> None:
        """Wait until the scheduler of that version has decided something."""

        def decided() -> bool:
            newest = self.client.xrevrange("rq:kuber-cron:log:plain", count=1)
            return bool(newest) and newest[0][1]["by"].startswith(f"scheduler-{version}_")

        eventually(decided, 40)

    def attempts(self) -> Counter[str]:
        """Return the lines that the commands wrote, each with its number: more than one is a double."""
        return Counter(self.done.read_text().splitlines()) if self.done.exists() else Counter()

    def passes(self, count: int) -> None:
        """Wait until that many more attempts of the plain job have run."""
        was = self._plain()
        eventually(lambda: self._plain() >= was + count, 60)

    def _plain(self) -> int:
        return sum(1 for line in self.attempts() if line.startswith("plain "))

    def is_settled(self) -> bool:
        """Whether each run that was decided has ended."""
        return self.client.hlen("rq:kuber-cron:open") == 0

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self.client.close()


@pytest.fixture
def site(tmp_path, redis_server, before):
    made = Site(tmp_path, redis_server(appendfsync="no").url, before)
    yield made
    made.close()


def decided(site, job):
    """The instants of the job, by its log: each with what became of it."""
    found = []
    for _, entry in site.client.xrange(f"rq:kuber-cron:log:{job}"):
        if entry["decision"] in {"queued", "held", "skipped"}:
            step = 2 if job not in {"plain", "paused"} else 1
            found += range(int(entry["first"]), int(entry["last"]) + 1, step)
    return found


def missing(old, new, place="$"):
    """Name what the document of the version before says and the one of this version does not."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            each for name in old for each in missing(old[name], new.get(name, "nothing"), f"{place}.{name}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [each for number, pair in pairs for each in missing(*pair, f"{place}[{number}]")]
    # Two calls are some seconds apart, and a sentence may tell how long ago something was.
    is_same = said(old) == said(new) if isinstance(old, str) and isinstance(new, str) else old == new
    return [] if is_same else [f"{place}: {old!r} is now {new!r}"]


def test_a_rolling_upgrade_and_the_way_back_lose_and_double_nothing(site):
    site.start("before", "scheduler")
    site.start("before", "worker")
    site.leader_decides("before")
    site.call("before", "pause", "paused")
    site.passes(3)

    # Forward: beside each other, then the old leader is killed, later the old worker goes.
    site.start("now", "scheduler")
    site.start("now", "worker")
    site.passes(3)
    site.end("before", "scheduler", signal.SIGKILL)
    site.leader_decides("now")
    site.passes(3)
    site.end("before", "worker")
    site.passes(3)

    # Back: the old ones come again, the new ones go.
    site.start("before", "worker")
    site.start("before", "scheduler")
    site.end("now", "scheduler")
    site.leader_decides("before")
    site.end("now", "worker", signal.SIGKILL)
    site.passes(4)
    site.start("now", "scheduler")
    site.end("before", "scheduler")
    site.leader_decides("now")
    site.passes(3)
    site.call("before", "pause", "--all")
    eventually(site.is_settled, 60)
    site.end("now", "scheduler")
    site.end("before", "worker")

    for job in ("plain", "flaky", "first", "second", "grouped", "paused"):
        instants = decided(site, job)
        step = 2 if job not in {"plain", "paused"} else 1
        assert instants == list(range(instants[0], instants[0] + step * len(instants), step)), job
    # An attempt that its worker's death cut off is repeated as the next one: no number of one run comes twice.
    assert {line: count for line, count in site.attempts().items() if count > 1} == {}
    skipped = Counter(entry["reason"] for _, entry in site.client.xrange("rq:kuber-cron:log:paused"))
    assert skipped["suspended"] >= 1
    assert site.client.xlen("rq:kuber-cron:quarantine") == 0
    assert "Traceback" not in "".join(path.read_text() for path in site.directory.glob("*.log"))


def test_both_versions_read_the_same_of_one_redis(site):
    site.start("before", "scheduler")
    site.start("now", "worker")
    site.leader_decides("before")
    site.passes(4)
    site.call("now", "pause", "paused")
    run = site.call("now", "trigger", "grouped")["runs"][0]["run"]
    eventually(lambda: site.client.hget(f"rq:job:{run}", "status") == "finished", 30)
    site.call("now", "pause", "--all")
    eventually(site.is_settled, 60)
    site.end("before", "scheduler")
    site.end("now", "worker")

    newest = site.call("before", "runs", "--limit", "5")["runs"][0]["run"]
    at = site.client.xrevrange("rq:kuber-cron:log:plain", count=1)[0][1]["first"]
    instant = subprocess.run(
        ["date", "-u", "-d", f"@{at}", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True, check=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout.strip()  # fmt: skip
    for words in (
        ("runs", "--limit", "200"),
        ("show", newest),
        ("show", run),
        ("logs", newest),
        ("why", "plain", instant),
        ("why", "paused", instant),
        ("quarantine", "list"),
    ):
        documents = {version: site.call(version, *words) for version in ("before", "now")}
        for document in documents.values():
            document.pop("now", None)
        assert missing(documents["before"], documents["now"]) == [], words
    jobs = {version: site.call(version, "jobs")["jobs"] for version in ("before", "now")}
    assert [job["job"] for job in jobs["before"]] == [job["job"] for job in jobs["now"]]

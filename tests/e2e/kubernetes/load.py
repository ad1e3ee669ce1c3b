"""The jobs of tests/faults on the cluster: they come by an edit of the ConfigMap, and their lines go to the sink."""

import json
import time
from pathlib import Path

from tests.e2e.kubernetes.installation import Helpers, Installation
from tests.e2e.load import Load
from tests.e2e.stack import PublishedRedis
from tests.faults.history import DECIDING, Entry, Final, Job, Line
from tests.faults.jobs import SCRIPT, Spec, read_lines, select
from tests.faults.setup import REAL
from tests.support.waiting import eventually

TAKEOVER_SECONDS = REAL.takeover("kubernetes")
# After Redis was away a leader rests before it judges workers, and the way to it has to be found again.
REDIS_BACK_SECONDS = TAKEOVER_SECONDS + 4.0
# A kubelet brings an edit of a ConfigMap within a minute or so, and the scheduler looks at its files each second.
EDIT_SECONDS = 120.0
OVERLAY = Path(__file__).parent / "load"

_FIRST = '[ "$KUBER_CRON_ATTEMPT" -gt 1 ] || '
# Processes that are all smaller than the worker, for it is to be the first to go.
_MANY = (
    "import os, time\n"
    "for _ in range(96):\n"
    "    if os.fork() == 0:\n"
    "        taken = b'x' * (24 << 20)\n"
    "        time.sleep(60)\n"
    "time.sleep(60)\n"
)
TAKES_ALL = Spec(
    "takes-all",
    seconds=5,
    does=f"{_FIRST}exec python3 -c 'b\"x\" * (8 << 30)'",
    options={"retries": 1, "retry_delay": "1s", "retry_jitter": 0},
)
TAKES_THE_WORKER = Spec(
    "takes-the-worker",
    seconds=5,
    does=f'{_FIRST}{{ echo 1000 > /proc/$PPID/oom_score_adj; exec python3 -c "{_MANY}"; }}',
)
PAUSED = (TAKES_ALL, TAKES_THE_WORKER)
"""They take more memory than the container may have, at a run's first attempt; they wait until a test wants one."""


class ClusterJobs:
    """What JobFile of tests/faults is on one machine: the jobs, and what their commands have written."""

    def __init__(self, helpers: Helpers, server: PublishedRedis, directory: Path) -> None:
        self._helpers = helpers
        self._server = server
        self._copy = directory / "commands.txt"
        self._copy.touch()
        self._specs = (*select(), *PAUSED)
        self._known = tuple(spec.known(time.time()) for spec in self._specs)

    def text(self) -> str:
        """The job file."""
        sink = self._helpers.sink()
        jobs = [spec.entry(["bash", "-c", SCRIPT, "job.sh"], sink) for spec in self._specs]
        return json.dumps({"version": 1, "jobs": jobs})  # JSON is YAML

    def known(self) -> tuple[Job, ...]:
        """As the checker wants them."""
        return self._known

    def write(self, *, suspended: bool = False) -> None:
        """All jobs paused, or none but those that are to wait. In Redis: an edit would take up to a minute."""
        with self._server.client() as client:
            if suspended:
                client.hset("rq:kuber-cron:paused", "*", "0")
            else:
                client.hdel("rq:kuber-cron:paused", "*")

    def pause(self, *jobs: str) -> None:
        """These wait."""
        with self._server.client() as client:
            client.hset("rq:kuber-cron:paused", mapping=dict.fromkeys(jobs, "0"))

    def resume(self, job: str) -> None:
        """This one waits no more."""
        with self._server.client() as client:
            client.hdel("rq:kuber-cron:paused", job)

    def written(self) -> int:
        """How many bytes of lines there are."""
        text = self._helpers.lines(self._copy.stat().st_size)
        with self._copy.open("a") as lines:
            lines.write(text)
        return self._copy.stat().st_size

    def read(self) -> tuple[Line, ...]:
        """The lines; the sink has given them its own instants."""
        self.written()
        return read_lines(self._copy, 0.0)


class ClusterLoad(Load):
    """As on Compose."""

    jobs: ClusterJobs

    def __init__(self, directory: Path, helpers: Helpers, server: PublishedRedis) -> None:
        (directory / "load").mkdir()
        jobs = ClusterJobs(helpers, server, directory / "load")
        super().__init__(directory, jobs=jobs, takeover=TAKEOVER_SECONDS)
        self._server = server
        self._since = 0.0

    def begin(self, installation: Installation) -> None:
        """The recorder listens, the ConfigMap has the jobs, and every one of them has been decided once."""
        self.jobs.write(suspended=True)  # a pause of its own would be forgotten before a job is known
        self.start(installation, self._server)
        installation.edit({"load.yaml": self.jobs.text()})
        eventually(self._are_all_known, EDIT_SECONDS, every=0.2)
        self.jobs.pause(*(spec.id for spec in PAUSED))
        self.jobs.write()

    def _are_all_known(self) -> bool:
        return {entry.job for entry in self.recorder.entries} >= {job.id for job in self.jobs.known()}

    def once(self, job: str) -> str:
        """One run of a paused job is queued; its id."""
        began = len(self.recorder.entries)
        self.jobs.resume(job)

        def queued() -> str:
            fresh = self.recorder.entries[began:]
            return next((entry.run for entry in fresh if entry.job == job and entry.decision == "queued"), "")

        run = eventually(queued, 30)
        self.jobs.pause(job)
        return run

    def ended(self, run: str, seconds: float) -> Final:
        """How it has ended, once it has."""
        return eventually(lambda: self.recorder.finals.get(run), seconds, every=0.2)

    def starts(self, run: str) -> list[int]:
        """The numbers of the attempts that have told of their start."""
        return [line.attempt for line in self.jobs.read() if line.run == run and line.code is None]

    def look_from_now(self) -> None:
        """What ``latest`` and ``repeated`` say is about what is decided from now on."""
        self._since = time.time()

    def _decided(self) -> list[Entry]:
        return [e for e in self.recorder.entries if e.at >= self._since and e.decision in DECIDING]

    def latest(self) -> float:
        """How late the latest decision was, in seconds."""
        return max(entry.at - entry.first for entry in self._decided())

    def repeated(self) -> list[str]:
        """The runs of which an attempt was lost or broken off."""
        decided = {entry.run for entry in self._decided()}
        return [
            f"{final.run}: {final.lost} lost, {final.interrupted} interrupted"
            for final in self.recorder.finals.values()
            if final.run in decided and final.lost + final.interrupted
        ]

    def workers(self) -> int:
        """How many are registered."""
        with self.client() as client:
            return int(client.scard("rq:workers"))

    def epoch(self) -> int:
        """The newest that has decided."""
        return max(entry.epoch for entry in self.recorder.entries)

    def taken_over(self, epoch: int, seconds: float) -> float:
        """When a later epoch has first decided, once it has."""

        def decided() -> float:
            later = (e.at for e in self.recorder.entries if e.epoch > epoch and e.decision in DECIDING)
            return next(later, 0.0)

        return eventually(decided, seconds, every=0.05)

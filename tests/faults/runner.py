"""One fault run from beginning to end, and what it came to."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults import checker, report
from tests.faults.asker import JOBS, Asker
from tests.faults.cluster import Cluster
from tests.faults.history import STALLED, History, Violation
from tests.faults.jobs import IN_FORCE, few
from tests.faults.kinds import KINDS, can_join, kinds
from tests.faults.member import has_machines
from tests.faults.nemesis import Nemesis
from tests.faults.report import Run
from tests.faults.schedule import Step, later, plan
from tests.faults.setup import REAL, Setup, Times
from tests.support.api_server import ApiServer
from tests.support.waiting import eventually

# The cluster is left alone for so long first: what is wrong without a fault is wrong for another reason.
QUIET_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to. ``directory`` holds everything that it left behind."""

    history: History
    violations: tuple[Violation, ...]
    run: Run
    directory: Path

    @property
    def text(self) -> str:
        """The report."""
        return report.markdown(self.history, self.violations, self.run)

    @property
    def is_clean(self) -> bool:
        """Whether the promise was kept."""
        return not self.violations


def steps_for(
    seed: int,
    minutes: float,
    election: str,
    times: Times,
    *,
    faults: int | None = None,
    only: Sequence[str] = (),
) -> tuple[Step, ...]:
    """The schedule of a run: about six faults a minute, of every kind or ``only`` of some (see ``plan``)."""
    wanted = faults if faults is not None else max(1, round(minutes * 6.2))
    seconds = minutes * 60 - QUIET_SECONDS
    return plan(
        seed,
        only or kinds(election),
        seconds=seconds,
        faults=wanted,
        longest=max(4.0, 1.4 * times.ttl),
        can_join=can_join,
    )


def run(
    directory: Path,
    *,
    seed: int,
    minutes: float,
    setup: Setup,
    steps: tuple[Step, ...],
    api: ApiServer | None = None,
) -> Result:
    """The whole run: start, quiet, faults, healing, draining, the end, the verdict."""
    with Cluster(directory, setup) as cluster:
        eventually(cluster.is_up, 60, every=0.2)
        eventually(lambda: cluster.recorder.decided_through(setup.specs[0].id), 30)
        cluster.note_descriptors()
        nemesis, asker = Nemesis(cluster, KINDS, api), Asker(lambda: cluster.server, _asked_for(setup))
        asker.start()
        faults = nemesis.carry_out(later(steps, QUIET_SECONDS), minutes * 60)
        asked = asker.stop()
        until = cluster.settle()
        history = cluster.end(until, faults=faults, asked=asked)
        ends = {member.name: member.unasked_ends for member in cluster.members}
    left_out = nemesis.left_out
    return judged(history, directory, seed=seed, minutes=minutes, setup=setup, ends=ends, left_out=left_out)


def _asked_for(setup: Setup) -> tuple[str, ...]:
    ids = {spec.id for spec in setup.specs}
    return tuple(job for job in JOBS if job in ids)


def judged(
    history: History,
    directory: Path,
    *,
    seed: int,
    minutes: float,
    setup: Setup,
    ends: dict[str, list[int]],
    left_out: dict[str, str],
) -> Result:
    """The verdict, with its report and history written beside the logs."""
    times = setup.times
    lease = "redis" if setup.election == "redis" else f"lease {times.lease:g}/{times.renew:g}/{times.retry:g}"
    made = Run(
        seed=seed,
        minutes=minutes,
        election=setup.election,
        times=f"{lease}, ttl {times.ttl:g}",
        faults=tuple(fault for fault in history.faults if fault.kind != STALLED),
        policies=tuple(IN_FORCE),
        unasked_ends=ends,
        left_out=left_out,
        shares_machine=not has_machines(),
    )
    result = Result(history, tuple(checker.check(history)), made, directory)
    history.save(directory / "history.json")
    (directory / "report.md").write_text(result.text)
    return result


@contextmanager
def election(name: str) -> Iterator[tuple[Setup, ApiServer | None]]:
    """What a run with this election needs beside the rest."""
    if name == "redis":
        yield Setup(election="redis"), None
        return
    with ApiServer() as api:

        def kubeconfig(path: Path, port: int) -> Path:
            return api.kubeconfig(path, url=f"http://127.0.0.1:{port}")

        yield Setup(election="kubernetes", api_port=urlsplit(api.url).port or 0, kubeconfig=kubeconfig), api


def long_run(
    *,
    seed: int,
    minutes: float,
    name: str,
    times: Times = REAL,
    faults: int | None = None,
    only: Sequence[str] = (),
    keep: bool = False,
    light: bool = False,
) -> Result:
    """A run in a temporary directory, which is kept where something was wrong."""
    directory = Path(tempfile.mkdtemp(prefix=f"faults-{seed}-"))
    with election(name) as (usual, api):
        setup = replace(usual, times=times, specs=few() if light else usual.specs)
        steps = steps_for(seed, minutes, name, times, faults=faults, only=only)
        result = run(directory, seed=seed, minutes=minutes, setup=setup, steps=steps, api=api)
    if result.is_clean and not keep:
        shutil.rmtree(directory)
    return result

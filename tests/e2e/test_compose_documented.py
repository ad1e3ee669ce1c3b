"""docs/compose.md: its commands are run, section after section, where there is nothing but the files that they name."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Stacks
from tests.e2e.documented import SECTIONS, follow
from tests.e2e.stack import ROOT, Stack, wait_for
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NEEDED = ("docker-compose.yml", "examples/compose", "k8s/components/monitoring")


class Site:
    """A directory with the files, and the project that runs from it."""

    def __init__(self, directory: Path, stack: Stack) -> None:
        self.directory = directory
        self.stack = stack
        for name in NEEDED:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, directory / name)

    def follow(self, section: str, after_each: Callable[[], None] = lambda: None) -> str:
        """Do what the section says; what its commands said."""
        return follow(section, self.directory, self.stack.variables, after_each)

    def decided(self, job: str) -> list[str]:
        """The decisions about a job, the oldest first."""
        return re.findall(
            r"(?m)^\d{13}-\d+$", self.stack.redis("XRANGE", f"rq:kuber-cron:log:{job}", "-", "+")
        )


@pytest.fixture(scope="module")
def site(stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Up, by the page's own words."""
    stacks.end()
    with stacks.project("documented") as stack:
        made = Site(tmp_path_factory.mktemp("site"), stack)
        made.follow("Start")
        yield made


def test_every_section_that_has_commands_is_followed_here_or_under_load():
    texts = (path.read_text() for path in Path(__file__).parent.glob("test_compose_*.py"))
    followed = {name for text in texts for name in re.findall(r'follow\("([A-Z][^"]+)"', text)}
    assert followed == {name for name, blocks in SECTIONS.items() if blocks}


def test_one_sees_what_is_coming_what_was_decided_and_what_was_written(site):
    eventually(lambda: len(site.decided("hello")) >= 3, 30)
    said = site.follow("Look")
    assert "report  " in said
    assert "hello from " in said


def test_jobs_of_ones_own_are_live_when_they_are_saved(site):
    said = site.follow("Your own jobs")
    assert "1 file, 6 jobs, no errors, no warnings" in said
    eventually(lambda: site.stack.redis("KEYS", "rq:kuber-cron:log:echo-*"), 10)
    eventually(lambda: "added while it runs" in site.stack.compose("logs", "worker"), 25, every=0.5)


def test_five_workers_come_are_found_by_prometheus_and_go(site):
    numbers = iter((5, 2))

    def are_there():
        number = next(numbers)
        assert len(site.stack.containers("worker")) == number
        scraped = f'count(up{{tier="worker"}} == 1) == {number} and on () cron_workers == {number}'
        wait_for(lambda: bool(site.stack.query(scraped)), wanted=True)

    site.follow("Scale", after_each=are_there)
    assert next(numbers, None) is None


def test_with_a_key_nothing_runs_that_is_not_signed(site):
    site.follow("Sign what runs")
    newest = site.decided("hello")[-1]
    eventually(lambda: site.decided("hello")[-1] > newest, 20)
    for service in ("scheduler", "worker"):
        assert not any("not signed" in line.get("event", "") for line in site.stack.logs(service))
    forged = (
        'local key = redis.call("KEYS", "rq:job:hello-*")[1]; redis.call("COPY", key, "rq:job:forged") '
        'redis.call("HDEL", "rq:job:forged", "outcome", "job", "execution", "ended_at") '
        'redis.call("HSET", "rq:job:forged", "status", "queued", "attempt", "0") '
        'return redis.call("RPUSH", "rq:queue:default", "forged")'
    )
    site.stack.redis("EVAL", forged, "0")
    eventually(lambda: "forged" in site.stack.redis("XRANGE", "rq:kuber-cron:quarantine", "-", "+"), 20)
    wait_for(lambda: bool(site.stack.told() & {"KuberCronRunsQuarantined"}), wanted=True)


def test_a_backup_brings_back_what_was_decided_and_jobs_go_on(site):
    before = site.decided("hello")
    site.follow("Stop, back up, restore")
    assert site.decided("hello")[: len(before)] == before
    newest = site.decided("hello")[-1]
    eventually(lambda: site.decided("hello")[-1] > newest, 20)
    assert not any("redis has lost" in line.get("event", "") for line in site.stack.logs("scheduler"))

"""Fixtures of the Compose stack: one project at a time, for two cores carry no more."""

import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.load import Load
from tests.e2e.monitored import Monitored
from tests.e2e.stack import PublishedRedis, Stack, docker
from tests.faults.ports import free_port

IMAGES = ("scheduler", "worker", "dashboard")

_figures: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, below the results."""
    if _figures:
        terminalreporter.section("figures")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture
def figure() -> Callable[[str], None]:
    """Keep a line for the summary."""
    return _figures.append


@pytest.fixture(scope="session")
def image_tag() -> Iterator[str]:
    """The tag of the images of this tree: built, and taken away again."""
    for words in (["docker", "info"], ["docker", "compose", "version"]):
        if (
            shutil.which("docker") is None
            or subprocess.run(words, check=False, capture_output=True).returncode
        ):
            pytest.skip(f"`{' '.join(words)}` fails: install and start Docker with Compose v2")
    tag = f"e2e-{secrets.token_hex(4)}"
    Stack(f"kuber-cron-{tag}", variables={"KUBER_CRON_VERSION": tag}).compose("build", "--quiet", seconds=600)
    yield tag
    docker("image", "rm", "--force", *(f"kuber-cron-{name}:{tag}" for name in IMAGES))


class Stacks:
    """The project that is up; asking for another kind takes it down."""

    def __init__(self, tag: str, directory: Path) -> None:
        self.directory = directory
        self._tag = tag
        self._open = ExitStack()
        self._kind: Callable[[Stacks], AbstractContextManager[Any]] | None = None
        self._made: Any = None

    def take(self, kind: "Callable[[Stacks], AbstractContextManager[Any]]") -> Any:
        """What ``kind`` makes; the same as before where it is still up."""
        if self._kind is not kind:
            self.end()
            self._made = self._open.enter_context(kind(self))
            self._kind = kind
        return self._made

    def end(self) -> None:
        """Nothing is left."""
        self._kind = None
        self._open.close()

    @contextmanager
    def project(self, name: str, *overrides: str, **variables: str) -> Iterator[Stack]:
        """A project that has not been started yet; nothing is left of it afterwards."""
        stack = Stack(
            f"kuber-cron-e2e-{name}-{secrets.token_hex(2)}",
            overrides=overrides,
            variables={"KUBER_CRON_VERSION": self._tag, **variables},
        )
        try:
            yield stack
        finally:
            stack.down()


@pytest.fixture(scope="session")
def stacks(image_tag: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    """All of them."""
    made = Stacks(image_tag, tmp_path_factory.mktemp("e2e"))
    yield made
    made.end()


@contextmanager
def _demo(stacks: Stacks) -> Iterator[Stack]:
    with stacks.project("demo") as stack:
        stack.began = time.monotonic()
        stack.up()
        yield stack


@contextmanager
def _load(stacks: Stacks) -> Iterator[Load]:
    load, port = Load(stacks.directory), free_port()
    variables = {"E2E_REDIS_PORT": str(port), "E2E_LOAD": str(load.directory)}
    with stacks.project("load", "load.yml", **variables) as stack:
        # Whoever listens to Redis is there before the first run is pushed.
        stack.up("--wait", "redis")
        load.start(stack, PublishedRedis(port, stack.password))
        stack.up()
        yield load
        load.stop()


@contextmanager
def _monitored(stacks: Stacks) -> Iterator[Monitored]:
    monitored = Monitored(stacks.directory / "alerts")
    with stacks.project("alerts", "alerts.yml", E2E_ALERTS=str(monitored.directory)) as stack:
        stack.up()
        monitored.stack = stack
        yield monitored


@pytest.fixture
def monitored(stacks: Stacks) -> Monitored:
    """The shipped services, all well, with a Prometheus in a hurry."""
    found: Monitored = stacks.take(_monitored)
    found.stack.wait_until_well()
    return found


@pytest.fixture
def demo(stacks: Stacks) -> Stack:
    """`docker compose up`: the shipped files and nothing else."""
    return stacks.take(_demo)


@pytest.fixture
def load(stacks: Stacks) -> Load:
    """The shipped services, all well, under the jobs of tests/faults."""
    found: Load = stacks.take(_load)
    found.stack.wait_until_well()
    return found

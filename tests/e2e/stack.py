"""The shipped docker-compose.yml under a project of its own: what tests do to it, and what they ask it."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import urlopen

import redis
from tests.faults.ports import free_port
from tests.faults.redis_server import plain_client
from tests.support.waiting import eventually

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
OVERRIDES = Path(__file__).parent / "overrides"
# Grafana stands under a profile of its own, and is not started.
SERVICES = ("redis", "scheduler", "worker", "dashboard", "prometheus", "alertmanager")
# Container, service and instance: docker compose's own labels.
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_NUMBER = "com.docker.compose.container-number"


def run(*words: str, env: Mapping[str, str] | None = None, seconds: float = 180) -> str:
    """What a command says; its failure, with what it said."""
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=None if env is None else dict(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


def docker(*words: str) -> str:
    """What a docker command says."""
    return run("docker", *words).strip()


def wait_for(look: Callable[[], T], wanted: T, seconds: float = 60) -> None:
    """``look`` says ``wanted`` in time; if it does not, what it says instead."""
    found = look()

    def is_so() -> bool:
        nonlocal found
        found = look()
        return found == wanted

    with contextlib.suppress(AssertionError):
        eventually(is_so, seconds, every=0.5)
    assert found == wanted, f"after {seconds:g} s"


def examples_settings() -> dict[str, str]:
    """What .env.example says: set here, so that no .env of whoever runs the tests counts."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Stack:
    """One project. ``overrides`` are files of tests/e2e/overrides, ``variables`` what they and .env know."""

    began: float
    """When `docker compose up` was called, on the monotonic clock."""

    def __init__(
        self, project: str, *, overrides: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> None:
        self.project = project
        self.ports = {
            name: free_port() for name in ("DASHBOARD_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")
        }
        own = {
            **examples_settings(),
            **{name: str(port) for name, port in self.ports.items()},
            **(variables or {}),
        }
        self.password = own["REDIS_PASSWORD"]
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")},
            **own,
            "COMPOSE_PROJECT_NAME": project,
        }
        files = [str(ROOT / "docker-compose.yml"), *(str(OVERRIDES / name) for name in overrides)]
        self._compose = ("docker", "compose", *(word for file in files for word in ("-f", file)))
        # For commands of others: what COMPOSE_FILE has to be.
        self.files = os.pathsep.join(files)

    # --- life --------------------------------------------------------------------------------------------

    def compose(self, *words: str, seconds: float = 180) -> str:
        """``docker compose …`` for this project."""
        return run(*self._compose, *words, env=self.variables, seconds=seconds)

    def up(self, *words: str) -> None:
        """``docker compose up -d …``."""
        self.compose("up", "--detach", "--quiet-pull", *words)

    def down(self) -> None:
        """Nothing of it is left, its volumes neither."""
        self.compose("kill", "--remove-orphans")
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")

    # --- containers --------------------------------------------------------------------------------------

    def containers(self, service: str = "") -> list[str]:
        """The names of a service's containers (of all), by their numbers, running or not."""
        of_service = ("--filter", f"label={_SERVICE}={service}") if service else ()
        listed = docker(
            "ps", "--all", "--filter", f"label={_PROJECT}={self.project}", *of_service,
            "--format", f'{{{{.Label "{_SERVICE}"}}}} {{{{.Label "{_NUMBER}"}}}} {{{{.Names}}}}',
        )  # fmt: skip
        found = [line.split() for line in listed.splitlines()]
        return [name for _, _, name in sorted(found, key=lambda words: (words[0], int(words[1])))]

    def the_only(self, service: str) -> str:
        """The name of a service's single container."""
        (name,) = self.containers(service)
        return name

    @staticmethod
    def inspect(container: str) -> dict[str, Any]:
        """What the engine knows of it."""
        return dict(json.loads(docker("inspect", container))[0])

    def unwell(self, service: str = "") -> dict[str, str]:
        """The containers that do not run, or whose health check has not succeeded yet, and their states."""
        states = {name: self.inspect(name)["State"] for name in self.containers(service)}
        return {
            name: f"{state['Status']} {state.get('Health', {}).get('Status', '')}".strip()
            for name, state in states.items()
            if state["Status"] != "running"
            or state.get("Health", {"Status": "healthy"})["Status"] != "healthy"
        }

    def wait_until_well(self, service: str = "", seconds: float = 60) -> None:
        """Every container runs, and is healthy where it has a check."""

        assert self.containers(service), f"{self.project} has no containers"
        wait_for(lambda: self.unwell(service), {}, seconds)

    def crash(self, container: str) -> None:
        """SIGKILL to its first process, from outside: the engine takes it for a crash and starts it again.

        After ``docker kill`` it would not, for somebody has asked for the end.
        """
        before = self.inspect(container)
        pid = str(before["State"]["Pid"])
        docker(
            "run", "--rm", "--network", "none", "--pid", "host", "--user", "0:0", "--entrypoint", "sh",
            f"kuber-cron-scheduler:{self.variables['KUBER_CRON_VERSION']}", "-c", f"kill -KILL {pid}",
        )  # fmt: skip
        eventually(lambda: self.inspect(container)["RestartCount"] > before["RestartCount"], 20, every=0.1)

    def disconnect(self, container: str) -> None:
        """Its network cable is pulled."""
        docker("network", "disconnect", f"{self.project}_default", container)

    def connect(self, container: str) -> None:
        """It is plugged in again, under the names that Compose had given it."""
        service = self.inspect(container)["Config"]["Labels"][_SERVICE]
        docker(
            "network", "connect", "--alias", service, "--alias", container,
            f"{self.project}_default", container,
        )  # fmt: skip

    def execute(self, container: str, *words: str) -> str:
        """What a command within a container says."""
        return docker("exec", container, *words)

    def logs(self, service: str) -> list[dict[str, Any]]:
        """The log lines of a tier that are objects, of the containers that there are now."""
        lines = self.compose("logs", "--no-color", "--no-log-prefix", service).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    # --- what it says of itself ----------------------------------------------------------------------------

    def redis(self, *words: str) -> str:
        """What redis-cli says, in the container."""
        return self.compose("exec", "-T", "redis", "redis-cli", *words).strip()

    def leader(self, seconds: float = 20) -> str:
        """The scheduler's container that holds the lease, once one does and lives."""

        def found() -> str:
            holder = self.redis("GET", "rq:kuber-cron:lease").partition("_")[0]
            for name in self.containers("scheduler"):
                about = self.inspect(name)
                if holder and about["Config"]["Hostname"] == holder and about["State"]["Running"]:
                    return name
            return ""

        return eventually(found, seconds, every=0.2)

    def standby(self) -> str:
        """A scheduler that does not lead."""
        leader = self.leader()
        return next(name for name in self.containers("scheduler") if name != leader)

    def get(self, port: str, path: str) -> Any:
        """A JSON page of a published service: ``get("DASHBOARD_PORT", "/0/data/queues.json")``."""
        with urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            return json.load(answer)

    def ask(self, port: str, path: str) -> Any:
        """The same of a service that may not answer yet: None then."""
        try:
            return self.get(port, path)
        except OSError:
            return None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers to an instant query: its samples; none while it does not answer."""
        answer = self.ask("PROMETHEUS_PORT", f"/api/v1/query?query={quote(expression)}")
        return list(answer["data"]["result"]) if answer else []

    def targets(self) -> dict[str, str]:
        """Each target's health and, where it is not up, the reason, by its address."""
        answer = self.ask("PROMETHEUS_PORT", "/api/v1/targets?state=active")
        return {
            target["scrapeUrl"]: " ".join((target["health"], target["lastError"])).strip()
            for target in (answer["data"]["activeTargets"] if answer else ())
        }

    def alerts(self) -> dict[str, str]:
        """The alerts that are not inactive: name to state, the gravest of its instances."""
        found = self.get("PROMETHEUS_PORT", "/api/v1/alerts")["data"]["alerts"]
        return {
            alert["labels"]["alertname"]: alert["state"]
            for alert in sorted(found, key=lambda alert: alert["state"] == "firing")
        }

    def told(self) -> set[str]:
        """The alerts that Alertmanager would tell somebody of: not those that a graver one makes superfluous."""
        found = self.get("ALERTMANAGER_PORT", "/api/v2/alerts?active=true&inhibited=false")
        return {alert["labels"]["alertname"] for alert in found}


class PublishedRedis:
    """The stack's Redis as the recorder of tests/faults wants it: overrides/load.yml publishes its port."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self._password = password

    def client(self, timeout_seconds: float = 5.0) -> redis.Redis:
        """A client without retries; the caller closes it."""
        return plain_client(self.port, timeout_seconds, self._password)

    def connect(self, timeout_seconds: float) -> socket.socket:
        """A bare connection that takes commands: the password has been given."""
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", self.port), timeout_seconds)
            )
            connection.sendall(f"AUTH {self._password}\r\n".encode())
            answer = connection.recv(5)
            if answer != b"+OK\r\n":
                raise OSError(f"Redis at port {self.port} does not take the password: {answer!r}")
            stack.pop_all()
        return connection

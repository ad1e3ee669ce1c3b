"""The images by themselves: who runs in them, what is in them, and what an image of somebody's own needs."""

import contextlib
import json
import pickle
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.stack import ROOT, docker, run
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TIERS = ("scheduler", "worker")
TARGETS = (*TIERS, "dashboard")
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")
JOBS = """
# kuber-cron: name=orphan
@every 2s  sh -c 'sleep 0.3 & exec sleep 0.1'
# kuber-cron: name=module
@every 2s  python3 -m greet
"""


@pytest.fixture(scope="session")
def images(image_tag: str) -> dict[str, str]:
    """The images of this tree, by target."""
    return {target: f"kuber-cron-{target}:{image_tag}" for target in TARGETS}


class Net:
    """A Docker network with a Redis in it; what is started here is removed with it."""

    def __init__(self) -> None:
        self.dashboard = ""
        self.name = f"kuber-cron-{secrets.token_hex(4)}"
        self._started: list[str] = []
        docker("network", "create", self.name)
        self.redis = self.run("redis:8", "redis-server", "--appendonly", "yes", "--protected-mode", "no")
        eventually(lambda: "PONG" in docker("exec", self.redis, "redis-cli", "ping"), 30)

    def run(self, image: str, *words: str, options: tuple[str, ...] = ()) -> str:
        """Start a container; its id. It finds Redis by the variable that its tier reads."""
        alias = () if self._started else ("--network-alias", "redis")
        environment = {
            "KUBER_CRON_REDIS_URL": "redis://redis:6379/0",
            "RQ_DASHBOARD_REDIS_URL": "redis://redis:6379/0",
            "KUBER_CRON_INSECURE": "1",
        }
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        identifier = docker(
            "run", "--detach", "--network", self.name, *alias, *given, *options, image, *words
        )
        self._started.append(identifier)
        return identifier

    def cli(self, *words: str) -> str:
        return docker("exec", self.redis, "redis-cli", *words)

    def ended(self, job: str) -> list[str]:
        """How this job's ended runs ended: ``finished`` or ``failed`` each, as RQ says it."""
        keys = [key for key in self.cli("--scan", "--pattern", f"rq:job:{job}-*").splitlines() if key]
        states = [self.cli("HGET", key, "status") for key in keys]
        return [state for state in states if state in {"finished", "failed"}]

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", *self._started)
        docker("network", "rm", self.name)


@pytest.fixture
def net(images: dict[str, str]) -> Iterator[Net]:
    made = Net()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def jobs(tmp_path: Path) -> tuple[str, ...]:
    """The options that mount a directory with two jobs."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "crontab").write_text(JOBS)
    for each in (tmp_path, folder):
        each.chmod(0o755)
    return ("--volume", f"{folder}:/app/config:ro")


def inside(image: str, script: str) -> str:
    return docker("run", "--rm", *HARDENED, "--entrypoint", "sh", image, "-c", script)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_a_numbered_user_and_tells_of_its_health_and_origin(images, target):
    config = json.loads(docker("image", "inspect", images[target]))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.title"] == "Kuber-Cron"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_version_of_the_images_is_the_packages(images):
    import kuber_cron

    for target in TARGETS:
        config = json.loads(docker("image", "inspect", images[target]))[0]["Config"]
        assert config["Labels"]["org.opencontainers.image.version"] == kuber_cron.__version__
    for target in TIERS:
        said = run("docker", "run", "--rm", *HARDENED, images[target], "--version")
        assert said == f"kuber-cron {kuber_cron.__version__}\n"


@pytest.mark.parametrize("target", TARGETS)
def test_there_is_nothing_in_an_image_that_its_user_may_write_or_install_with(images, target):
    found = inside(
        images[target],
        "find / -xdev -writable \\( -type d -o -type f \\) 2>/dev/null | grep -vE '^/(proc|dev|sys|tmp|run/lock|var/tmp)(/|$)';"
        " ls /opt/*/bin | grep -E '^(pip|python3?-config)' ; id -u",
    )
    own = {"/var/log/kuber-cron", "/work"} if target == "worker" else {"/var/log/kuber-cron"}
    assert set(found.split()) <= {*own, "10001"}


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("psql --version", "psql (PostgreSQL)"),
        ("pg_dump --version", "pg_dump (PostgreSQL)"),
        ("mariadb --version", "MariaDB"),
        ("mariadb-dump --version", "MariaDB"),
        ("mysql --version", "MariaDB"),
        ("isql --version", "unixODBC"),
        ("odbcinst -q -d", "[MariaDB Unicode]"),
        ("odbcinst -q -d", "[PostgreSQL Unicode]"),
        ("curl --version", "curl "),
        ("jq --version", "jq-"),
        ("python3 --version", "Python 3.13"),
    ],
)
def test_a_worker_has_what_people_schedule(images, program, says):
    assert says in inside(images["worker"], program)


def test_every_driver_that_odbc_names_is_there(images):
    script = (
        "odbcinst -q -d | tr -d '[]' | while read -r name; do"
        ' file=$(odbcinst -q -d -n "$name" | sed -n "s/^Driver=//p");'
        ' ls "$file" /usr/lib/*/odbc/"$file" 2>/dev/null | grep . || echo "missing: $name $file"; done'
    )
    found = inside(images["worker"], script).splitlines()
    assert len(found) >= 2
    assert [line for line in found if line.startswith("missing")] == []


def test_a_hardened_pair_runs_jobs_and_keeps_no_zombie_of_what_they_leave_behind(images, net, jobs):
    net.run(images["scheduler"], options=(*HARDENED, *jobs))
    worker = net.run(images["worker"], options=HARDENED)
    eventually(lambda: len(net.ended("orphan")) >= 3, 60)
    assert set(net.ended("orphan")) == {"finished"}

    def has_none() -> bool:
        states = docker(
            "exec", worker, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -c1"
        )
        return "Z" not in states.split()

    eventually(has_none, 10)
    docker("stop", "--timeout", "40", worker)
    assert json.loads(docker("inspect", worker))[0]["State"]["ExitCode"] == 0


@pytest.fixture
def application(images: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """An image of somebody's own, which Kuber-Cron's wheel was installed into."""
    tag = secrets.token_hex(4)
    build = ("docker", "build", "--quiet", "--tag")
    run(*build, f"kuber-cron-wheel:{tag}", "--target", "build-tiers", str(ROOT), seconds=600)
    context = tmp_path / "app"
    (context / "greet").mkdir(parents=True)
    (context / "greet" / "__init__.py").write_text("")
    (context / "greet" / "__main__.py").write_text("print('hello from the application')\n")
    (context / "Dockerfile").write_text(
        f"FROM python:3.13-slim-trixie AS yourapp\nWORKDIR /srv\nCOPY greet greet\n"
        f"FROM yourapp\nCOPY --from=kuber-cron-wheel:{tag} /wheels/ /tmp/\n"
        "RUN pip install --quiet --no-cache-dir /tmp/*.whl\nUSER 1000\n"
        'ENV PYTHONPATH=/srv KUBER_CRON_LOG_DIR=/tmp/logs\nCMD ["kuber-cron", "worker"]\n'
    )
    image = f"yourapp-worker:{tag}"
    run(*build, image, str(context), seconds=600)
    yield image
    docker("image", "rm", "--force", image, f"kuber-cron-wheel:{tag}")


def test_an_application_of_ones_own_becomes_a_worker_by_pip_install(application, images, net, jobs):
    """No tini and no entry point of ours: `FROM yourapp`, `pip install kuber-cron`, the command `kuber-cron worker`."""
    net.run(images["scheduler"], options=(*HARDENED, *jobs))
    worker = net.run(application, options=HARDENED)
    eventually(lambda: len(net.ended("module")) >= 1, 60)
    assert net.ended("module")[0] == "finished"
    eventually(lambda: "hello from the application" in docker("logs", worker), 10)
    docker("stop", "--timeout", "40", worker)
    assert json.loads(docker("inspect", worker))[0]["State"]["ExitCode"] == 0


# --- rq-dashboard ---------------------------------------------------------------------------------


class Forged:
    """A pickle that runs a command where it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch /tmp/ran",)


def _page(net: Net, path: str) -> int:
    """The status of a page of the dashboard, asked from within its network."""
    code = (
        "import sys, urllib.request, urllib.error\n"
        "try: print(urllib.request.urlopen(sys.argv[1], timeout=10).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    return int(
        docker(
            "exec", net.dashboard, "/opt/rq-dashboard/bin/python", "-c", code, f"http://127.0.0.1:9181{path}"
        )
    )


@contextlib.contextmanager
def dashboard(net: Net, image: str, serializer: str | None) -> Iterator[None]:
    given = () if serializer is None else ("--env", f"RQ_DASHBOARD_JSON_SERIALIZER={serializer}")
    net.dashboard = net.run(image, options=(*HARDENED, *given))

    def answers() -> bool:
        try:
            return _page(net, "/") == 200
        except AssertionError:
            return False

    eventually(answers, 30)
    yield


def _ran(net: Net) -> bool:
    return "ran" in docker("exec", net.dashboard, "ls", "/tmp").split()


def _forge(net: Net) -> None:
    """A job of RQ whose meta data are that pickle, as whoever can write to Redis can make one."""
    code = pickle.dumps(Forged()).hex()
    lua = (
        "local raw = ARGV[1]:gsub('..', function(pair) return string.char(tonumber(pair, 16)) end) "
        "redis.call('HSET', KEYS[1], 'data', 'x', 'meta', raw, 'status', 'queued', 'origin', 'default', "
        "'created_at', '2026-01-01T00:00:00.000000Z', 'timeout', '60') return #raw"
    )
    assert int(net.cli("EVAL", lua, "1", "rq:job:forged", code)) > 10


@pytest.mark.parametrize(("serializer", "may_run"), [(None, False), ("false", True)])
def test_a_forged_pickle_runs_in_the_dashboard_only_if_somebody_takes_json_away(
    images, net, serializer, may_run
):
    with dashboard(net, images["dashboard"], serializer):
        _forge(net)
        _page(net, "/0/data/job/forged.json")
        assert _ran(net) is may_run


@pytest.mark.parametrize(("serializer", "status"), [(None, 200), ("false", 500)])
def test_the_dashboard_shows_a_run_of_ours_as_json_and_could_not_as_pickle(
    images, net, jobs, serializer, status
):
    net.run(images["scheduler"], options=(*HARDENED, *jobs))
    net.run(images["worker"], options=HARDENED)
    eventually(lambda: len(net.ended("orphan")) >= 1, 60)
    run = net.cli("--scan", "--pattern", "rq:job:orphan-*").splitlines()[0].removeprefix("rq:job:")
    with dashboard(net, images["dashboard"], serializer):
        assert _page(net, f"/0/data/job/{run}.json") == status

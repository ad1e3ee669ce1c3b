"""What can be said of the files under k8s/ without a cluster. tests/integration/test_manifests.py builds them."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from kuber_cron.common.config.environment import PREFIX, variable
from kuber_cron.common.config.settings import Settings
from kuber_cron.common.formats import crontab

K8S = Path(__file__).parents[5] / "k8s"
DOCUMENTS = [
    pytest.param(document, id=f"{path.relative_to(K8S)}:{number}")
    for path in sorted(K8S.rglob("*.yaml"))
    if "monitoring" not in path.parts
    for number, document in enumerate(yaml.safe_load_all(path.read_text(encoding="utf-8")))
]
KUSTOMIZATIONS = sorted(path.parent for path in K8S.rglob("kustomization.yaml"))
LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of")


def _named_files(folder: Path) -> set[Path]:
    """What a kustomization names: files and folders, wherever."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    names = [*said.get("resources", ()), *said.get("components", ())]
    names += [patch["path"] for patch in said.get("patches", ()) if "path" in patch]
    for generator in said.get("configMapGenerator", ()):
        names += generator.get("envs", [])
        names += [name.rpartition("=")[2] for name in generator.get("files", ())]
    return {(folder / name).resolve() for name in names}


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: str(folder.relative_to(K8S)))
def test_a_kustomization_names_what_is_there_and_all_of_it(folder):
    named = _named_files(folder)
    assert {path for path in named if not path.exists()} == set()
    inner = {each for each in KUSTOMIZATIONS if each != folder and each.is_relative_to(folder)}
    present = {
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in {"kustomization.yaml", ".DS_Store"}
        and "__pycache__" not in path.parts
        and not any(path.is_relative_to(each) for each in inner)
    }
    if "monitoring" not in folder.parts:  # its rules are also a plain file for Prometheus
        assert present - named == set()


def test_no_secret_is_committed_nor_generated_from_a_committed_file():
    for path in K8S.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert "kind: Secret\n" not in text, path
            assert "secretGenerator" not in text, path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_object_has_the_labels_it_is_found_by(document):
    if not isinstance(document, dict) or document.get("kind") in {"Kustomization", "Component", None}:
        return
    if document["metadata"]["name"] == "any" or "labels" not in document["metadata"]:
        # A patch: of an object that has them.
        assert document["kind"] == "Deployment"
        assert "selector" not in document["spec"]
        return
    labels = document["metadata"]["labels"]
    assert [labels.get(label) for label in LABELS] == ["kuber-cron"] * 3


def test_the_role_is_what_leader_election_needs_and_no_more():
    documents = list(yaml.safe_load_all((K8S / "base" / "rbac.yaml").read_text(encoding="utf-8")))
    assert [document["kind"] for document in documents] == ["ServiceAccount", "Role", "RoleBinding"]
    assert documents[1]["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["kuber-cron"],
            "verbs": ["get", "update"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    ]


def test_nothing_is_granted_cluster_wide_and_to_the_secrets_job_only_to_create():
    kinds: dict[str, list[dict]] = {}
    for parameter in DOCUMENTS:
        (document,) = parameter.values
        if isinstance(document, dict):
            kinds.setdefault(document.get("kind", ""), []).append(document)
    assert "ClusterRole" not in kinds
    assert "ClusterRoleBinding" not in kinds
    roles = {role["metadata"]["name"]: role["rules"] for role in kinds["Role"]}
    assert set(roles) == {"kuber-cron-scheduler", "kuber-cron-secrets"}
    assert roles["kuber-cron-secrets"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]


@pytest.mark.parametrize("path", sorted(K8S.rglob("jobs/*")), ids=lambda path: str(path.relative_to(K8S)))
def test_the_job_files_have_neither_error_nor_warning(path):
    parsed = crontab.parse(path.read_bytes(), source=path.name)
    assert parsed.diagnostics == []
    assert parsed.jobs


@pytest.mark.parametrize(
    "path", sorted(K8S.rglob("settings.env")), ids=lambda path: str(path.relative_to(K8S))
)
def test_every_setting_is_one_and_says_something_that_is_allowed(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    given = dict(line.split("=", 1) for line in lines)
    assert set(given) <= {variable(field) for field in Settings.model_fields}
    assert Settings.load(given).warnings == ()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_variable_of_ours_in_a_manifest_is_a_setting(document):
    known = {variable(field) for field in Settings.model_fields}
    assert {name for name in _names(document) if name.startswith(PREFIX)} <= known


def _names(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "name" and isinstance(value, str):
                yield value
            yield from _names(value)
    elif isinstance(node, list):
        for each in node:
            yield from _names(each)


# --- the scripts of the Redis component ----------------------------------------------------------


@pytest.fixture
def redis_script(tmp_path):
    """Runs a script as the container does, with programs of ours for redis-server and redis-cli."""
    programs, secret = tmp_path / "bin", tmp_path / "secret"
    programs.mkdir()
    secret.mkdir()

    def run(name, *arguments, password=b"p4ssw0rd\n", program="", says="exec cat"):
        if password is not None:
            (secret / "password").write_bytes(password)
        script = tmp_path / name
        text = (K8S / "components" / "redis" / name).read_text(encoding="utf-8")
        script.write_text(text.replace("/etc/kuber-cron", str(tmp_path)))
        stub = programs / program
        stub.write_text(f"#!/bin/sh\n{says}\n")
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
        environ = {"PATH": f"{programs}:{os.environ['PATH']}", "MEMORY_LIMIT_BYTES": "536870912"}
        return subprocess.run(
            ["sh", script, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.mark.parametrize("password", [b"p4ss-w.0_r~d", b"p4ss-w.0_r~d\n"])
def test_redis_is_told_the_password_and_six_tenths_of_the_limit_by_its_input(
    redis_script, tmp_path, password
):
    done = redis_script("start.sh", password=password, program="redis-server", says='echo "$@"; exec cat')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "-",
        f"include {tmp_path}/config/redis.conf",
        "maxmemory 322122546",
        "requirepass p4ss-w.0_r~d",
    ]


@pytest.mark.parametrize(
    "password", [b"", b"\n", b"a b", b'a"b', b"a'b", b"a\\b", b"a@b", b"a/b", b"a%b", "ä".encode()]
)
def test_a_password_that_a_url_or_redis_would_read_otherwise_is_refused_by_name(redis_script, password):
    done = redis_script("start.sh", password=password, program="redis-server")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Secret kuber-cron-redis, key password" in done.stderr


@pytest.mark.parametrize(
    ("answer", "ready", "alive"),
    [
        ("PONG", True, True),
        ("LOADING Redis is loading the dataset in memory", False, True),
        ("BUSY Redis is busy running a script.", False, True),
        ("Could not connect to Redis at 127.0.0.1:6379: Connection refused", False, False),
        ("WRONGPASS invalid username-password pair", False, False),
        ("", False, False),
    ],
)
def test_redis_is_ready_when_it_serves_and_alive_while_it_answers(redis_script, answer, ready, alive):
    says = f'[ "$REDISCLI_AUTH" = p4ssw0rd ] || exit 3; echo "{answer}"'
    for asked, expected in (("ready", ready), ("alive", alive)):
        done = redis_script("ping.sh", asked, program="redis-cli", says=says)
        assert (done.returncode == 0) is expected, done.stderr

"""What is shipped is what is tracked, and it runs where the sources are out of reach.

The packages are links under src/kuber_cron to the folders at the top (docs/adr/0002): build back ends
and archives have lost such links in silence before, so the wheel is compared file by file.
"""

import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.timeout(600),  # installs: as slow as the index is
    pytest.mark.xdist_group("packaging"),  # built once
]

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-packaging" / "bin"
FOLDERS = ("cli", "common", "control", "scheduler", "worker")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run without the environment's PYTHONPATH and PYTEST_*; the result's stdout holds both streams."""
    return subprocess.run(
        ["env", "-u", "PYTHONPATH", "-u", "PYTEST_ADDOPTS", *command],
        cwd=cwd,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    ended = run(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def tools() -> Path:
    if not (TOOLS / "python").exists():
        pytest.skip("needs build and poetry in .venv-packaging: run `make tools`")
    return TOOLS


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    names = succeed("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return [name for name in names if name and (ROOT / name).exists()]


def copy_tree(names: list[str], target: Path) -> Path:
    """Copy the tracked files as they lie in the work tree, links as links."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


@pytest.fixture(scope="module")
def tree(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tracked, tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def built(tools: Path, tree: Path) -> Path:
    """The folder with the sdist, and the wheel that was made from the sdist; by the locked back end."""
    succeed(tools / "python", "-m", "build", "--no-isolation", ".", cwd=tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"kuber_cron-{VERSION}.dist-info/METADATA"))


@pytest.fixture(scope="module")
def installed(tools: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the runtime requirements and the wheel, and nothing else."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    runtime = ROOT / "requirements" / "runtime.txt"
    succeed(ROOT / "requirements" / "venv", environment, runtime, wheel, cwd=environment.parent)
    return environment / "bin"


def test_the_wheel_from_the_sdist_is_the_tracked_files(wheel: Path, tracked: list[str]):
    expected = {}
    for name in tracked:
        top, _, rest = name.partition("/")
        if top in FOLDERS:
            expected[f"kuber_cron/{name}"] = (ROOT / name).read_bytes()
        elif name.startswith("src/") and not (ROOT / name).is_symlink():
            expected[rest] = (ROOT / name).read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert sorted(shipped) == sorted(expected)
    assert [name for name in expected if shipped[name] != expected[name]] == []


def test_the_sdist_needs_no_links_to_be_built(built: Path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert [member.name for member in archive if member.issym() or member.islnk()] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_tree_that_lost_a_link_fails_to_build(folder: str, tools: Path, tracked: list[str], tmp_path: Path):
    tree = copy_tree(tracked, tmp_path)
    link = tree / "src" / "kuber_cron" / folder
    link.unlink()
    link.write_text(f"../../{folder}")  # what a checkout without links leaves
    ended = run(tools / "python", "-m", "build", "--no-isolation", "--sdist", ".", cwd=tree)
    assert ended.returncode != 0
    assert f"kuber_cron/{folder}" in ended.stdout


def test_the_metadata_says_what_pyproject_says(metadata: Message):
    assert metadata["Name"] == "kuber-cron"
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata.get_all("Provides-Extra") == ["embedded"]


def test_the_metadata_holds_no_address(metadata: Message):
    assert [f"{key}: {value}" for key, value in metadata.items() if "://" in value] == []


def test_the_wheel_carries_the_licence(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        shipped = archive.read(f"kuber_cron-{VERSION}.dist-info/licenses/LICENSE")
    assert shipped == (ROOT / "LICENSE").read_bytes()


def test_the_command_runs_from_the_wheel_alone(installed: Path, tmp_path: Path):
    assert VERSION in succeed(installed / "kuber-cron", "--version", cwd=tmp_path)
    assert "Usage" in succeed(installed / "kuber-cron", "--help", cwd=tmp_path)


def test_the_package_runs_as_a_module_from_the_wheel_alone(installed: Path, tmp_path: Path):
    assert VERSION in succeed(installed / "python", "-m", "kuber_cron", "--version", cwd=tmp_path)


def test_every_module_imports_with_the_runtime_requirements_alone(installed: Path, tmp_path: Path):
    program = """
import importlib, pkgutil, kuber_cron
for module in pkgutil.walk_packages(kuber_cron.__path__, "kuber_cron."):
    if not module.name.endswith("__main__"):
        print(importlib.import_module(module.name).__file__)
"""
    files = succeed(installed / "python", "-W", "error", "-c", program, cwd=tmp_path).split()
    assert len(files) > len(FOLDERS)
    assert [file for file in files if not file.startswith(str(installed.parent))] == []


def test_poetry_finds_nothing_wrong(tools: Path, tree: Path):
    succeed(tools / "poetry", "check", "--strict", "--no-interaction", cwd=tree)

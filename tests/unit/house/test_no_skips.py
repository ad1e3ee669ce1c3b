"""In CI a skip is a failure: the plugin that .ci/run loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[3] / ".ci"


def outcome(tmp_path: Path, program: str) -> str:
    """The last line of a run of pytest with the plugin on one test module."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_one.py").write_text(f"import pytest\n{program}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no_skips", "test_one.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(PLUGIN),
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout.splitlines()[-1].split(" in ")[0]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def test_it(): pass", "1 passed"),
        ("def test_it(): pytest.skip('needs docker')", "1 failed"),
        ("@pytest.mark.skip(reason='later')\ndef test_it(): pass", "1 error"),
        ("@pytest.mark.xfail\ndef test_it(): raise ValueError", "1 failed"),
        ("pytest.importorskip('a_module_that_nobody_has')", "1 error"),
        ("@pytest.mark.skipif(True, reason='only on macOS')\ndef test_it(): pass", "1 skipped"),
    ],
    ids=["passed", "skipped within", "marked", "expected to fail", "module", "another system"],
)
def test_what_is_skipped_counts_as_failed(program: str, expected: str, tmp_path: Path):
    assert outcome(tmp_path, program) == expected

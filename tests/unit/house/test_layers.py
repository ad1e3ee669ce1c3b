"""What import-linter cannot see: the command line asks control, and reads nothing in Redis by itself."""

import ast
from pathlib import Path

import pytest

CLI = Path(__file__).parents[3] / "cli"
MODULES = sorted(CLI.rglob("*.py"))


def attributes(path):
    """The attributes that a module reads or sets, except for methods that it calls."""
    tree = ast.parse(path.read_text())
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in called
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CLI)))
def test_no_module_of_the_command_line_speaks_to_redis(path):
    assert "client" not in attributes(path)


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.parent.name != "process"],  # which puts the tiers together
    ids=lambda path: str(path.relative_to(CLI)),
)
def test_no_command_names_a_key(path):
    assert "keys" not in attributes(path)


def test_a_module_that_reads_a_key_is_found_out(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("store.client.hget(store.keys.cursors, job)\n{}.keys()\n")
    assert {"client", "keys"} <= attributes(module)
    module.write_text("{}.keys()\n")
    assert attributes(module) == set()

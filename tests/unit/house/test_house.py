"""What holds of every module of the product: names, sizes, first words (docs/glossary.md, CONTRIBUTING.md)."""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("common", "control", "scheduler", "worker", "cli")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TREES = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in MODULES}

LONGEST = 300
"""Lines of a module; a longer one says in its docstring why it is one."""
PARAMETERS = 8
"""Of a constructor: more are a thing of their own."""


def named(node):
    return isinstance(node, ast.ClassDef) and not node.name.startswith("_")


def test_no_two_public_classes_share_a_name():
    homes = defaultdict(list)
    for path, tree in TREES.items():
        for node in filter(named, tree.body):
            homes[node.name].append(str(path))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_every_package_is_listed_for_the_wheel():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {".".join(["kuber_cron", *path.parent.parts]) for path in TREES if path.name == "__init__.py"}
    assert there | {"kuber_cron"} == listed


@pytest.mark.parametrize("path", TREES, ids=str)
def test_a_module_is_a_page_that_one_can_hold(path):
    lines = (ROOT / path).read_text().count("\n")
    reason = re.search(r"\bOne module\b.*\bbecause\b", ast.get_docstring(TREES[path]) or "", re.DOTALL)
    assert lines <= LONGEST or reason, (
        f"{path}: {lines} lines, and no 'One module, because …' in its docstring"
    )


def test_no_constructor_takes_more_than_eight_parameters():
    found = {}
    for path, tree in TREES.items():
        for owner in filter(named, ast.walk(tree)):
            for node in owner.body:
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    arguments = [*node.args.posonlyargs, *node.args.args[1:], *node.args.kwonlyargs]
                    if len(arguments) > PARAMETERS:
                        found[f"{path}: {owner.name}"] = len(arguments)
    assert found == {}


def test_a_docstring_begins_with_a_verb_or_a_noun():
    found = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                first = (ast.get_docstring(node) or "").split(" ", 1)[0]
                if first in {"It", "What", "Whether"}:
                    found.append(f"{path}:{getattr(node, 'lineno', 1)} {first} …")
    assert found == []


def test_a_module_is_named_as_one_thing():
    drawers = {"utils", "util", "helpers", "helper", "manager", "base", "misc", "tools", "common"}
    assert [str(path) for path in TREES if path.stem in drawers] == []

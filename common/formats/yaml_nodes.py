"""YAML and JSON text as node graphs, for their marks: bounded before anything recurses, and nothing is constructed.

Pure. A node's marks say its line and column; its tag says what kind of value stands there.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

# libyaml's where the wheel has it: ten times as fast, the same nodes.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAG = "tag:yaml.org,2002:"
# Halves of a character, each escaped, after an even number of backslashes.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
# Every alias is read again where it stands: 14 KB of them took 0.9 s. Ten thousand jobs may share 9 variables.
_MAX_ALIASED = 200_000
QUOTE = 'YAML reads *, @, % and similar at the start as its own: write "…" around it'


def compose(text: str, *, max_depth: int) -> yaml.Node | None:
    """Return the root of the one document that ``text`` holds, None where it is empty.

    Raises:
        yaml.YAMLError: It is no YAML, nested more deeply than ``max_depth``, or its aliases multiply too far.
        ValueError: It holds half characters.
    """
    text.encode()  # lone surrogates: a ValueError here, and not deep in libyaml
    nodes = aliased = 0
    sizes: dict[str | None, int] = {}
    # Anchors of the open collections, and how many nodes stood before each.
    opened: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=Loader):
        problem = None
        if isinstance(event, yaml.AliasEvent):
            # An alias within its own anchor has no size yet, and is never followed.
            size = sizes.get(event.anchor, 1)
            nodes += size
            aliased += size
            problem = "aliases stand for too many values" if aliased > _MAX_ALIASED else None
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
            nodes += 1
            problem = "nested too deeply" if len(opened) > max_depth else None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
        if problem is not None:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type] # libyaml marks are marks
    return yaml.compose(text, Loader=Loader)


def of_json(text: str) -> str:
    r"""Return JSON as YAML 1.1 takes it.

    That needs two things: pairs of halves (``\ud83d\ude00``) become one escape, and what YAML takes for no character
    or for a line's end is escaped. Columns behind them are shifted.
    """

    def pair(found: re.Match[str]) -> str:
        whole = 0x10000 + ((int(found[2], 16) - 0xD800) << 10) + (int(found[3], 16) - 0xDC00)
        return f"{found[1]}\\U{whole:08x}"

    text = _PAIR.sub(pair, text)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def documents(text: str) -> Iterator[tuple[int, str]]:
    """Return the documents of a stream, each with the number of lines before it.

    They are cut at their ``---``, which no block of a mapping can hold at a line's start: so a document that is
    no YAML costs itself alone. Those without a line of their own are left out.
    """
    lines = text.split("\n")
    start = 0
    for number in [*(i for i, line in enumerate(lines) if _begins(line)), len(lines)]:
        part = lines[start:number]
        if any(_says_something(line) for line in part):
            yield start, "\n".join(part)
        start = number


def _begins(line: str) -> bool:
    return line.startswith("---") and line[3:4] in {"", " ", "\t", "\r"}


def _says_something(line: str) -> bool:
    bare = line.removeprefix("---").strip() if _begins(line) else line.strip()
    return bool(bare) and not bare.startswith(("#", "%")) and bare != "..."


def problem(error: Exception, lines: list[str]) -> tuple[int, int, str, str | None]:
    """Return line and column (from 1) of what ``compose`` raised, what is wrong, and a hint or None."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, col = (mark.line + 1, mark.column + 1) if mark is not None else _place(error, lines)
    words = str(error)
    what = getattr(error, "problem", None) or "bad UTF-8 or a control character"
    hint = QUOTE if "scanning an alias" in words or "cannot start any token" in words else None
    return line, col, what, hint


def _place(error: Exception, lines: list[str]) -> tuple[int, int]:
    """Return line and column of an error that has no mark but an offset, or none at all."""
    offset = getattr(error, "position", None) or getattr(error, "start", None)
    if not isinstance(offset, int):
        return 1, 1
    for number, line in enumerate(lines, start=1):
        if offset <= len(line):
            return number, offset + 1
        offset -= len(line) + 1
    return max(1, len(lines)), 1


def kind(node: yaml.Node) -> str:
    """Return the kind of a node in words that follow ``is``: ``a list``, ``a number (5)``, ``empty``."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kinds = {"int": "a number", "float": "a number", "bool": "a truth value", "null": "nothing"}
    tag = node.tag.removeprefix(TAG)
    value = node.value if isinstance(node, yaml.ScalarNode) else ""
    return f"{kinds.get(tag, 'a string' if tag == 'str' else tag)} ({value})" if tag != "null" else "empty"

"""The option types of numbers: whole and decimal ones, sizes, exit codes, file mode masks."""

import re
from collections.abc import Sequence

from kuber_cron.common.jobs.option_types import BadValueError, ValueType, list_schema

_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_SIZE = re.compile(r"(\d{1,19})([A-Za-z]*)", re.ASCII)
_CODES = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", re.ASCII)
_UMASK = re.compile(r"[0-7]{3}|0[0-7]{3}", re.ASCII)
_UNITS = {
    **dict.fromkeys(("", "B"), 1),
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), start=1)},
    "KB": 1000,
    # One letter means the power of two, as it does to systemd, Docker and ulimit.
    **{
        f"{letter}{suffix}": 1024**power
        for power, letter in enumerate("KMGT", start=1)
        for suffix in ("", "i", "iB")
    },
    "k": 1024,
}


def integer(lowest: int, highest: int = 999_999_999) -> ValueType:
    """Return the type of whole numbers from ``lowest`` to ``highest``."""
    signed = re.compile(r"-?\d{1,9}" if lowest < 0 else r"\d{1,9}", re.ASCII)
    span = (
        f"from {lowest} to {highest}"
        if highest < 999_999_999
        else f"of at least {lowest}, with at most 9 digits"
    )

    def parse(text: str) -> int:
        if not signed.fullmatch(text):
            raise BadValueError("is not a whole number", f"write a number {span}")
        if not lowest <= int(text) <= highest:
            raise BadValueError("is out of range", f"write a number {span}")
        return int(text)

    return ValueType(
        title="int",
        parse=parse,
        tags=frozenset({"int"}),
        schema={"type": "integer", "minimum": lowest, "maximum": highest},
    )


def number(lowest: float, highest: float) -> ValueType:
    """Return the type of decimal numbers without exponent, from ``lowest`` to ``highest``."""

    def parse(text: str) -> float:
        if not _DECIMAL.fullmatch(text):
            raise BadValueError("is not a decimal number", f"write a number from {lowest:g} to {highest:g}")
        if not lowest <= float(text) <= highest:
            raise BadValueError("is out of range", f"write a number from {lowest:g} to {highest:g}")
        return float(text)

    return ValueType(
        title=f"float, {lowest:g} to {highest:g}",
        parse=parse,
        write=lambda value: f"{value:.9f}".rstrip("0").rstrip("."),
        tags=frozenset({"int", "float"}),
        schema={"type": "number", "minimum": lowest, "maximum": highest},
    )


def _parse_size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise BadValueError("is not a size", "examples: 512MiB, 1GiB, 1048576 (bytes), 10MB (10,000,000)")
    size: int = int(found[1]) * unit
    if not 0 < size < 2**63:
        raise BadValueError("is not a possible size", "write at least 1, and less than 8 EiB")
    return size


def _write_size(size: int) -> str:
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if size % 1024**power == 0:
            return f"{size // 1024**power}{letter}iB"
    return str(size)


def _parse_codes(text: str, words: tuple[str, ...]) -> list[int | str]:
    codes: dict[int | str, None] = {}
    for item in text.split(","):
        part = item.strip(" \t")
        if part in words:
            codes[part] = None
            continue
        found = _CODES.fullmatch(part)
        if found is None or int(found[2] or found[1]) > 255:
            known = "".join(f", {word}" for word in words)
            raise BadValueError(
                "is not a list of exit codes", f"write numbers and ranges from 0 to 255{known}: 1,10-12"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise BadValueError(f"holds the range {part}, which runs backwards", f"write {last}-{first}")
        codes.update(dict.fromkeys(range(first, last + 1)))
    return list(codes)


def _write_codes(codes: Sequence[int | str]) -> str:
    """Return runs of following numbers as ranges, in the order given."""
    parts: list[str] = []
    run: list[int] = []

    def close() -> None:
        if run:
            parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
        run.clear()

    for code in codes:
        if isinstance(code, str):
            close()
            parts.append(code)
            continue
        if run and code != run[-1] + 1:
            close()
        run.append(code)
    close()
    return ",".join(parts)


def _outcomes(default_word: str | None, default: object) -> ValueType:
    """Return the type of exit codes and words; ``default_word`` undoes a ``defaults`` directive."""

    def parse(text: str) -> object:
        if default_word is not None and text == default_word:
            return list(default) if isinstance(default, list) else default
        return _parse_codes(text, ("timeout", "signal"))

    return ValueType(
        title="exit codes, ranges, timeout, signal" + (f"; or {default_word}" if default_word else ""),
        parse=parse,
        write=lambda value: (default_word or "") if not value else _write_codes(value),
        tags=frozenset({"str", "int"}),
        plural=True,
        schema=list_schema({"type": ["string", "integer"]}),
    )


def _parse_umask(text: str) -> str:
    if not _UMASK.fullmatch(text):
        raise BadValueError("is not a umask", "write three octal digits: 022")
    return text


size = ValueType(
    title="size",
    parse=_parse_size,
    write=_write_size,
    tags=frozenset({"str", "int"}),
    schema={"type": ["string", "integer"], "pattern": "^[0-9]+([kKMGT]i?B?|B)?$", "minimum": 1},
)
failures = _outcomes("any", None)
exceptions = _outcomes("none", [])
codes = ValueType(
    title="exit codes and ranges",
    parse=lambda text: _parse_codes(text, ()),
    write=_write_codes,
    tags=frozenset({"str", "int"}),
    plural=True,
    schema=list_schema({"type": ["string", "integer"]}),
)
umask = ValueType(
    title="octal digits", parse=_parse_umask, schema={"type": "string", "pattern": "^([0-7]{3}|0[0-7]{3})$"}
)

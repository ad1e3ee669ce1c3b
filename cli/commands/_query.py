"""The scaffolding of the reading commands, from the way to Redis to the terminal that they answer on.

A command gives two functions: `fetch` asks :mod:`kuber_cron.control.queries`, `render` turns the result into lines.
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from kuber_cron.cli.arguments import redis_target
from kuber_cron.cli.terminal import errors, output
from kuber_cron.cli.terminal.table import Terminal
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store

T = TypeVar("T")

NOTES = (
    "Redis is found by --redis-url or KUBER_CRON_REDIS_URL; without either, the one of a kuber-cron run that was\n"
    "started in this directory. Nothing else is needed: no job files, no signing key."
)


def run_query(
    fetch: "Callable[[Store], T]",
    render: Callable[[T, Terminal], Sequence[str]],
    *,
    redis_url: str | None,
    format_: output.Format,
    absolute: bool = False,
    watch: bool = False,
) -> int:
    """Write the result once, or draw it again and again on a terminal; return the exit status.

    Raises:
        UsageError: it cannot be watched where standard output is no terminal.
    """
    if watch and (format_ is output.Format.JSON or not sys.stdout.isatty()):
        raise UsageError("--watch draws on a terminal", hint="leave it out, and ask again for each look")
    with redis_target.store(redis_target.place(redis_url)) as store:
        if watch:
            _watch(store, fetch, render, absolute=absolute)
        with _without_garbage_collection():
            write(fetch(store), render, format_=format_, absolute=absolute)
    return errors.OK


def write(
    result: Any,
    render: Callable[[Any, Terminal], Sequence[str]],
    *,
    format_: output.Format,
    absolute: bool = False,
) -> None:
    """Write the result to stdout, for a person or for a program."""
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_document(documents.document(result))
        return
    lines = render(result, Terminal.of(sys.stdout, absolute=absolute))
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _watch(
    store: "Store",
    fetch: "Callable[[Store], T]",
    render: Callable[[T, Terminal], Sequence[str]],
    *,
    absolute: bool,
) -> NoReturn:
    from kuber_cron.cli.terminal import watch as watching
    from kuber_cron.common.observability import redaction

    def draw(terminal: Terminal) -> Sequence[str]:
        with store.translated():
            return render(fetch(store), terminal)

    line = redaction.redacted(" ".join(["kuber-cron", *sys.argv[1:]]))  # a URL may hold a password
    title = f"every {watching.INTERVAL_SECONDS:g} s, Ctrl-C ends: {output.printable(line)}"
    watching.watch(draw, sys.stdout, absolute=absolute, title=title)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Let nothing be collected in the block. An optimisation: of ten thousand jobs none is garbage before the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

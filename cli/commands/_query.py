"""Looking: what all commands that look have in common, from the way to Redis to the paper that they answer on."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

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

AbsoluteOption = Annotated[
    bool,
    typer.Option("--absolute", "-a", help="Show instants in full (UTC) instead of how far away they are."),
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Draw it anew every 2 s, until Ctrl-C.")]


def answer(
    fetch: "Callable[[Store], T]",
    render: Callable[[T, Terminal], Sequence[str]],
    *,
    redis_url: str | None,
    format_: output.Format,
    absolute: bool = False,
    watch: bool = False,
) -> int:
    """Look once and write what was seen, or again and again on a terminal; return the exit status."""
    if watch and (format_ is output.Format.JSON or not sys.stdout.isatty()):
        raise UsageError("--watch draws on a terminal", hint="leave it out, and ask again for each look")
    with redis_target.store(redis_target.place(redis_url)) as store:
        if watch:
            _watch(store, fetch, render, absolute=absolute)
        with _without_collecting():
            write(fetch(store), render, format_=format_, absolute=absolute)
    return errors.OK


def _watch(
    store: "Store",
    fetch: "Callable[[Store], T]",
    render: Callable[[T, Terminal], Sequence[str]],
    *,
    absolute: bool,
) -> NoReturn:
    from kuber_cron.cli.terminal import watch as watching
    from kuber_cron.common.observability import redaction
    from kuber_cron.common.redis_store import connections

    def draw(paper: Terminal) -> Sequence[str]:
        with connections.translated(store.client):
            return render(fetch(store), paper)

    asked = redaction.redacted(" ".join(["kuber-cron", *sys.argv[1:]]))  # a URL may hold a password
    title = f"every {watching.EVERY_SECONDS:g} s, Ctrl-C ends: {output.printable(asked)}"
    watching.watch(draw, sys.stdout, absolute=absolute, title=title)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """An optimisation: ten thousand jobs are looked at once, and nothing of them is garbage before the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def write(
    seen: Any,
    render: Callable[[Any, Terminal], Sequence[str]],
    *,
    format_: output.Format,
    absolute: bool = False,
) -> None:
    """Stdout holds what was seen, for a person or for a program."""
    if format_ is output.Format.JSON:
        from kuber_cron.control import documents

        output.write_document(documents.document(seen))
        return
    lines = render(seen, Terminal.of(sys.stdout, absolute=absolute))
    sys.stdout.write("".join(f"{line}\n" for line in lines))

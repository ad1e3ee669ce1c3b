"""``kuber-cron quarantine``: the runs that no worker could read or verify."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kuber_cron.cli import options
from kuber_cron.cli.arguments import completions, identity, redis_target
from kuber_cron.cli.command import Command
from kuber_cron.cli.commands import _query
from kuber_cron.cli.commands.retry import QUEUED
from kuber_cron.cli.terminal import errors, output, run_table
from kuber_cron.cli.terminal.table import Column, Terminal
from kuber_cron.common.errors import UsageError

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store
    from kuber_cron.control.actions.results import DroppedRun, RetriedRun
    from kuber_cron.control.queries.quarantine import Quarantined, QuarantineView

_MOST = 2000  # more than Redis keeps


class Verb(StrEnum):
    """The verbs of ``quarantine``."""

    LIST = "list"
    SHOW = "show"
    RELEASE = "release"
    DROP = "drop"


def quarantine(
    verb: Annotated[
        Verb, typer.Argument(metavar="list|show|release|drop", help="What to do.", show_default=False)
    ] = Verb.LIST,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="The run, as list names it.",
            show_default=False,
            autocompletion=completions.runs,
        ),
    ] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=_MOST, help="So many at most.")] = 30,
    absolute: options.AbsoluteOption = False,
    yes: options.YesOption = False,
    redis_url: options.RedisUrlOption = None,
    format_: options.FormatOption = output.Format.TABLE,
) -> int:
    """Look after the runs that no worker could read or verify.

    "list" names them, and "show" says what was wrong with one. "release" queues one again, for a worker to judge anew,
    with the right key now; "drop" takes one off the list.
    """
    if verb is Verb.LIST and run is not None:
        raise UsageError("list takes no run", hint=f"kuber-cron quarantine show {run}")
    if verb is not Verb.LIST and run is None:
        raise UsageError("say which run", hint="kuber-cron quarantine list names them")
    as_json = format_ is output.Format.JSON
    if verb is Verb.RELEASE and run is not None:
        return _release(run, redis_url=redis_url, as_json=as_json)
    if verb is Verb.DROP and run is not None:
        return _drop(run, yes=yes, redis_url=redis_url, as_json=as_json)
    fetch, render = _list_of(limit), _table
    if verb is Verb.SHOW and run is not None:
        fetch, render = _one(run), _sheet
    return _query.run_query(fetch, render, redis_url=redis_url, format_=format_, absolute=absolute)


def _release(run: str, *, redis_url: str | None, as_json: bool) -> int:
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions import quarantine as actions

        released = actions.release(store, run, operator=identity.operator())
    return _answer(released, f"{run}: {QUEUED[released.verdict]}", as_json=as_json)


def _drop(run: str, *, yes: bool, redis_url: str | None, as_json: bool) -> int:
    with redis_target.connected(redis_url) as store:
        from kuber_cron.control.actions import quarantine as actions

        identity.confirm(f"take {run} off the list, with what was put aside for it?", yes=yes)
        dropped = actions.drop(store, run, operator=identity.operator())
    return _answer(dropped, f"{run}: dropped", as_json=as_json)


def _answer(result: "RetriedRun | DroppedRun", line: str, *, as_json: bool) -> int:
    if as_json:
        from kuber_cron.control import documents

        output.write_document(documents.document(result))
    else:
        output.write_lines([line])
    return errors.OK


def _list_of(limit: int) -> "Callable[[Store], QuarantineView]":
    def fetch(store: "Store") -> "QuarantineView":
        from kuber_cron.control.queries import quarantine as query

        return query.quarantine(store, limit=limit)

    return fetch


def _one(run: str) -> "Callable[[Store], QuarantineView]":
    def fetch(store: "Store") -> "QuarantineView":
        from kuber_cron.control.queries import quarantine as query

        return query.quarantined(store, run)

    return fetch


def _table(view: "QuarantineView", terminal: Terminal) -> list[str]:
    if not view.runs:
        errors.complain("nothing is in quarantine")
        return []
    columns = (
        Column("RUN"),
        Column("REASON"),
        Column("WHEN"),
        Column("STATE", rank=1),
        Column("MESSAGE", rank=2),
    )
    rows = [
        [each.run, each.reason, terminal.moment(each.at, view.now), _stands(each, view), each.message]
        for each in view.runs
    ]
    if view.has_more:
        errors.complain("note: there are more: --limit shows more of them")
    return terminal.table(columns, rows)


def _sheet(view: "QuarantineView", terminal: Terminal) -> list[str]:
    each = view.runs[0]
    return terminal.pairs(
        [
            ("run", each.run),
            ("reason", each.reason),
            ("message", each.message),
            ("put there", f"{terminal.moment(each.at, view.now)}, by {each.by}"),
            ("state", _stands(each, view)),
            ("job", each.record.job if each.record is not None else ""),
        ]
    )


def _stands(each: "Quarantined", view: "QuarantineView") -> str:
    if each.is_aside:
        return "put aside: it was no run"
    return "no record" if each.record is None else run_table.state(each.record, view.now)


COMMAND = Command(
    name="quarantine",
    function=quarantine,
    summary="Look after runs that nobody could read.",
    examples=(
        ("kuber-cron quarantine list", "what is there"),
        ("kuber-cron quarantine show backup-20260329T013000Z", "what was wrong with one"),
        ("kuber-cron quarantine release backup-20260329T013000Z", "queue it again, with the right key now"),
        ("kuber-cron quarantine drop backup-20260329T013000Z", "take it off the list"),
    ),
    notes=_query.NOTES,
)

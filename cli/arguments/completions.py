"""Completions beyond words: names of jobs and runs, from Redis or from the job files on the command line.

A completion answers a keystroke: it comes within a second or not at all, and whatever goes wrong is silent.
"""

import contextlib
import os
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kuber_cron.common.redis_store.scripts import Store

_TIMEOUT_SECONDS = 0.8
_MAX_NAMES = 200  # a shell shows no more, and asks before it does


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of jobs that Redis knows and that begin so."""
    from kuber_cron.control.queries import names

    return _soon(context, lambda store: _beginning(names.jobs(store), incomplete))


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of runs that begin so, newest first for each job; none before a job's name has begun."""
    from kuber_cron.control.queries import names

    def find(store: "Store") -> list[str]:
        known = names.jobs(store)
        meant = [job for job in known if incomplete.startswith(f"{job}-") or incomplete == job]
        meant = meant or _beginning(known, incomplete)
        return meant if len(meant) > 1 else _beginning(names.runs_of(store, meant), incomplete)

    return _soon(context, find)


def jobs_of_files(incomplete: str) -> list[str]:
    """Return the names of the jobs in the files on the command line that begin so."""
    found: list[str] = []
    with contextlib.suppress(Exception):
        from kuber_cron.common.formats import loader

        found = [job.id for job in loader.load(_files_on_the_line()).jobs]
    return _beginning(found, incomplete)


def _files_on_the_line() -> list[str]:
    """Return the words so far that are paths. The parser knows no arguments yet: it stumbles over the option without a value."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return [word for word in shlex.split(line)[2:] if Path(word).exists()]


def _soon(context: typer.Context, find: "Callable[[Store], list[str]]") -> list[str]:
    """Return what is found in Redis, nothing where that takes long or fails."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(Exception):
            from kuber_cron.cli.arguments import redis_target

            with redis_target.store(redis_target.place(context.params.get("redis_url"))) as store:
                found.extend(find(store))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_TIMEOUT_SECONDS)
    return list(found)


def _beginning(known: list[str], incomplete: str) -> list[str]:
    return [name for name in known if name.startswith(incomplete)][:_MAX_NAMES]

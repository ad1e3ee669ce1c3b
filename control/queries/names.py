"""The job or run that a name means, and the names that there are, from Redis alone.

A run is named by its id, by a beginning of it that only one run has, and where a command allows it by its job: the newest
run is meant. Redis has no list of all runs. Those of a job are its open ones and its history, so a beginning has to hold
the job's name, or the beginning of one.
"""

from collections.abc import Sequence

from kuber_cron.common import suggestions
from kuber_cron.common.errors import KuberCronError
from kuber_cron.common.records.parsing import text
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.common.runs.run_id import job_of_run

_SHOWN = 5
_MANY, _NEAR = 1000, 3
_MAX_OPEN = 1000  # open runs of a job that are read
_MAX_JOBS = 50  # whose runs are read for a beginning; one that fits more jobs is ambiguous anyway


class UnknownJobError(KuberCronError):
    """No job has the name that was asked for."""

    code = "unknown-job"


class UnknownRunError(KuberCronError):
    """No run has the name that was asked for, or its record is not kept any more."""

    code = "unknown-run"


class AmbiguousRunError(KuberCronError):
    """The names of several runs begin as what was asked for."""

    code = "ambiguous-run"


def job_named(store: Store, name: str) -> str:
    """Return the name if Redis knows a job of it: by its cursor, its summary or its log.

    Raises:
        UnknownJobError: there is none; the hint names the most similar one.
    """
    client, keys = store.client, store.keys
    with client.pipeline(transaction=False) as pipe:
        pipe.hexists(keys.cursors, name)
        pipe.hexists(keys.job_summaries, name)
        pipe.exists(keys.log(name))
        if any(pipe.execute()):
            return name
    raise UnknownJobError(f'there is no job "{name}"', hint=_suggestion(name, jobs(store)))


def jobs(store: Store) -> list[str]:
    """Return the names of all jobs that have a cursor."""
    return sorted(text(job) for job in store.client.hkeys(store.keys.cursors))


def queues(store: Store) -> list[str]:
    """Return the names of all queues that RQ knows."""
    keys = store.keys
    return sorted(keys.queue_name(key) for key in store.client.smembers(keys.queues))


def run_named(store: Store, word: str, *, or_newest: bool = False, started: bool = False) -> str:
    """Return the id of the run that is meant.

    ``or_newest``: a job's name means its newest run, an open one first. ``started``: the newest that has begun, if any.

    Raises:
        UnknownRunError: there is none, or none any more.
        AmbiguousRunError: several begin so; the hint names some of them.
    """
    if store.client.exists(store.keys.run(word)):
        return word
    if or_newest and (newest := _newest(store, word, started=started)):
        return newest
    found = _beginning(store, word)
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousRunError(f'"{word}" may mean any of {len(found)} runs', hint=_list_of(found))
    raise _unknown(store, word)


def runs_of(store: Store, jobs: Sequence[str]) -> list[str]:
    """Return all runs of these jobs: the open ones of each, then its history, each part newest first."""
    with store.client.pipeline(transaction=False) as pipe:
        for job in jobs:
            pipe.zrevrange(store.keys.active(job), 0, _MAX_OPEN)
            pipe.lrange(store.keys.history(job), 0, -1)
        found = pipe.execute()
    return list(dict.fromkeys(text(run) for part in found for run in part))


def _newest(store: Store, job: str, *, started: bool) -> str | None:
    found = runs_of(store, [job])
    if started:
        with store.client.pipeline(transaction=False) as pipe:
            for run in found:
                pipe.hexists(store.keys.run(run), "attempt")
            begun = [run for run, has_begun in zip(found, pipe.execute(), strict=True) if has_begun]
        found = begun or found
    return found[0] if found else None


def _beginning(store: Store, word: str) -> list[str]:
    if not word:
        return []
    known = jobs(store)
    # Of a job that has left the files, its whole name and a part of the stamp have to be there.
    parts = [word[:place] for place, char in enumerate(word) if char == "-"]
    candidates = [*parts, *(job for job in known if job.startswith(word))][:_MAX_JOBS]
    return [run for run in runs_of(store, list(dict.fromkeys(candidates))) if run.startswith(word)]


def _unknown(store: Store, word: str) -> UnknownRunError:
    job = job_of_run(word)
    if job != word and store.client.exists(store.keys.log(job)):
        return UnknownRunError(
            f'there is no record of a run "{word}", or none any more',
            hint=f"kuber-cron runs {job} shows those that are kept; kuber-cron why {job} INSTANT what was decided",
        )
    known = jobs(store)
    if word in known:
        return UnknownRunError(f'"{word}" is a job, and no run of it is known', hint=f"kuber-cron why {word}")
    hint = _suggestion(job, known) if job != word else "kuber-cron runs shows the newest ones"
    return UnknownRunError(f'there is no run "{word}"', hint=hint)


def near(name: str, names: Sequence[str]) -> str | None:
    """Return ``did you mean backup?`` for the most similar of many names, or None where none is near."""
    found = suggestions.closest(
        name, names if len(names) <= _MANY else [each for each in names if _is_near(name, each)]
    )
    return f"did you mean {found}?" if found else None


def _suggestion(name: str, names: Sequence[str]) -> str:
    nobody = "no job is known: has a scheduler been leading with this Redis?"
    return near(name, names) or (_list_of(names) if names else nobody)


def _is_near(name: str, other: str) -> bool:
    """Return whether a name may be similar, by its length and its ends. An optimisation for thousands of names."""
    return abs(len(name) - len(other)) <= _NEAR and (
        name[:_NEAR] == other[:_NEAR] or name[-_NEAR:] == other[-_NEAR:]
    )


def _list_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"

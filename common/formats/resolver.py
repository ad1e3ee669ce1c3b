"""From jobs as they stand in files to jobs as they run: ids, names, predecessors (spec: cron.md §3).

Ids are made over all sources in name order, and before anything is computed from them: ``H`` is a function of
the id.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from kuber_cron.common import suggestions as similar
from kuber_cron.common.diagnostics import Diagnostic, Fault, in_order, shown
from kuber_cron.common.jobs import job_ids
from kuber_cron.common.jobs.job import Job, Parsed
from kuber_cron.common.jobs.time_types import localised
from kuber_cron.common.schedule import Schedule
from kuber_cron.common.suggestions import Suggestions

MAX_JOBS = 10_000
"""The most jobs of one file."""

# A search takes 3 µs for each.
_SEARCHED_NAMES = 500


@dataclass(slots=True, kw_only=True)
class ParsedJob:
    """A job whose own lines are in order; only its id and its relations to other jobs are open.

    Attributes:
        line: 1-based line of its schedule.
        text: That line.
        name: The name that its file gives it, or None.
        label: The text that its id is made of otherwise.
        about: The part that diagnostics about its relations are about.
        values: The :class:`Job` attributes that are set, its id apart.
        never: Whether its schedule can never match; None where that depends on its id.
        job: The job that it became when it was linked last: the same object again while its id is the same.
    """

    line: int
    text: str
    name: str | None
    label: str
    about: str
    values: dict[str, Any]
    never: bool | None
    job: Job | None = None


@dataclass(slots=True, kw_only=True)
class ParsedFile:
    """The content of one file.

    Attributes:
        source: Its name.
        jobs: Its jobs in file order.
        diagnostics: Everything wrong with it so far.
        lost: Names of jobs that could not be loaded, and their lines.
        suggestions: The file's budget of suggestions.
    """

    source: str
    jobs: list[ParsedJob] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    suggestions: Suggestions = field(default_factory=Suggestions)

    def report(self, fault: Fault, line: int, text: str) -> None:
        """Add a diagnostic."""
        self.diagnostics.append(fault.at(self.source, line, text))


def complete(values: dict[str, Any]) -> None:
    """Fill in what variables decide unless an option does, and fix local instants in the job's zone."""
    env = values["env"]
    if env:
        if env.get("SHELL"):
            values.setdefault("shell", env["SHELL"])
        if env.get("RANDOM_DELAY"):
            values.setdefault("random_delay_minutes", int(env["RANDOM_DELAY"]))
    for key in ("not_before", "not_after"):
        if key in values:
            values[key] = localised(values[key], ZoneInfo(values["timezone"]))


@dataclass(slots=True)
class _Candidate:
    """A job with its id, until it is loaded or refused."""

    file: ParsedFile
    parsed: ParsedJob
    id: str

    def refuse(self, code: str, message: str, hint: str | None = None) -> None:
        fault = Fault(code=code, message=message, hint=hint, about=self.parsed.about)
        self.file.report(fault, self.parsed.line, self.parsed.text)


def link(files: Sequence[ParsedFile]) -> Parsed:
    """Return the jobs of all files, ids made and relations checked, and everything wrong by file, line and column.

    ``files`` are in name order. A job that cannot be loaded is one error on its line: a duplicate of a name (its
    first holder stays), a predecessor that is unknown or not loaded itself, a cycle of predecessors (each of its
    jobs).
    """
    candidates = _named(files)
    candidates = _without_cycles(candidates)
    candidates = _with_their_predecessors(files, candidates)
    jobs = [_job(candidate) for candidate in candidates]
    _warn(candidates)
    return Parsed(jobs=jobs, diagnostics=[found for file in files for found in in_order(file.diagnostics)])


def _named(files: Sequence[ParsedFile]) -> list[_Candidate]:
    holders: dict[str, _Candidate] = {}
    kept: list[tuple[ParsedFile, ParsedJob]] = []
    for file in files:
        for parsed in file.jobs:
            kept.append((file, parsed))
            if parsed.name is not None:
                holders.setdefault(parsed.name, _Candidate(file, parsed, parsed.name))
    taken = set(holders)
    counts: dict[str, int] = {}
    candidates = []
    for file, parsed in kept:
        if parsed.name is None:
            made = job_ids.numbered(parsed.label, taken, counts)
            taken.add(made)
            candidates.append(_Candidate(file, parsed, made))
        elif holders[parsed.name].parsed is parsed:
            candidates.append(holders[parsed.name])
        else:
            first = holders[parsed.name]
            where = f"line {first.parsed.line}" + ("" if first.file is file else f" of {first.file.source}")
            _Candidate(file, parsed, parsed.name).refuse(
                "KC307",
                f"duplicate job name {shown(parsed.name)} (first used on {where})",
                "give it a name of its own",
            )
    return candidates


def _without_cycles(candidates: list[_Candidate]) -> list[_Candidate]:
    after = {
        one.id: list(filter(None, names)) for one in candidates if (names := one.parsed.values.get("after"))
    }
    cyclic = _on_cycles(after)
    if not cyclic:
        return candidates
    kept = []
    for one in candidates:
        if one.id not in cyclic:
            kept.append(one)
            continue
        way = " → ".join(cyclic[one.id][:6] + (["…"] if len(cyclic[one.id]) > 6 else []))
        one.refuse(
            "KC312", f"job {shown(one.id)} waits for itself: {way}", "take one after= out of the circle"
        )
        one.file.lost[one.id] = one.parsed.line
    return kept


def _on_cycles(after: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the ids that wait for themselves, over whatever detour, each with its circle's ids in sorted order.

    Tarjan's strongly connected components, with a stack of our own: chains may be 10,000 jobs long.
    """
    found: dict[str, list[str]] = {}
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_ids: list[str] = []
    is_open: set[str] = set()
    for root, predecessors in after.items():
        if root in number or not predecessors:
            continue
        work = [(root, iter(predecessors))]
        number[root] = low[root] = len(number)
        open_ids.append(root)
        is_open.add(root)
        while work:
            at, rest = work[-1]
            for following in rest:
                if following not in after:
                    continue
                if following not in number:
                    number[following] = low[following] = len(number)
                    open_ids.append(following)
                    is_open.add(following)
                    work.append((following, iter(after[following])))
                    break
                if following in is_open:
                    low[at] = min(low[at], number[following])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[at])
                if low[at] == number[at]:
                    _close(at, open_ids, is_open, after, found)
    return found


def _close(
    root: str,
    open_ids: list[str],
    is_open: set[str],
    after: dict[str, list[str]],
    found: dict[str, list[str]],
) -> None:
    members = [open_ids.pop()]
    while members[-1] != root:
        members.append(open_ids.pop())
    is_open.difference_update(members)
    if len(members) > 1 or root in after[root]:
        circle = sorted(members)
        found.update(dict.fromkeys(members, circle))


def _with_their_predecessors(files: Sequence[ParsedFile], candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the jobs whose predecessors are all loaded; refusing one may cost its successors their place in turn."""
    known = {one.id for one in candidates}
    lost = {name: line for file in reversed(files) for name, line in file.lost.items()}
    waiting: dict[str, list[_Candidate]] = defaultdict(list)
    for one in candidates:
        for name in one.parsed.values.get("after", ()):
            waiting[name].append(one)
    refused: set[str] = set()
    missing = [name for name in waiting if name not in known]
    while missing:
        name = missing.pop()
        for one in waiting[name]:
            if one.id in refused:
                continue
            refused.add(one.id)
            missing.append(one.id)
            if name in known or name in lost:
                one.refuse(
                    "KC309", f"job depends on {shown(name)}, which is not loaded", "mend that job first"
                )
            else:
                hint = one.file.suggestions.ask(name, "job", partial(_meant, name, one, candidates))
                one.refuse("KC309", f"job depends on unknown job {shown(name)}", hint)
    return [one for one in candidates if one.id not in refused]


def _meant(name: str, by: _Candidate, candidates: list[_Candidate]) -> str | None:
    """Return the given name that was probably meant, as a hint; not all are searched, because each takes 3 µs."""
    given = [one.id for one in candidates if one.parsed.name is not None and one is not by]
    found = similar.closest(name, given[:_SEARCHED_NAMES])
    return None if found is None else f"did you mean '{found}'?"


def _job(one: _Candidate) -> Job:
    parsed = one.parsed
    if parsed.job is None or parsed.job.id != one.id:
        parsed.job = Job(id=one.id, source=one.file.source, line=parsed.line, **parsed.values)
    return parsed.job


def _warn(candidates: Iterable[_Candidate]) -> None:
    limits: dict[str, tuple[str, int]] = {}
    for one in candidates:
        schedule = one.parsed.values["schedule"]
        is_never = one.parsed.never
        if is_never is None:
            is_never = Schedule.parse(schedule, job_id=one.id).never
        if is_never:
            message = f"job {shown(one.id)} never runs: no date matches {shown(schedule)}"
            fault = Fault(severity="warning", code="KC901", message=message, about="schedule")
            one.file.report(fault, one.parsed.line, one.parsed.text)
        group = one.parsed.values.get("group")
        if group is not None:
            name, _, limit = group.partition(":")
            first = limits.setdefault(name, (limit or "1", one.parsed.line))
            if first[0] != (limit or "1"):
                fault = Fault(
                    severity="warning",
                    code="KC916",
                    message=f"group {shown(name)} has the limit {limit or '1'} here and {first[0]} on line {first[1]}",
                    hint="write the same limit everywhere; the smallest holds",
                    about="directive",
                )
                one.file.report(fault, one.parsed.line, one.parsed.text)

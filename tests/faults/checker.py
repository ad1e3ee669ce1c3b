"""The checker: a history in, violations out (spec: reliability.md §9). Pure; it asks neither Redis nor a clock.

It imports nothing of the product. What should have been decided is worked out by arithmetic: the harness' jobs
run at the multiples of a period. The invariants' numbers are those of §9; the ones about runs are in ``runs``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.faults import runs
from tests.faults.history import BY_THE_LEADER, DECIDING, LOSSES, Entry, Fault, History, Job, Violation, stamp

# Invariant 6: where nothing is wrong, an instant is decided within this of it.
QUIET_SECONDS = 1.0
# A leader keeps Redis' time by its own interval clock between looks, and clocks drift.
EARLY_SECONDS = 0.02
# A leader reads Redis' clock now and then, and keeps it by its own in between.
CLOCK_SECONDS = 5.0
# A scheduler looks at its files each second; one that was just paused or starved has looked a little earlier.
STALE_SECONDS = 10.0


def check(history: History) -> list[Violation]:
    """Every violation of the invariants (1) to (8); none means that the promise was kept."""
    found = [
        *decisions(history),
        *epochs(history),
        *lateness(history),
        *leftovers(history),
        *metrics(history),
        *by_hand(history),
        *runs.check(history),
    ]
    if history.loses_state:
        # What was decided may be gone and decided again, by each job's policy. Never may an instant be forgotten.
        found = [one for one in found if one.kind in {"invented", "early", "limbo", "leak"}]
        found.extend(never_decided(history))
        if not history.noticed:
            found.append(Violation("unnoticed", "Redis lost writes and no scheduler said so"))
    return found


def counted(violations: Iterable[Violation]) -> dict[str, int]:
    """How many were lost, doubled and in limbo, and how many else broke a rule."""
    kinds = Counter(one.kind if one.kind in LOSSES else "other" for one in violations)
    return {kind: kinds[kind] for kind in (*LOSSES, "other")}


def occurrences(history: History) -> int:
    """How many instants were decided."""
    return sum(entry.count for entry in history.entries if entry.decision in DECIDING)


# --- 1: each instant decided exactly once --------------------------------------------------------------


def multiples(seconds: int, after: float, through: float) -> range:
    """The multiples of ``seconds`` in (after, through]: the independent generator."""
    return range((int(after) // seconds + 1) * seconds, int(through) + 1, seconds)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch of one job's log between two moves of its cursor; ``end`` None: it is the last."""

    start: int
    end: int | None
    entries: tuple[Entry, ...]


def decisions(history: History) -> Iterator[Violation]:
    """Invariant 1, job by job."""
    logs = by_job(history)
    for job in history.jobs:
        yield from _decided(job, logs.get(job.id, []), history)
    for stranger in sorted(set(logs) - {job.id for job in history.jobs}):
        yield Violation("invented", f"{stranger}: decided, and no job of the harness")


def by_job(history: History) -> dict[str, list[Entry]]:
    """The log of each job, in the order of its stream."""
    logs: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(history.entries, key=lambda entry: (entry.at, entry.seq)):
        logs[entry.job].append(entry)
    return logs


def _decided(job: Job, log: Sequence[Entry], history: History) -> Iterator[Violation]:
    segments, problems = _segments(job, log, history)
    yield from problems
    if not segments:
        if job.periods and job.periods[0].at < history.until - 2 * job.periods[0].seconds:
            yield Violation("lost", f"{job.id}: nothing was ever decided")
        return
    instants: Counter[int] = Counter()
    for segment in segments:
        found, violations = _best(job, segment, history.until)
        instants.update(found)
        yield from violations
    for at, times in sorted(instants.items()):
        if times > 1:
            for _ in range(times - 1):
                yield Violation("doubled", f"{job.id}: {stamp(at)} was decided {times} times")
    for entry in log:
        if (
            entry.run
            and entry.decision in {"queued", "held"}
            and entry.run != f"{job.id}-{stamp(entry.first)}"
        ):
            yield Violation("invented", f"{job.id}: {stamp(entry.first)} became the run {entry.run}")


def _segments(job: Job, log: Sequence[Entry], history: History) -> tuple[list[_Segment], list[Violation]]:
    """The log cut at its moves; and what is wrong with the moves themselves."""
    segments: list[_Segment] = []
    problems: list[Violation] = []
    start: int | None = None
    inside: list[Entry] = []
    for entry in log:
        if entry.decision in DECIDING:
            if start is None:
                problems.append(Violation("invented", f"{job.id}: decided before its cursor was set"))
                start = entry.first - 1
            inside.append(entry)
        elif entry.decision in {"moved", "dropped"}:
            if entry.decision == "dropped" and _was_only_out_of_sight(job, entry, history):
                problems.append(
                    Violation(
                        "lost", f"{job.id}: dropped at {stamp(entry.told_at)}, and its file had only vanished"
                    )
                )
            if start is not None:
                segments.append(_Segment(start, entry.last, tuple(inside)))
                if entry.reason == "first seen" and not history.loses_state:
                    problems.append(Violation("lost", f"{job.id}: its cursor was gone at {stamp(entry.at)}"))
            start, inside = (entry.last if entry.decision == "moved" else None), []
    if start is not None:
        segments.append(_Segment(start, None, tuple(inside)))
    return segments, problems


def _was_only_out_of_sight(job: Job, entry: Entry, history: History) -> bool:
    """Whether a job's file could not be seen when the job was dropped, and nobody had meant it to be gone."""
    at = entry.told_at
    return any(
        fault.hits == "files" and fault.began <= at <= fault.ended + STALE_SECONDS for fault in history.faults
    ) and not any(span.began <= at <= span.ended + STALE_SECONDS for span in job.out)


def _best(job: Job, segment: _Segment, until: float) -> tuple[list[int], list[Violation]]:
    """The segment judged by each schedule that it may have been decided by, and the verdict that fits best.

    The log does not say by which schedule a stretch was decided; replicas see an edit at different times, so a
    new leader may for a moment decide by the one of before.
    """
    ends = [*(period.at for period in job.periods[1:]), float("inf")]
    possible = {
        period.seconds
        for period, end in zip(job.periods, ends, strict=True)
        if period.at <= segment.start + 1 and segment.start - STALE_SECONDS <= end
    } or {period.seconds for period in job.periods}
    verdicts = [_judged(job, segment, until, seconds) for seconds in sorted(possible)]
    return min(verdicts, key=lambda verdict: len(verdict[1]))


def _judged(job: Job, segment: _Segment, until: float, seconds: int) -> tuple[list[int], list[Violation]]:
    found: list[int] = []
    problems: list[Violation] = []
    for entry in segment.entries:
        instants = (
            range(entry.first, entry.last + 1, seconds) if entry.decision == "skipped" else [entry.first]
        )
        if len(instants) != entry.count:
            problems.append(
                Violation(
                    "lost",
                    f"{job.id}: {entry.count} instants logged from {stamp(entry.first)}, {len(instants)} are",
                )
            )
        found.extend(instants)
    if any(later <= earlier for earlier, later in pairwise(found)):
        problems.append(Violation("order", f"{job.id}: instants decided out of order"))
    through = segment.end if segment.end is not None else max([until, *found])
    expected = multiples(seconds, segment.start, through)
    problems.extend(
        Violation("lost", f"{job.id}: {stamp(at)} was not decided")
        for at in sorted(set(expected) - set(found))
    )
    problems.extend(
        Violation("invented", f"{job.id}: {stamp(at)} was decided and is no instant of it")
        for at in sorted(set(found) - set(expected))
    )
    return found, problems


def never_decided(history: History) -> Iterator[Violation]:
    """After a loss of state: the instants that no decision names, neither one that was lost nor one made after it."""
    for job, log in by_job(history).items():
        periods = {period.seconds for known in history.jobs if known.id == job for period in known.periods}
        if len(periods) != 1:
            continue
        (seconds,) = periods
        decided = {at for e in log if e.decision in DECIDING for at in range(e.first, e.last + 1, seconds)}
        expected = multiples(seconds, log[0].last, history.until)
        yield from (
            Violation("lost", f"{job}: {stamp(at)} was never decided")
            for at in sorted(set(expected) - decided)
        )


# --- 3: epochs ------------------------------------------------------------------------------------------


def epochs(history: History) -> Iterator[Violation]:
    """Invariant 3: epochs never decrease in the log, and each has one holder."""
    if history.loses_state:
        return
    entries = [entry for entry in history.entries if entry.epoch and entry.decision in BY_THE_LEADER]
    holders: dict[int, set[str]] = defaultdict(set)
    for entry in entries:
        holders[entry.epoch].add(entry.by)
    for epoch, names in sorted(holders.items()):
        if len(names) > 1:
            yield Violation("epoch", f"epoch {epoch} had the holders {', '.join(sorted(names))}")
    newest, newest_at = 0, 0.0
    # Entries of one millisecond in different streams have no order between them: the smaller epoch first. Where Redis'
    # clock was moved, only each stream has one.
    across = [] if any(fault.clock for fault in history.faults) else entries
    for entry in sorted(across, key=lambda entry: (entry.at, entry.epoch)):
        if entry.epoch < newest:
            what = f"{entry.job}: epoch {entry.epoch} wrote at {entry.at:.3f}, {newest} at {newest_at:.3f}"
            yield Violation("epoch", what)
        elif entry.epoch > newest:
            newest, newest_at = entry.epoch, entry.at
    for job, log in by_job(history).items():
        of_leaders = [entry.epoch for entry in log if entry.epoch and entry.decision in BY_THE_LEADER]
        if any(later < earlier for earlier, later in pairwise(of_leaders)):
            yield Violation("epoch", f"{job}: epochs decrease in its log")


# --- 6: lateness ----------------------------------------------------------------------------------------


def disturbed(faults: Iterable[Fault]) -> list[tuple[float, float]]:
    """The stretches in which decisions may be late: each fault's life and its recovery, merged where they touch."""
    faults = sorted(faults, key=lambda fault: fault.began)
    blocking = [fault for fault in faults if fault.blocks]
    spans: list[tuple[float, float]] = []
    for fault in faults:
        if fault.recovery is None:
            continue
        began, ended = fault.began, fault.ended + fault.recovery
        for block in blocking:
            if block.began <= ended and began <= block.ended:
                ended = max(ended, block.ended + fault.recovery)
        if spans and began <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], ended))
        else:
            spans.append((began, ended))
    return spans


def late_entries(history: History) -> Iterator[tuple[Entry, float, bool]]:
    """Each deciding entry, how late it was, and whether a fault was about between its instant and its decision."""
    spans = disturbed(history.faults)
    for entry in history.entries:
        if entry.decision in DECIDING:
            excused = any(began <= entry.told_at and entry.first <= ended for began, ended in spans)
            yield entry, entry.told_at - entry.first, excused


def _ahead(faults: Iterable[Fault], at: float) -> float:
    """How far Redis' clock was ahead at ``at``, or just before: instants are decided by it, and nothing is set back."""
    return max(
        (
            fault.clock
            for fault in faults
            if fault.clock > 0 and fault.began <= at <= fault.ended + CLOCK_SECONDS
        ),
        default=0.0,
    )


def lateness(history: History) -> Iterator[Violation]:
    """Invariant 6: on time where nothing is wrong, and soon again after a fault; never before the instant."""
    spans = disturbed(history.faults)
    catchup_seconds = {job.id: job.catchup_seconds for job in history.jobs}
    for entry, late, _ in late_entries(history):
        if -late > EARLY_SECONDS + _ahead(history.faults, entry.told_at):
            yield Violation("early", f"{entry.job}: {stamp(entry.first)} was decided {-late:.3f} s early")
        if late <= QUIET_SECONDS:
            continue
        if not any(began <= entry.told_at <= ended and entry.first <= ended for began, ended in spans):
            yield Violation("late", f"{entry.job}: {stamp(entry.first)} was decided {late:.2f} s late")
        # Faults in a row may take longer than a job catches up, and a clock that jumps ahead does at once.
        is_left_out = entry.decision == "skipped" and entry.reason in {"catchup", "deadline", "limit"}
        age = entry.told_at - entry.last + _ahead(history.faults, entry.told_at)
        if is_left_out and age < catchup_seconds.get(entry.job, 0.0):
            yield Violation(
                "late",
                f"{entry.job}: {entry.count} instants from {stamp(entry.first)} were left out: {entry.reason}",
            )


# --- by hand ---------------------------------------------------------------------------------------------


def by_hand(history: History) -> Iterator[Violation]:
    """What was asked for and answered became one run, what was withdrawn or refused none, and nothing else was made."""
    made: dict[str, list[str]] = defaultdict(list)
    for entry in history.entries:
        if entry.decision == "triggered":
            made[entry.run].append(entry.job)
    unasked = set(made)
    for asked in history.asked:
        runs_of = [run for run in made if run.endswith(asked.mark)]
        unasked -= set(runs_of)
        if asked.run and runs_of != [asked.run]:
            yield Violation("lost", f"{asked.run} was answered, and {runs_of or 'nothing'} was made")
        elif not asked.run and runs_of and asked.verdict != "unheard":
            yield Violation("doubled", f"{runs_of[0]} was made, and the answer was {asked.verdict}")
    for run, jobs in sorted(made.items()):
        if len(jobs) > 1:
            yield Violation("doubled", f"{run} was made {len(jobs)} times")
    for run in sorted(unasked):
        yield Violation("invented", f"{run} was made, and nobody asked for it")


# --- 7 and 8: what is left, and what is counted -----------------------------------------------------------


def leftovers(history: History) -> Iterator[Violation]:
    """Invariant 7: no process, no descriptor, no key without expiry is left."""
    for key in history.keys:
        yield Violation("leak", f"the key {key} never expires")
    for process in history.processes:
        yield Violation("leak", f"a process is left: {process}")
    for name, (early, late) in history.descriptors.items():
        # Connections come and go with faults; what leaks grows with each of them.
        if late > 2 * early + 20:
            yield Violation("leak", f"{name} has {late} descriptors open, early on it had {early}")


def metrics(history: History) -> Iterator[Violation]:
    """Invariant 8: the counters equal the log."""
    skipped: Counter[str] = Counter()
    attempted = {final.run for final in history.finals if final.attempt}
    asked = {entry.run for entry in history.entries if entry.decision == "triggered"}
    for entry in history.entries:
        if entry.decision == "skipped":
            skipped[f"{entry.job}|{entry.reason}"] += entry.count
        elif (
            entry.decision == "ended"
            and entry.reason != "replaced"
            and entry.run not in attempted
            and entry.run not in asked
        ):
            skipped[f"{entry.job}|{entry.reason}"] += 1
        elif entry.decision == "error" and entry.run:
            skipped[f"{entry.job}|error"] += 1
    for name in sorted(set(skipped) | set(history.missed)):
        if skipped[name] != history.missed.get(name, 0):
            yield Violation(
                "metrics", f"missed {name}: {history.missed.get(name, 0)} counted, {skipped[name]} logged"
            )
    # When /metrics was read, only the suspended instants of the end went on being counted.
    exported = history.exported
    for name in sorted(set(skipped) | set(exported or ())):
        if (
            exported is not None
            and skipped[name] != exported.get(name, 0)
            and not name.endswith("|suspended")
        ):
            yield Violation(
                "metrics", f"missed {name}: {exported.get(name, 0)} exported, {skipped[name]} logged"
            )
    if history.through is not None and history.through != occurrences(history):
        yield Violation(
            "metrics", f"the fence counts {history.through} instants, the log {occurrences(history)}"
        )

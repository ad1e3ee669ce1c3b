"""The one-page report of a fault run, as Markdown."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.faults import checker
from tests.faults.history import BY_THE_LEADER, LOSSES, Fault, History, Violation

_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run was made, beside its history."""

    seed: int
    minutes: float
    election: str
    times: str
    faults: tuple[Fault, ...]
    policies: tuple[str, ...] = ()
    unasked_ends: dict[str, list[int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    shares_machine: bool = False


def last_line(history: History, violations: Sequence[Violation], run: Run) -> str:
    """What interface.md promises as the last line."""
    counts = checker.counted(violations)
    losses = f"{counts['lost']} lost, {counts['doubled']} doubled, {counts['limbo']} in limbo"
    return f"{checker.occurrences(history)} occurrences, {len(run.faults)} faults, seed {run.seed}: {losses}"


def failovers(history: History) -> Iterator[tuple[str, float]]:
    """For each leader that was ended: the fault, and the seconds from it, or from its last decision, to the next one's first.

    A leader may go on for a moment after SIGTERM, so as not to hand over within a minute's turn.
    """
    entries = sorted(
        (entry for entry in history.entries if entry.decision in BY_THE_LEADER),
        key=lambda entry: entry.told_at,
    )
    for fault in history.faults:
        if fault.hits != "leader" or fault.kind.split()[0] not in {"KILL", "STOP", "TERM"}:
            continue
        before = max((entry.epoch for entry in entries if entry.told_at <= fault.began), default=0)
        after = next(
            (entry for entry in entries if entry.told_at > fault.began and entry.epoch > before), None
        )
        last = max((entry.told_at for entry in entries if entry.epoch == before), default=0.0)
        if before and after is not None:
            seconds = after.told_at - max(fault.began, last)
            if seconds < 2 * (fault.recovery or 0.0) + 5.0:
                yield fault.kind, seconds


def markdown(history: History, violations: Sequence[Violation], run: Run) -> str:
    """The page."""
    return "\n".join(
        [
            f"# Fault run, seed {run.seed}",
            "",
            _head(history, run),
            "",
            *_faults(run),
            *_lateness(history),
            *_failovers(history),
            *_ends(run),
            *_violations(violations),
            last_line(history, violations, run),
            "",
        ]
    )


def _head(history: History, run: Run) -> str:
    policies = ", ".join(("forbid", *run.policies))
    return (
        f"{run.minutes:g} min, election {run.election}, {run.times}, policies {policies}. "
        f"{len(history.lines)} lines by commands, {len(history.finals)} runs read."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def _faults(run: Run) -> Iterator[str]:
    counts = Counter(fault.kind for fault in run.faults)
    yield "## Faults"
    yield ""
    yield (
        ", ".join(f"{kind}{f' ({count})' if count > 1 else ''}" for kind, count in sorted(counts.items()))
        or "none"
    )
    yield ""
    if run.shares_machine:
        yield "The workers share this machine, for no namespace of processes can be made: what one leaves running another ends."
        yield ""
    for kind, why in sorted(run.left_out.items()):
        yield f"Not done here: {kind} ({why})"
        yield ""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _lateness(history: History) -> Iterator[str]:
    found = list(checker.late_entries(history))
    rows = []
    for name, excused in (("quiet", False), ("around faults", True)):
        values = [max(late, 0.0) for _, late, is_excused in found if is_excused is excused]
        rows.append(
            [name, len(values), *(f"{percentile(values, share):.3f}" for share in (0.5, 0.9, 0.99, 1.0))]
        )
    yield "## Lateness of decisions, seconds"
    yield ""
    yield from _table(["", "decisions", "50 %", "90 %", "99 %", "worst"], rows)


def _failovers(history: History) -> Iterator[str]:
    by_kind: dict[str, list[float]] = {}
    for kind, seconds in failovers(history):
        by_kind.setdefault(kind, []).append(seconds)
    if not by_kind:
        return
    yield "## From a fault on the leader to the next one's first decision, seconds"
    yield ""
    rows = [
        [kind, len(values), f"{min(values):.2f}", f"{percentile(values, 0.5):.2f}", f"{max(values):.2f}"]
        for kind, values in sorted(by_kind.items())
    ]
    yield from _table(["fault", "times", "least", "middle", "most"], rows)


def _ends(run: Run) -> Iterator[str]:
    ended = {name: statuses for name, statuses in run.unasked_ends.items() if statuses}
    if ended:
        yield "Ended without being asked (and started again): " + ", ".join(
            f"{name} with {', '.join(map(str, statuses))}" for name, statuses in sorted(ended.items())
        )
        yield ""


def _violations(violations: Sequence[Violation]) -> Iterator[str]:
    yield "## Violations"
    yield ""
    if not violations:
        yield "None."
        yield ""
        return
    counts = Counter(violation.kind for violation in violations)
    yield ", ".join(
        f"{counts[kind]} {kind}" for kind in sorted(counts, key=lambda kind: (kind not in LOSSES, kind))
    )
    yield ""
    for violation in violations[:_SHOWN]:
        yield f"* {violation.kind}: {violation.what}"
    if len(violations) > _SHOWN:
        yield f"* … and {len(violations) - _SHOWN} more"
    yield ""

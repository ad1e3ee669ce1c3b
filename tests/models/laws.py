"""What must hold of Redis after every step, told from its contents alone (spec: reliability.md §4, §9).

Each law yields sentences about what breaks it. ``Facts`` is what Redis cannot know by itself: the jobs, which runs
somebody has deleted, and how runs ended whose hash may be gone by now.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.models.snapshot import OWN, UNFINISHED, Entry, Snapshot

from kuber_cron.common.jobs.job import Job
from kuber_cron.common.runs.run_id import is_manual_run
from kuber_cron.scheduler.decisions.dependencies import group_of

DECIDED = ("queued", "held", "known")
OF_RUNS = ("released", "ended", "requeued", "triggered", "stopping", "retried")
"""What the log tells of runs, by whomever; the rest is the leader's, about instants and cursors."""


@dataclass
class Facts:
    """What Redis cannot know.

    Attributes:
        minutes: For each job, how many minutes lie between its instants.
        limits: How many of each group may run at once.
        deleted: Runs whose hash somebody has deleted.
        forgotten: Those of them that had ended before: where no other job came after theirs at the time, nobody can
            tell any more how.
        unswept: Those of them that housekeeping has not looked at since.
        requeued: Runs that somebody has queued again after their end, which is nobody's decision and no overlap.
        forced: Runs that somebody has asked for, or for once more, beside whatever else goes on.
        in_line: Runs that somebody has asked for, or for once more, after whatever else goes on.
        retried: Runs that somebody has asked for once more.
        outcomes: How each run ended that has.
    """

    jobs: Mapping[str, Job]
    minutes: Mapping[str, int]
    limits: Mapping[str, int]
    deleted: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    unswept: set[str] = field(default_factory=set)
    requeued: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    in_line: set[str] = field(default_factory=set)
    retried: set[str] = field(default_factory=set)
    outcomes: dict[str, str] = field(default_factory=dict)

    def see(self, now: Snapshot) -> None:
        """Remember how runs ended."""
        for run, fields in now.runs.items():
            if fields["status"] not in UNFINISHED:
                self.outcomes[run] = fields["outcome"]


def broken(now: Snapshot, facts: Facts) -> list[str]:
    """Every law that does not hold, in a sentence each."""
    return [sentence for law in LAWS for sentence in law(now, facts)]


# --- the log ---------------------------------------------------------------------------------------


def each_instant_is_decided_once_and_in_order(now: Snapshot, facts: Facts) -> Iterator[str]:
    through = 0
    for job, entries in now.log.items():
        through += sum(entry.count for entry in entries if entry.decision in {*DECIDED, "skipped"})
        cursor = yield from _walk(entries, 60 * facts.minutes[job])
        stored = now.own("cursor").get(job)
        if (None if stored is None else int(stored.split("|")[0])) != cursor:
            yield f"the cursor of {job} is {stored}, by its log {cursor}"
    if int(now.own("fence").get("through", 0)) != through:
        yield f"{through} instants are decided, the fence says {now.own('fence').get('through', 0)}"


def _walk(entries: list[Entry], step: int) -> Generator[str, None, int | None]:
    """Follow one job's log, with instants every ``step`` seconds; where its cursor stands in the end."""
    cursor: int | None = None
    seen: set[int] = set()
    for entry in entries:
        if entry.decision == "moved":
            cursor = entry.first
        elif entry.decision == "dropped":
            cursor = None
        elif entry.decision in {*DECIDED, "skipped"}:
            due = [] if cursor is None else list(range(cursor - cursor % step + step, entry.last + 1, step))
            if not due or (due[0], due[-1], len(due)) != (entry.first, entry.last, entry.count):
                yield f"{entry} after a cursor at {cursor}: its instants are {due}"
            if not seen.isdisjoint(due):
                yield f"{entry} decides an instant again"
            seen.update(due)
            cursor = entry.last
        elif entry.decision not in OF_RUNS:
            yield f"{entry} was not to happen"
    return cursor


def epochs_never_go_back_and_have_one_holder(now: Snapshot, facts: Facts) -> Iterator[str]:
    decisions = sorted((e for entries in now.log.values() for e in entries), key=lambda e: e.id)
    holders: dict[int, str] = {}
    for entries in now.log.values():
        epochs = [entry.epoch for entry in entries]
        if epochs != sorted(epochs):
            yield f"the epochs of {entries[0].job} go back: {epochs}"
    for entry in decisions:
        if entry.decision in OF_RUNS:
            continue  # by a worker, by housekeeping or by a person
        if holders.setdefault(entry.epoch, entry.by) != entry.by:
            yield f"epoch {entry.epoch} was led by {holders[entry.epoch]} and {entry.by}"


def what_is_counted_is_what_is_logged(now: Snapshot, facts: Facts) -> Iterator[str]:
    counted = {name: int(number) for name, number in now.own("missed").items()}
    logged: dict[str, int] = {}
    for job, entries in now.log.items():
        for entry in entries:
            if entry.decision == "skipped" or (
                # A run that is removed between two attempts was not missed.
                entry.decision == "ended"
                and entry.reason not in {"replaced", "removed", "stopped"}
                and not is_manual_run(entry.run)
            ):
                name = f"{job}|{entry.reason}"
                logged[name] = logged.get(name, 0) + entry.count
    for name in counted.keys() | logged.keys():
        if not name.endswith("|removed") and counted.get(name, 0) != logged.get(name, 0):
            yield f"missed {name}: {counted.get(name, 0)} counted, {logged.get(name, 0)} logged"


# --- where runs are --------------------------------------------------------------------------------


def each_unfinished_run_is_in_exactly_one_place(now: Snapshot, facts: Facts) -> Iterator[str]:
    places = _places(now)
    for run, fields in now.unfinished.items():
        origin = fields["origin"]
        at = places.get(run, [])
        fits = {
            "queued": at == [f"queue {origin}"] or (len(at) == 1 and at[0].startswith("claims ")),
            "started": at == [f"wip {fields['execution']}"],
            "scheduled": at == [f"scheduled {origin}"],
            "deferred": at == ["held"],
        }[fields["status"]]
        if not fits:
            yield f"{run} is {fields['status']} and in {at or 'no place'}"
        if (fields["status"] == "deferred") != (run in now.named("rq:deferred:").get(origin, {})):
            yield f"{run} is {fields['status']}, RQ's registry of deferred jobs says otherwise"
    for run, at in places.items():
        # A claim of a run that has been ended is dropped at its start; a deleted run's places by who meets them.
        is_over = run not in now.unfinished and run not in facts.deleted
        if is_over and not all(place.startswith("claims ") for place in at):
            yield f"{run} is over and in {at}"


def _places(now: Snapshot) -> dict[str, list[str]]:
    """Where each run is, whatever its hash says."""
    found = [(run, "held") for run in now.own("held")]
    for place, prefix in (
        ("queue", "rq:queue:"),
        ("claims", f"{OWN}claims:"),
        ("scheduled", "rq:scheduled:"),
    ):
        for name, runs in now.named(prefix).items():
            found += [(run, f"{place} {name}") for run in runs]
    for members in now.named("rq:wip:").values():
        for member in members:
            run, _, execution = member.rpartition(":")
            found.append((run, f"wip {execution}"))
    places: dict[str, list[str]] = {}
    for run, place in found:
        places.setdefault(run, []).append(place)
    return places


def runs_are_whole(now: Snapshot, facts: Facts) -> Iterator[str]:
    for run, fields in now.runs.items():
        if not fields["created_at"] or not fields["job"]:
            yield f"of {run} there is a piece: {fields}"
        if run in facts.requeued | facts.retried:
            continue  # its attempts are counted on, its budgets begin anew
        spent = sum(int(fields[name] or 0) for name in ("retried", "lost", "interrupted"))
        attempts = int(fields["attempt"] or 0)
        if fields["status"] in UNFINISHED and attempts != spent + (fields["status"] == "started"):
            yield f"{run} is {fields['status']} in attempt {attempts}, of which {spent} were spent"
        if bool(fields["execution"]) != (fields["status"] == "started"):
            yield f"{run} is {fields['status']} and owned by {fields['execution'] or 'nobody'}"
        if fields["stop"] and fields["status"] in {"queued", "scheduled", "deferred"}:
            yield f"{run} was to stop ({fields['stop']}) and is {fields['status']}"
        job = facts.jobs[fields["job"]]
        if int(fields["retried"] or 0) > job.retries or int(fields["lost"] or 0) > job.max_lost + 1:
            yield f"{run} is beyond its budgets: {fields}"


def open_and_active_hold_the_unfinished_runs(now: Snapshot, facts: Facts) -> Iterator[str]:
    for name, found in (
        ("open", set(now.own("open"))),
        ("active", {run for runs in now.named(f"{OWN}active:").values() for run in runs}),
    ):
        for run in now.unfinished.keys() - found:
            # What a person has queued again counts from the moment at which a worker meets it.
            if run not in facts.requeued or now.unfinished[run]["status"] != "queued":
                yield f"{run} is unfinished and not in {name}"
        for run in found - now.unfinished.keys() - facts.unswept:
            yield f"{run} is in {name} and over"


def a_held_run_waits_for_something(now: Snapshot, facts: Facts) -> Iterator[str]:
    gates = now.named(f"{OWN}gates:")
    waiting = {run for runs in now.named(f"{OWN}waiting:").values() for run in runs}
    for run, fields in now.unfinished.items():
        reasons = (run in gates) + (run in waiting)
        if reasons != (fields["status"] == "deferred"):
            yield f"{run} is {fields['status']} for {reasons} reasons"
    for run in (gates.keys() | waiting) - now.unfinished.keys() - facts.unswept:
        yield f"{run} is over and waits"


def what_waits_and_what_is_waited_for_know_each_other(now: Snapshot, facts: Facts) -> Iterator[str]:
    waits = {(run, other) for run, others in now.named(f"{OWN}gates:").items() for other in others}
    lets_wait = {(run, other) for other, runs in now.named(f"{OWN}gated:").items() for run in runs}
    for run, other in waits ^ lets_wait:
        yield f"{run} waits for {other}: one of them does not know"
    for run, other in waits:
        if other not in now.unfinished and other not in facts.unswept:
            yield f"{run} waits for {other}, which is over"


# --- policies --------------------------------------------------------------------------------------


def overlap_is_as_the_job_says(now: Snapshot, facts: Facts) -> Iterator[str]:
    gates = now.named(f"{OWN}gates:")
    for name, job in facts.jobs.items():
        mine = {
            run: fields
            for run, fields in now.unfinished.items()
            if fields["job"] == name and run not in facts.requeued | facts.forced
        }
        # Who stands in line by hand is counted among those that go on, and not among those that may wait.
        alone = mine.keys() - facts.in_line
        if job.concurrency == "forbid" and len(alone) > 1:
            yield f"{name} forbids overlap: {sorted(alone)}"
        if job.concurrency in {"forbid", "queue"}:
            going = [run for run in mine if run not in gates]
            if len(going) > 1:
                yield f"{name} runs one at a time: {sorted(going)}"
        if job.concurrency == "queue" and len(alone) > job.max_running + 1:
            yield f"{name} lets {job.max_running} wait: {sorted(alone)}"
        if job.concurrency == "replace":
            staying = [run for run in alone if not mine[run]["stop"]]
            if len(staying) > 1:
                yield f"{name} replaces: {sorted(staying)}"
            if sum(fields["status"] == "started" for fields in mine.values()) > 1:
                yield f"{name} runs twice: {sorted(mine)}"


def groups_keep_to_their_limit(now: Snapshot, facts: Facts) -> Iterator[str]:
    for group, limit in facts.limits.items():
        members = set(now.own(f"group:{group}"))
        started = {
            run
            for run, fields in now.unfinished.items()
            if fields["group"] == group and fields["status"] == "started"
        }
        if len(members) > limit:
            yield f"group {group} has room for {limit}: {sorted(members)}"
        called_up = {
            run
            for run in members & now.unfinished.keys()
            if now.unfinished[run]["status"] == "queued" and now.unfinished[run]["place_at"]
        }
        if members - facts.unswept - called_up != started:
            yield f"members of group {group}: {sorted(members)}, running: {sorted(started)}"


def nothing_starts_before_its_predecessors_have_succeeded(now: Snapshot, facts: Facts) -> Iterator[str]:
    for run, fields in now.runs.items():
        if (
            fields["status"] in {"deferred", "canceled"}
            or run in facts.requeued | facts.retried
            or is_manual_run(run)
        ):
            continue
        for other in facts.jobs[fields["job"]].after:
            latest = _latest(now.log.get(other, []), int(fields["at"]))
            if latest is not None and latest.run in facts.forgotten | facts.retried:
                continue  # nobody can tell any more how it had gone then
            if latest is not None and (
                latest.decision == "skipped" or facts.outcomes.get(latest.run) != "success"
            ):
                how = facts.outcomes.get(latest.run, "open") if latest.run else latest.reason
                yield f"{run} is {fields['status']}, {latest.run or other} before it is {how}"


def _latest(entries: list[Entry], at: int) -> Entry | None:
    before = [e for e in entries if e.decision in {*DECIDED, "skipped"} and e.first <= at]
    return max(before, key=lambda e: e.first, default=None)


def no_run_is_released_after_its_deadline(now: Snapshot, facts: Facts) -> Iterator[str]:
    for job, entries in now.log.items():
        for entry in entries:
            wanted = is_manual_run(entry.run) or entry.run in facts.retried
            if entry.decision == "released" and facts.jobs[job].deadline is not None and not wanted:
                yield f"{entry}: its deadline has long passed"


def only_what_was_deleted_or_is_to_be_cancelled_ends_as_removed(now: Snapshot, facts: Facts) -> Iterator[str]:
    for job, entries in now.log.items():
        for entry in entries:
            is_removal = (entry.decision, entry.reason) == ("ended", "removed")
            if is_removal and entry.run not in facts.deleted and facts.jobs[job].on_remove != "cancel":
                yield f"{entry}: nobody has deleted it"


Law = Callable[[Snapshot, Facts], Iterator[str]]
LAWS: tuple[Law, ...] = (
    each_instant_is_decided_once_and_in_order,
    epochs_never_go_back_and_have_one_holder,
    what_is_counted_is_what_is_logged,
    each_unfinished_run_is_in_exactly_one_place,
    runs_are_whole,
    open_and_active_hold_the_unfinished_runs,
    a_held_run_waits_for_something,
    what_waits_and_what_is_waited_for_know_each_other,
    overlap_is_as_the_job_says,
    groups_keep_to_their_limit,
    nothing_starts_before_its_predecessors_have_succeeded,
    no_run_is_released_after_its_deadline,
    only_what_was_deleted_or_is_to_be_cancelled_ends_as_removed,
)

# --- when all is quiet -----------------------------------------------------------------------------

_LASTING = frozenset(
    f"{OWN}{name}"
    for name in (
        "fence",
        "cursor",
        "timing",
        "missed",
        "changed",
        "ended",
        "lost",
        "counters",
        "groups",
        "boot",
        "claims",
        "paused",
        "removed",
        "bounds",
        "acted",
        "acts",
    )
) | {"rq:queues"}
_LASTING_BY_JOB = tuple(f"{OWN}{name}:" for name in ("log", "past", "stats", "history", "sizes"))
_RQ_REGISTRIES = ("rq:finished:", "rq:failed:", "rq:canceled:")


def left_over(now: Snapshot, facts: Facts) -> list[str]:
    """Keys without expiry that nobody has documented, once every run has ended and been swept."""
    return [
        f"{key} is left: {value}"
        for key, value in now.values.items()
        if key not in now.expiring
        and key not in _LASTING
        and not key.startswith((*_LASTING_BY_JOB, *_RQ_REGISTRIES))
    ]


def limits_of(jobs: Mapping[str, Job]) -> dict[str, int]:
    """How many of each group may run: the smallest number that its jobs name."""
    found: dict[str, Any] = {}
    for job in jobs.values():
        if job.group is not None:
            name, limit = group_of(job.group)
            found[name] = min(limit, found.get(name, limit))
    return found

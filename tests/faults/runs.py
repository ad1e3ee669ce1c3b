"""The checker's second half: what became of the runs (invariants 2, 4 and 5, and the overlap policies)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.faults.history import UNFINISHED, Final, History, Job, Line, Violation, stamp

# From its decision to its end, two retries after a second and two included; the longest command takes 3 s.
ENDS_SECONDS = 10.0
_BY_THE_COMMAND = frozenset({"success", "failed"})
_MADE = frozenset({"queued", "held", "triggered"})  # the entries that make a run
# Commands tell the time in hundredths, and a kill takes a moment to arrive.
_TOUCH_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of all runs, gathered once."""

    history: History
    jobs: dict[str, Job]
    decided: dict[str, str]  # run → job
    decided_at: dict[str, float]
    never_started: dict[str, str]  # run → why it ended without starting
    finals: dict[str, Final]
    starts: dict[str, list[Line]]
    ends: dict[str, list[Line]]
    beats: dict[str, list[Line]]


def check(history: History) -> Iterator[Violation]:
    """The violations that concern runs."""
    seen = _gathered(history)
    yield from _places(history)
    for run, job in seen.decided.items():
        yield from _ended(seen, run, seen.jobs.get(job))
    yield from _commands(seen)
    yield from _pushes(seen)
    yield from _overlaps(seen)
    yield from _beside(seen)
    yield from _given_up(seen)
    yield from _chains(seen)


def _gathered(history: History) -> _Seen:
    starts: dict[str, list[Line]] = defaultdict(list)
    ends: dict[str, list[Line]] = defaultdict(list)
    beats: dict[str, list[Line]] = defaultdict(list)
    for line in history.lines:
        (beats if line.beats else starts if line.code is None else ends)[line.run].append(line)
    return _Seen(
        history,
        {job.id: job for job in history.jobs},
        {entry.run: entry.job for entry in history.entries if entry.decision in _MADE},
        {entry.run: entry.told_at for entry in history.entries if entry.decision in _MADE},
        {entry.run: entry.reason for entry in history.entries if entry.decision in {"ended", "error"}},
        {final.run: final for final in history.finals},
        starts,
        ends,
        beats,
    )


# --- 4: in exactly one place ----------------------------------------------------------------------------


def _places(history: History) -> Iterator[Violation]:
    reported: set[str] = set()
    for sighting in history.sightings:
        if sighting.status in UNFINISHED and len(sighting.places) != 1 and sighting.run not in reported:
            reported.add(sighting.run)
            where = ", ".join(sighting.places) or "nowhere"
            yield Violation("limbo", f"{sighting.run} is {sighting.status} and stands in: {where}")


# --- 5: every run ends, within its budgets, and the commands say the same ---------------------------------


def _ended(seen: _Seen, run: str, job: Job | None) -> Iterator[Violation]:
    final = seen.finals.get(run)
    if run in seen.never_started:
        if seen.starts.get(run) and seen.never_started[run] != "replaced":
            yield Violation("doubled", f"{run} ended as {seen.never_started[run]} and ran all the same")
        return
    if final is None:
        seen_last = [sighting for sighting in seen.history.sightings if sighting.run == run]
        where = (
            f"last seen {seen_last[-1].status} in {', '.join(seen_last[-1].places)}"
            if seen_last
            else "never seen"
        )
        yield Violation("lost", f"{run} was decided and has not ended: {where}")
        return
    if final.outcome == "success" and not _has_succeeded(seen, final):
        yield Violation(
            "lost", f"{run} counts as a success, and no command of its attempt {final.attempt} says so"
        )
    elif final.outcome == "failed" and not seen.starts.get(run):
        yield Violation("lost", f"{run} counts as failed, and no command of it ever started")
    if job is not None:
        yield from _budget(final, job)
        yield from _promptness(seen, final, job)
        yield from _patience(seen, final, job)


def _promptness(seen: _Seen, final: Final, job: Job) -> Iterator[Violation]:
    """A run that nothing holds back has ended soon, retries included, where no fault was about."""
    if job.concurrency != "allow" or job.group or job.after or final.run not in seen.decided_at:
        return
    began = seen.decided_at[final.run]
    ended = max((line.at for line in seen.ends.get(final.run, ())), default=began)
    calm = 2 * seen.history.ttl + 4
    if ended - began > ENDS_SECONDS + job.lasts and not any(
        fault.began <= ended and began <= fault.ended + calm for fault in seen.history.faults
    ):
        yield Violation("slow", f"{final.run} took {ended - began:.1f} s from its decision to its end")


def _patience(seen: _Seen, final: Final, job: Job) -> Iterator[Violation]:
    """The budget for lost workers is for several of them: one that is cut off must not use all of it up in a moment."""
    began = [line.at for line in seen.starts.get(final.run, ())]
    if final.outcome == "lost" and job.max_lost and began and max(began) - min(began) < seen.history.ttl:
        seconds = max(began) - min(began)
        yield Violation(
            "worn out", f"{final.run} was given up as lost: {final.attempt} attempts within {seconds:.1f} s"
        )


def _has_succeeded(seen: _Seen, final: Final) -> bool:
    return any(line.attempt == final.attempt and line.code == 0 for line in seen.ends.get(final.run, ()))


def _budget(final: Final, job: Job) -> Iterator[Violation]:
    spent = attempts_of(final)
    if final.retried > job.retries:
        yield Violation("budget", f"{final.run} was retried {final.retried} times, {job.retries} are allowed")
    if final.lost > job.max_lost + 1:
        yield Violation("budget", f"{final.run} was lost {final.lost} times, {job.max_lost} are allowed")
    if final.attempt > spent or (final.outcome in _BY_THE_COMMAND and final.attempt != spent):
        yield Violation("budget", f"{final.run} had {final.attempt} attempts, its budgets say {spent}")


def attempts_of(final: Final) -> int:
    """How many attempts a run may have had by its own accounts: one, and one for each that was queued again.

    Of a run that was given up as lost, the last loss is on the account where the leader found it, and not where the
    worker itself told of it; there this is one too many.
    """
    return 1 + final.retried + final.lost + final.interrupted


def pushes_of(final: Final) -> int:
    """How many pushes a run may have had: one for each attempt, and one if it ended while it waited for another."""
    return final.attempt + (final.status == "canceled")


def _commands(seen: _Seen) -> Iterator[Violation]:
    for run, starts in seen.starts.items():
        if run not in seen.decided:
            yield Violation("doubled", f"{run} ran, and nobody decided it")
            continue
        for attempt, times in Counter(line.attempt for line in starts).items():
            if times > 1:
                yield Violation("doubled", f"{run}: attempt {attempt} was started {times} times")
        final = seen.finals.get(run)
        if final is not None:
            for line in starts:
                if line.attempt > final.attempt:
                    yield Violation(
                        "doubled", f"{run}: attempt {line.attempt} ran, Redis knows {final.attempt}"
                    )
        successes = [line for line in seen.ends.get(run, ()) if line.code == 0]
        if final is not None and len(successes) > 1 + final.lost + final.interrupted:
            yield Violation("doubled", f"{run} succeeded {len(successes)} times without having been lost")


# --- 2: pushes ------------------------------------------------------------------------------------------


def _pushes(seen: _Seen) -> Iterator[Violation]:
    if not seen.history.pushes:
        return
    pushed = Counter(push.run for push in seen.history.pushes if not push.returned)
    for run in sorted(set(pushed) & set(seen.finals)):
        final = seen.finals[run]
        owed = pushes_of(final)
        if pushed[run] > owed:
            yield Violation("doubled", f"{run} was pushed {pushed[run]} times, {owed} were owed")
    last_heard = max(push.at for push in seen.history.pushes)
    for run, final in seen.finals.items():
        at = seen.decided_at.get(run)
        if at is None or final.outcome not in _BY_THE_COMMAND or run in seen.never_started:
            continue
        ended = max((line.at for line in seen.ends.get(run, ())), default=at)
        if any(span.began <= ended and at <= span.ended for span in seen.history.unheard) or at > last_heard:
            continue  # MONITOR may have missed one; the upper bound above holds anyway
        if pushed[run] < pushes_of(final):
            yield Violation("lost", f"{run} was pushed {pushed[run]} times, {pushes_of(final)} were owed")


# --- overlap, groups, chains ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stay:
    """A command that ran from ``began`` to ``ended``."""

    began: float
    ended: float
    run: str
    attempt: int


def _overlaps(seen: _Seen) -> Iterator[Violation]:
    stays = [stay for run in seen.starts if run in seen.decided for stay in _stays(seen, run)]
    alone: dict[str, list[_Stay]] = defaultdict(list)
    groups: dict[str, list[_Stay]] = defaultdict(list)
    limits: dict[str, int] = {}
    for stay in stays:
        alone[f"run {stay.run}"].append(stay)
        job = seen.jobs.get(seen.decided[stay.run])
        if job is not None and job.concurrency != "allow":
            alone[f"job {job.id}"].append(stay)
        if job is not None and job.group:
            groups[job.group].append(stay)
            limits[job.group] = job.group_limit
    for name, found in alone.items():
        if (at := _exceeded(found, 1)) is not None and not _excused(seen.history, at):
            yield Violation("overlap", f"{name}: two attempts ran at {at:.2f}")
    for name, found in groups.items():
        if (at := _exceeded(found, limits[name])) is not None and not _excused(seen.history, at):
            yield Violation("overlap", f"group {name}: more than {limits[name]} ran at {at:.2f}")


def _stays(seen: _Seen, run: str) -> Iterator[_Stay]:
    """The commands of a run, up to what they told last; of most of those that were killed that is their start."""
    told = {(line.attempt, line.pid): line.at for line in (*seen.beats.get(run, ()), *seen.ends.get(run, ()))}
    for line in seen.starts[run]:
        ended = told.get((line.attempt, line.pid), line.at)
        yield _Stay(line.at, max(line.at, ended - _TOUCH_SECONDS), run, line.attempt)


def _exceeded(stays: Iterable[_Stay], limit: int) -> float | None:
    """The first instant at which more than ``limit`` of them ran, None if there is none."""
    changes = sorted(
        change for stay in stays if stay.ended > stay.began for change in ((stay.began, 1), (stay.ended, -1))
    )
    running = 0
    for at, change in changes:
        running += change
        if running > limit:
            return at
    return None


def _excused(history: History, at: float) -> bool:
    """Whether a worker was paused, cut off or killed shortly before: then a command may outlive its worker's say."""
    return any(
        fault.overlaps and fault.began <= at <= fault.ended + 2 * history.ttl + 2 for fault in history.faults
    )


# --- beside each other, and given up ------------------------------------------------------------------------


def beside_seconds(ttl: float) -> float:
    """So long two attempts of one run may run beside each other, if a worker could do nothing at all when it lost one.

    Awake again it asks for at most 2 s, or hears of it with the next heartbeat; then come the kill grace of a second that
    the harness' long jobs have, and a slow machine.
    """
    return ttl / 3 + 2.0 + 1.0 + 2.0


def _beside(seen: _Seen) -> Iterator[Violation]:
    """Two attempts of one run never run beside each other without bound, whatever the fault.

    The time in which a worker was stopped counts not: nobody could end its commands.
    """
    bound = beside_seconds(seen.history.ttl)
    stops = [(fault.began, fault.ended) for fault in seen.history.faults if fault.stops]
    for run in seen.starts:
        stays = sorted(_stays(seen, run), key=lambda stay: stay.began)
        for number, one in enumerate(stays):
            for other in stays[number + 1 :]:
                seconds = _outside(other.began, min(one.ended, other.ended), stops)
                if seconds > bound:
                    yield Violation(
                        "beside",
                        f"{run}: attempts {one.attempt} and {other.attempt} ran beside each other for {seconds:.1f} s"
                        f" from {other.began:.2f}, {bound:.1f} s are allowed",
                    )


def _outside(began: float, ended: float, spans: Iterable[tuple[float, float]]) -> float:
    """The seconds from ``began`` to ``ended`` that lie in none of the spans."""
    seconds, at = 0.0, began
    for start, end in sorted(spans):
        seconds += max(0.0, min(start, ended) - at)
        at = max(at, end)
    return seconds + max(0.0, ended - at)


def _given_up(seen: _Seen) -> Iterator[Violation]:
    """No attempt is taken from a worker that was neither stopped nor cut off nor ended."""
    calm = 2 * seen.history.ttl + 4
    for run, final in seen.finals.items():
        lines = [*seen.starts.get(run, ()), *seen.beats.get(run, ()), *seen.ends.get(run, ())]
        if not (final.lost or final.outcome == "lost") or run not in seen.decided_at:
            continue
        began = seen.decided_at[run]
        ended = max((line.at for line in lines), default=began)
        if not any(
            fault.overlaps and fault.began <= ended + calm and began <= fault.ended + calm
            for fault in seen.history.faults
        ):
            yield Violation(
                "given up", f"{run} was taken from its worker, and nothing had been done to that one"
            )


def _chains(seen: _Seen) -> Iterator[Violation]:
    """A dependent starts only after each predecessor's run of the same instant has succeeded.

    The harness' chains have one period throughout, so the latest occurrence of a predecessor is the same instant's.
    """
    skipped = {
        f"{entry.job}-{stamp(at)}"
        for entry in seen.history.entries
        if entry.decision == "skipped" and entry.count == 1
        for at in (entry.first,)
    }
    for run, owner in seen.decided.items():
        job = seen.jobs.get(owner)
        if job is None or not job.after or not seen.starts.get(run):
            continue
        began = min(line.at for line in seen.starts[run])
        instant = run.removeprefix(f"{job.id}-")
        for before in (f"{predecessor}-{instant}" for predecessor in job.after):
            done = [line.at for line in seen.ends.get(before, ()) if line.code == 0]
            if before in skipped or (
                before in seen.decided and (not done or min(done) > began + _TOUCH_SECONDS)
            ):
                yield Violation("order", f"{run} started before {before} had succeeded")

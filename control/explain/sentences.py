"""The answer of ``why`` in words: a headline, and details that follow from it, by verdict. Pure.

`_SENTENCES` is the one table: each verdict has its headline and the writers of its details, in the order in which they
are read. Each skip reason brings its own phrase; `_SKIPS` has those that name facts. The headline states what became of the instant; the details
state the evidence, what the run does now, and what an operator might do next. One module, longer than others, because
then the wording of an answer is found and changed in one place.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from kuber_cron.common import time_format
from kuber_cron.common.records import skip_reason
from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.processes import Leader
from kuber_cron.common.records.run import Gate, RunRecord
from kuber_cron.common.records.skip_reason import SkipReason
from kuber_cron.common.runs.run_id import manual_prefix
from kuber_cron.control.explain.verdict import Explanation, Facts, Verdict

_LATE_SECONDS = 2.0  # below it a decision is on time: a change of leader takes a second

Headline = Callable[[Facts, datetime, Explanation], str]
Details = Callable[[Facts, datetime, Explanation], Iterator[str]]


def headline(facts: Facts, at: datetime, explanation: Explanation) -> str:
    """Return the sentence that says why the instant ``at`` has, or has not, become a run."""
    return _SENTENCES[explanation.verdict][0](facts, at, explanation)


def details(facts: Facts, at: datetime, explanation: Explanation) -> list[str]:
    """Return the sentences below the headline."""
    writers = _SENTENCES[explanation.verdict][1]
    return [sentence for write in writers for sentence in write(facts, at, explanation)]


def leaderless(leader: Leader, now: datetime) -> str | None:
    """Return a sentence that says that nobody leads; None where somebody does."""
    if leader.is_alive:
        return None
    if leader.seen_at is None:
        return "no scheduler has ever led with this Redis: is one running, with this URL and instance?"
    ago = time_format.span((now - leader.seen_at).total_seconds())
    return f"no scheduler leads now, the last sign of one ({leader.holder}) is {ago} old: nothing is decided meanwhile"


# --- headlines -----------------------------------------------------------------------------------------


def _decided(facts: Facts, at: datetime, explanation: Explanation) -> str:
    entry = explanation.entry
    if entry is None:
        return "it was queued: its run has a record, though the log of decisions no longer reaches so far"
    seconds = _lateness(facts, at, entry)
    late = f", {time_format.span(seconds)} late" if seconds >= _LATE_SECONDS else ""
    match entry.decision:
        case "known":
            return "it was queued: its run existed already when the instant was decided"
        case "skipped":
            write = _SKIPS.get(entry.reason)
            reason = write(facts, at, entry) if write else skip_reason.sentence_of(entry.reason)
            return f"it was not queued: {reason or 'no reason was written down'}"
        case "error":
            return f"it was not queued: Redis refused it ({entry.reason})"
        case "held":
            return f"it was queued, to wait{late}"
        case _:
            return f"it was queued{late}"


def _due(facts: Facts, at: datetime, _: Explanation) -> str:
    late = time_format.span((facts.now - at - facts.delay).total_seconds())
    return f"it has not been decided yet, and has been due for {late}"


def _coming(facts: Facts, at: datetime, _: Explanation) -> str:
    return f"it is to come: due in {time_format.span((at + facts.delay - facts.now).total_seconds())}"


def _before_first_seen(facts: Facts, _: datetime, explanation: Explanation) -> str:
    if explanation.seen_at is None:
        return "the job has been loaded, and no leader has decided anything about it yet"
    return f"the job was first seen later, at {facts.local(explanation.seen_at)}, and starts from then"


def _not_in_files(facts: Facts, _: datetime, explanation: Explanation) -> str:
    return f"the job was in no file then: it had been removed by {facts.local(explanation.gone_at)}"


def _too_old(facts: Facts, _: datetime, explanation: Explanation) -> str:
    if explanation.seen_at is None:
        return "nobody knows any more: nothing is left of the log of its decisions"
    return f"nobody knows any more: the log of its decisions begins at {facts.local(explanation.seen_at)}"


def _no_instant(facts: Facts, _: datetime, explanation: Explanation) -> str:
    if facts.cursor is not None and facts.cursor.schedule == "@reboot":
        return "the job runs once at each start (@reboot), and at no other instants"
    if explanation.edited_at is not None:
        edited = facts.local(explanation.edited_at)
        return f"it was no instant of the schedule in force then, which was edited at {edited}"
    if facts.cursor is None or facts.occurrences is None:
        return "it is no instant of the job's schedule"
    schedule = f"{facts.cursor.schedule} in {facts.cursor.timezone}"
    if explanation.is_outside_life:
        return f"it is outside of the job's life (not_before, not_after), though an instant of its schedule, {schedule}"
    return f"it is no instant of the job's schedule, {schedule}"


def _unrecorded(facts: Facts, _: datetime, __: Explanation) -> str:
    schedule = "" if facts.cursor is None else f", {facts.cursor.schedule} in {facts.cursor.timezone},"
    return f"it is an instant of the job's schedule{schedule} that passed without an entry in the log of its decisions"


# --- reasons of skips ----------------------------------------------------------------------------------


def _past_deadline(facts: Facts, at: datetime, entry: LogEntry) -> str:
    deadline = None if facts.summary is None else facts.summary.deadline
    allowed = "" if deadline is None else f" of {time_format.span(deadline)}"
    late = time_format.span(_lateness(facts, at, entry))
    return f"it was decided {late} after it was due, and its deadline{allowed} had passed"


def _missed(facts: Facts, at: datetime, entry: LogEntry) -> str:
    policy = "the job's catchup" if facts.summary is None else f"catchup={facts.summary.catchup}"
    late = time_format.span(_lateness(facts, at, entry))
    return f"nobody decided in time, {late} later it was a missed instant, and {policy} does not queue it"


def _too_many_missed(facts: Facts, at: datetime, entry: LogEntry) -> str:
    late = time_format.span(_lateness(facts, at, entry))
    return f"nobody decided in time, and {late} later more had been missed than max_catchup allows to queue"


def _overlap(facts: Facts, _at: datetime, _entry: LogEntry) -> str:
    summary, open_run = facts.summary, SkipReason.OVERLAP.sentence
    if summary is None or summary.concurrency == "allow":
        return open_run
    if summary.concurrency == "queue":
        return f"{open_run}, and concurrency=queue lets {summary.max_running} wait"
    return f"{open_run}, and concurrency={summary.concurrency} lets one run at a time"


def _predecessor(facts: Facts, _at: datetime, _entry: LogEntry) -> str:
    after = (
        f" ({', '.join(facts.summary.after)})" if facts.summary is not None and facts.summary.after else ""
    )
    return f"a predecessor{after} had not succeeded"


_SKIPS: Mapping[str, Callable[[Facts, datetime, LogEntry], str]] = {
    SkipReason.DEADLINE: _past_deadline,
    SkipReason.CATCHUP: _missed,
    SkipReason.LIMIT: _too_many_missed,
    SkipReason.OVERLAP: _overlap,
    SkipReason.PREDECESSOR: _predecessor,
}


def _lateness(facts: Facts, at: datetime, entry: LogEntry) -> float:
    """Return the seconds between when the instant was due and its decision."""
    return (entry.decided_at - at - facts.delay).total_seconds()


# --- details: the decision -----------------------------------------------------------------------------


def _about_decision(facts: Facts, at: datetime, explanation: Explanation) -> Iterator[str]:
    entry = explanation.entry
    if entry is None:
        return
    span = f"{facts.local(entry.first_at)} to {facts.local(entry.last_at)}"
    if not explanation.is_certain:
        yield (
            f"one decision stands for {entry.count} instants from {span}; whether this is one of them is not known, "
            "for the schedule was edited since"
        )
    elif entry.count > 1:
        yield f"so were {entry.count} instants in a row, from {span}"
    if facts.lost_at is not None and at <= facts.lost_at <= entry.decided_at:
        found = facts.local(facts.lost_at)
        yield f"Redis had lost writes, found at {found}, before this decision: an earlier one may be among them"
    before = [each for each in facts.entries if each.decided_at < entry.decided_at]
    if _lateness(facts, at, entry) >= _LATE_SECONDS and before and before[-1].epoch < entry.epoch:
        yield (
            f"epoch {entry.epoch} had begun since its last decision, which was made in epoch {before[-1].epoch}: "
            "the leader had changed"
        )
    match entry.reason:
        case SkipReason.OVERLAP:
            yield from _open_runs(facts, entry.decided_at)
        case SkipReason.SUSPENDED:
            yield from _paused_by(facts, entry.decided_at)
        case SkipReason.PREDECESSOR:
            yield from _see_predecessors(facts, at)


def _around_unrecorded(facts: Facts, at: datetime, explanation: Explanation) -> Iterator[str]:
    """Say what is known of the time of an instant without an entry."""
    if explanation.before_at is not None:
        yield f"the last instant before it that was decided is {facts.local(explanation.before_at)}"
    if explanation.after_at is not None:
        yield f"the first one after it is {facts.local(explanation.after_at)}"
    if facts.lost_at is not None and facts.lost_at >= at:
        yield f"Redis had lost writes, found at {facts.local(facts.lost_at)}"
    yield "the leader's log of that time may say what Redis refused; an entry can also have been deleted"


def _open_runs(facts: Facts, at: datetime) -> Iterator[str]:
    """Name the earlier runs that were open at that moment."""
    for run in facts.earlier_runs:
        if run.queued_at is None or run.queued_at >= at:
            continue
        if run.state != "ended" or run.ended_at is None:
            yield f"{run.run} is {run.state} still"
        elif run.ended_at > at:
            later = time_format.span((run.ended_at - at).total_seconds())
            yield f"{run.run} ended {later} later: {run.outcome}"


def _paused_by(facts: Facts, at: datetime) -> Iterator[str]:
    """Name who had paused the job, where its own log has it."""
    acts = [
        each for each in facts.entries if each.decision in {"paused", "resumed"} and each.decided_at <= at
    ]
    if acts and acts[-1].decision == "paused":
        until = f", until {acts[-1].reason}" if acts[-1].reason else ""
        yield f"{acts[-1].who or 'somebody'} had paused it at {facts.local(acts[-1].decided_at)}{until}"


def _see_predecessors(facts: Facts, at: datetime) -> Iterator[str]:
    for other in () if facts.summary is None else facts.summary.after:
        yield f"see: kuber-cron why {other} {time_format.iso(at, 'seconds')}"


def _manual_runs(facts: Facts, at: datetime, _: Explanation) -> Iterator[str]:
    """Name the runs of the instant that operators asked for."""
    start = manual_prefix(facts.job, at)
    newest = {each.run: each for each in facts.entries if each.run.startswith(start)}
    for run, entry in newest.items():
        yield f"it was run by hand: {run}" + (f", asked for by {entry.who}" if entry.who else "")


# --- details: the run ----------------------------------------------------------------------------------


def _about_run(facts: Facts, _: datetime, explanation: Explanation) -> Iterator[str]:
    run = facts.run
    if run is None:
        yield _without_record(facts, explanation.entry)
        return
    match run.state:
        case "queued":
            place = "" if facts.queue_place is None else f", place {facts.queue_place}"
            yield f"it waits for a worker in queue {run.queue}{place}"
            if facts.queue_workers == 0:
                yield f"no worker serves queue {run.queue}: start one with --queues {run.queue.removesuffix('-low')}"
        case "held":
            yield from _held(facts)
        case "running":
            elapsed = None if run.started_at is None else (facts.now - run.started_at).total_seconds()
            since = "" if elapsed is None else f" for {time_format.span(elapsed)}"
            yield f"attempt {run.attempt} has been running{since}, on {run.worker}"
        case "waiting":
            when = "" if run.next_attempt_at is None else f", due {_away(facts, run.next_attempt_at)}"
            yield f"attempt {run.attempt} has ended ({run.outcome}), and another is to come{when}"
        case "ended":
            yield _ended(facts, run)
            if run.outcome == SkipReason.PREDECESSOR and run.scheduled_at is not None:
                yield from _see_predecessors(facts, run.scheduled_at)
    if run.stop and run.state != "ended":
        yield f"it has been told to stop: {run.stop}"


def _without_record(facts: Facts, entry: LogEntry | None) -> str:
    ends = [each for each in facts.entries if entry and each.run == entry.run and each.decision == "ended"]
    if ends:
        return f"it ended as {ends[-1].reason}; its record is gone"
    return "what became of it is not known any more: its record is gone"


def _held(facts: Facts) -> Iterator[str]:
    for gate in facts.gates:
        yield f"it waits for {_gate(gate)}"
    group = facts.group
    if group is not None:
        running = ", ".join(group.running) or "none"
        yield f"it waits for room in group {group.name}, place {group.place}: {group.limit} may run at once ({running})"
    if not facts.gates and group is None:
        yield "what it waited for is over; the leader puts it in its queue within 10 s"


def _gate(gate: Gate) -> str:
    awaited = "the success of" if gate.kind == "after" else "the end of the earlier run"
    return f"{awaited} {gate.run}, which is {gate.state}"


_UNSTARTED_ENDS: Mapping[str, str] = {
    "replaced": "replaced by a later run",
    SkipReason.REMOVED: "for somebody deleted it or its job left the files",
    SkipReason.PREDECESSOR: "for a predecessor did not succeed",
    SkipReason.DEADLINE: "for its deadline passed while it was held",
}


def _ended(facts: Facts, run: RunRecord) -> str:
    when = "" if run.ended_at is None else f" {_away(facts, run.ended_at)}"
    if cause := _UNSTARTED_ENDS.get(run.outcome or ""):
        return f"it ended{when}, {cause}"
    attempts = f" after {run.attempt} attempts" if run.attempt > 1 else ""
    return f"it ended{when}{attempts}: {run.outcome}"


def _away(facts: Facts, at: datetime) -> str:
    return time_format.away((at - facts.now).total_seconds())


# --- details: what is to come --------------------------------------------------------------------------


def _about_future(facts: Facts, at: datetime, explanation: Explanation) -> Iterator[str]:
    if explanation.verdict == "before_first_seen" and explanation.seen_at is not None:
        return
    if facts.delay:
        delay = time_format.span(facts.delay.total_seconds())
        yield f"its jitter is {delay}: it is due at {facts.local(at + facts.delay)}"
    pause, summary = facts.pause, facts.summary
    if pause is not None and (pause.until is None or pause.until > at):
        until = "until it is resumed" if pause.until is None else f"until {facts.local(pause.until)}"
        yield f"{'all jobs are' if pause.of_all else 'the job is'} paused {until}: it will not be queued"
    if summary is not None and summary.suspend:
        yield "the job is suspended in its file: it will not be queued"
    if summary is not None and summary.after:
        yield f"it is decided after {', '.join(summary.after)}, and waits for their success"
    if sentence := leaderless(facts.leader, facts.now):
        yield sentence
    elif explanation.verdict == "due":
        leader = facts.leader
        yield f"{leader.holder} leads (epoch {leader.epoch}); it decides within a second, or says why not in its log"


_SENTENCES: Mapping[Verdict, tuple[Headline, tuple[Details, ...]]] = {
    "queued": (_decided, (_about_decision, _about_run, _manual_runs)),
    "held": (_decided, (_about_decision, _about_run, _manual_runs)),
    "skipped": (_decided, (_about_decision, _manual_runs)),
    "error": (_decided, (_about_decision, _manual_runs)),
    "due": (_due, (_manual_runs, _about_future)),
    "coming": (_coming, (_manual_runs, _about_future)),
    "no_instant": (_no_instant, (_manual_runs,)),
    "unrecorded": (_unrecorded, (_manual_runs, _around_unrecorded)),
    "before_first_seen": (_before_first_seen, (_manual_runs, _about_future)),
    "not_in_files": (_not_in_files, (_manual_runs,)),
    "too_old": (_too_old, (_manual_runs,)),
}

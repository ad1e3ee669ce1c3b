"""Consequences: what follows from what ``why`` has found about an instant, in further sentences. Pure."""

from collections.abc import Iterator
from datetime import datetime

from kuber_cron.common import time_format
from kuber_cron.common.records.run import RunRecord
from kuber_cron.common.runs.run_id import manual_prefix
from kuber_cron.control.explain.reasons import LATE_SECONDS, moment
from kuber_cron.control.explain.verdict import Explanation, Facts, Gate, Leader


def details(facts: Facts, at: datetime, finding: Explanation) -> list[str]:
    """What else there is to say."""
    return [
        *_about_decision(facts, at, finding),
        *_about_run(facts, finding),
        *_by_hand(facts, at),
        *_about_future(facts, at, finding),
    ]


def leaderless(leader: Leader, now: datetime) -> str | None:
    """That nobody leads, in a sentence; None where somebody does."""
    if leader.is_alive:
        return None
    if leader.seen_at is None:
        return "no scheduler has ever led with this Redis: is one running, with this URL and instance?"
    ago = time_format.span((now - leader.seen_at).total_seconds())
    return f"no scheduler leads now, the last sign of one ({leader.holder}) is {ago} old: nothing is decided meanwhile"


def _about_decision(facts: Facts, at: datetime, finding: Explanation) -> Iterator[str]:
    entry = finding.entry
    if entry is None:
        return
    if not finding.is_certain:
        yield (
            f"one decision stands for {entry.count} instants from {moment(facts, entry.first_at)} to "
            f"{moment(facts, entry.last_at)}; whether this is one of them is not known, for the schedule was edited since"
        )
    elif entry.count > 1:
        yield (
            f"so were {entry.count} instants in a row, from {moment(facts, entry.first_at)} to "
            f"{moment(facts, entry.last_at)}"
        )
    seconds = (entry.decided_at - at - facts.delay).total_seconds()
    before = [each for each in facts.entries if each.decided_at < entry.decided_at]
    if seconds >= LATE_SECONDS and before and before[-1].epoch < entry.epoch:
        yield (
            f"epoch {entry.epoch} had begun since its last decision, which was made in epoch {before[-1].epoch}: "
            "the leader had changed"
        )
    if entry.reason == "overlap":
        yield from (
            f"{run.run} {_stood(run, entry.decided_at)}" for run in _in_the_way(facts, entry.decided_at)
        )
    if entry.reason == "suspended":
        yield from _paused_by(facts, entry.decided_at)
    if entry.reason == "predecessor":
        yield from _see_predecessors(facts, at)


def _see_predecessors(facts: Facts, at: datetime) -> Iterator[str]:
    if facts.card is not None:
        yield from (
            f"see: kuber-cron why {other} {time_format.iso(at, 'seconds')}" for other in facts.card.after
        )


def _paused_by(facts: Facts, at: datetime) -> Iterator[str]:
    """Who had paused the job, where its own log says so."""
    acts = [
        each for each in facts.entries if each.decision in {"paused", "resumed"} and each.decided_at <= at
    ]
    if acts and acts[-1].decision == "paused":
        until = f", until {acts[-1].reason}" if acts[-1].reason else ""
        yield f"{acts[-1].who or 'somebody'} had paused it at {moment(facts, acts[-1].decided_at)}{until}"


def _in_the_way(facts: Facts, at: datetime) -> list[RunRecord]:
    """Which earlier runs were open at that moment."""
    return [
        run
        for run in facts.others
        if run.queued_at is not None
        and run.queued_at < at
        and (run.state != "ended" or run.ended_at is None or run.ended_at > at)
    ]


def _stood(run: RunRecord, at: datetime) -> str:
    if run.state == "ended" and run.ended_at is not None:
        return f"ended {time_format.span((run.ended_at - at).total_seconds())} later: {run.outcome}"
    return f"is {run.state} still"


def _by_hand(facts: Facts, at: datetime) -> Iterator[str]:
    """Runs of the instant that people asked for."""
    beginning = manual_prefix(facts.job, at)
    told = {each.run: each for each in facts.entries if each.run.startswith(beginning)}
    for run, entry in told.items():
        yield f"it was run by hand: {run}" + (f", asked for by {entry.who}" if entry.who else "")


def _about_run(facts: Facts, finding: Explanation) -> Iterator[str]:
    entry, run = finding.entry, facts.run
    if finding.verdict not in {"queued", "held"}:
        return
    if run is None:
        ended = [
            each for each in facts.entries if entry and each.run == entry.run and each.decision == "ended"
        ]
        yield (
            f"it ended as {ended[-1].reason}; its record is gone"
            if ended
            else "what became of it is not known any more: its record is gone"
        )
        return
    match run.state:
        case "queued":
            yield from _in_queue(facts, run)
        case "held":
            yield from _held(facts)
        case "running":
            since = (
                ""
                if run.started_at is None
                else f" for {time_format.span((facts.now - run.started_at).total_seconds())}"
            )
            yield f"attempt {run.attempt} has been running{since}, on {run.worker}"
        case "waiting":
            when = "" if run.next_attempt_at is None else f", due {_away(facts, run.next_attempt_at)}"
            yield f"attempt {run.attempt} has ended ({run.outcome}), and another is to come{when}"
        case "ended":
            yield _ended(facts, run)
            if run.outcome == "predecessor" and run.scheduled_at is not None:
                yield from _see_predecessors(facts, run.scheduled_at)
    if run.stop and run.state != "ended":
        yield f"it has been told to stop: {run.stop}"


def _in_queue(facts: Facts, run: RunRecord) -> Iterator[str]:
    place = "" if facts.queue_place is None else f", place {facts.queue_place}"
    yield f"it waits for a worker in queue {run.queue}{place}"
    if facts.queue_workers == 0:
        yield f"no worker serves queue {run.queue}: start one with --queues {run.queue.removesuffix('-low')}"


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
    what = "the success of" if gate.kind == "after" else "the end of the earlier run"
    return f"{what} {gate.run}, which is {gate.state}"


def _ended(facts: Facts, run: RunRecord) -> str:
    when = "" if run.ended_at is None else f" {_away(facts, run.ended_at)}"
    attempts = f" after {run.attempt} attempts" if run.attempt > 1 else ""
    match run.outcome:
        case "replaced":
            return f"it ended{when}, replaced by a later run"
        case "removed":
            return f"it ended{when}, for somebody deleted it or its job left the files"
        case "predecessor":
            return f"it ended{when}, for a predecessor did not succeed"
        case "deadline":
            return f"it ended{when}, for its deadline passed while it was held"
        case outcome:
            return f"it ended{when}{attempts}: {outcome}"


def _about_future(facts: Facts, at: datetime, finding: Explanation) -> Iterator[str]:
    if finding.verdict not in {"coming", "due"} and not (
        finding.verdict == "before_first_seen" and finding.seen_at is None
    ):
        return
    card = facts.card
    if facts.delay:
        yield f"its jitter is {time_format.span(facts.delay.total_seconds())}: it is due at {moment(facts, at + facts.delay)}"
    pause = facts.pause
    if pause is not None and (pause.until is None or pause.until > at):
        until = "until it is resumed" if pause.until is None else f"until {moment(facts, pause.until)}"
        yield f"{'all jobs are' if pause.of_all else 'the job is'} paused {until}: it will not be queued"
    if card is not None and card.suspend:
        yield "the job is suspended in its file: it will not be queued"
    if card is not None and card.after:
        yield f"it is decided after {', '.join(card.after)}, and waits for their success"
    if sentence := leaderless(facts.leader, facts.now):
        yield sentence
    elif finding.verdict == "due":
        yield f"{facts.leader.holder} leads (epoch {facts.leader.epoch}); it decides within a second, or says why not in its log"


def _away(facts: Facts, at: datetime) -> str:
    return time_format.away((at - facts.now).total_seconds())

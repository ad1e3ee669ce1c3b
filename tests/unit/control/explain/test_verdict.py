"""What is said about an instant, by the log, the cursor and the schedule: each case, and laws over all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.records.decision_log import LogEntry
from kuber_cron.common.records.job_state import Pause
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.records.processes import Leader
from kuber_cron.common.records.run import Gate, Group, RunRecord
from kuber_cron.common.runs.cursor import Cursor
from kuber_cron.control.explain import sentences
from kuber_cron.control.explain import verdict as why
from kuber_cron.control.explain.verdict import Facts

T0 = datetime(2026, 3, 1, tzinfo=UTC)
LEADER = Leader(holder="one", epoch=3, seen_at=T0, is_alive=True)


def minute(number):
    return T0 + timedelta(minutes=number)


def entry(decision, first, last=None, *, reason="", late=0.0, epoch=3, count=1, run=None, who=None):
    """An entry about these minutes, decided so many seconds after the last of them."""
    last = first if last is None else last
    name = f"job-{minute(first):%Y%m%dT%H%M%SZ}" if decision in {"queued", "held", "known"} else ""
    return LogEntry(
        decided_at=minute(last) + timedelta(seconds=late),
        decision=decision,
        reason=reason,
        first_at=minute(first),
        last_at=minute(last),
        count=count,
        run=name if run is None else run,
        epoch=epoch,
        by="one",
        who=who,
    )


SEEN = entry("moved", 0, reason="first seen")


def facts(*entries, cursor=60, schedule="* * * * *", now=None, **others):
    return Facts(
        **{
            "job": "job",
            "now": minute(cursor + 0.5) if now is None else now,
            "cursor": Cursor(minute(cursor), "UTC", schedule),
            "entries": (SEEN, *entries),
            "leader": LEADER,
            **others,
        }
    )


def said(known, number):
    """Verdict, the answer, and what follows."""
    at = minute(number)
    found = why.explain(known, at)
    return (
        found.verdict,
        sentences.headline(known, at, found),
        " / ".join(sentences.details(known, at, found)),
    )


def run(**told):
    return RunRecord(
        **{"run": "job-x", "job": "job", "state": "ended", "outcome": "success", "attempt": 1, **told}
    )


CASES = {
    "queued in time": (facts(entry("queued", 5)), 5, "queued", "it was queued", "record is gone"),
    "queued late": (facts(entry("queued", 5, late=12)), 5, "queued", "it was queued, 12 s late", ""),
    "after a change of leaders": (
        facts(entry("queued", 4, epoch=2), entry("queued", 5, late=12)),
        5,
        "queued",
        "12 s late",
        "epoch 3 had begun since its last decision, which was made in epoch 2: the leader had changed",
    ),
    "decided again after a loss": (
        facts(entry("queued", 5, late=12), lost_at=minute(5.1)),
        5,
        "queued",
        "it was queued, 12 s late",
        "Redis had lost writes, found at 2026-03-01 00:05:06 UTC, before this decision: an earlier one may be among them",
    ),
    "without an entry": (
        facts(entry("queued", 4), entry("queued", 7), cursor=7),
        5,
        "unrecorded",
        "it is an instant of the job's schedule, * * * * * in UTC, that passed without an entry",
        "decided is 2026-03-01 00:04:00 UTC / the first one after it is 2026-03-01 00:07:00 UTC",
    ),
    "without an entry, outside of the job's life": (
        facts(entry("queued", 7), cursor=7, summary=JobSummary(schedule="* * * * *", not_before=minute(6))),
        5,
        "no_instant",
        "",
        "",
    ),
    "without an entry, before an edit": (
        facts(entry("queued", 4), entry("moved", 6, reason="edited"), entry("queued", 7), cursor=7),
        5,
        "no_instant",
        "edited at",
        "",
    ),
    "without an entry, with a run": (
        facts(entry("queued", 4), entry("queued", 7), cursor=7, run=run()),
        5,
        "queued",
        "its run has a record",
        "",
    ),
    "the run existed": (facts(entry("known", 5)), 5, "queued", "its run existed already", ""),
    "refused by Redis": (
        facts(entry("error", 5, reason="OOM")),
        5,
        "error",
        "it was not queued: Redis refused it (OOM)",
        "",
    ),
    "overlap": (
        facts(
            entry("queued", 4),
            entry("skipped", 5, reason="overlap"),
            summary=JobSummary(schedule="* * * * *", concurrency="forbid"),
            earlier_runs=[run(run="job-4", queued_at=minute(4), ended_at=minute(7), outcome="failed")],
        ),
        5,
        "skipped",
        "an earlier run had not ended, and concurrency=forbid lets one run at a time",
        "job-4 ended 2 m 00 s later: failed",
    ),
    "overlap in line": (
        facts(
            entry("skipped", 5, reason="overlap"),
            summary=JobSummary(schedule="* * * * *", concurrency="queue", max_running=2),
            earlier_runs=[run(run="job-4", state="running", queued_at=minute(4))],
        ),
        5,
        "skipped",
        "concurrency=queue lets 2 wait",
        "job-4 is running still",
    ),
    "catch-up": (
        facts(
            entry("skipped", 5, 9, reason="catchup", late=600, count=5),
            summary=JobSummary(schedule="* * * * *", catchup="last"),
        ),
        7,
        "skipped",
        "12 m 00 s later it was a missed instant, and catchup=last does not queue it",
        "so were 5 instants in a row",
    ),
    "limit": (facts(entry("skipped", 5, reason="limit", late=99)), 5, "skipped", "max_catchup", ""),
    "deadline": (
        facts(
            entry("skipped", 5, reason="deadline", late=99),
            summary=JobSummary(schedule="* * * * *", deadline=60.0),
        ),
        5,
        "skipped",
        "it was decided 1 m 39 s after it was due, and its deadline of 1 m 00 s had passed",
        "",
    ),
    "suspended": (facts(entry("skipped", 5, reason="suspended")), 5, "skipped", "paused or suspended", ""),
    "paused by somebody": (
        facts(
            entry("paused", 3, reason="2026-03-02T00:00:00Z", run="", who="ann@desk"),
            entry("skipped", 5, reason="suspended"),
        ),
        5,
        "skipped",
        "paused or suspended",
        "ann@desk had paused it at 2026-03-01 00:03:00 UTC, until 2026-03-02T00:00:00Z",
    ),
    "suspended after a pause was ended": (
        facts(
            entry("paused", 3, run="", who="ann@desk"),
            entry("resumed", 4, run="", who="ann@desk"),
            entry("skipped", 5, reason="suspended"),
        ),
        5,
        "skipped",
        "paused or suspended",
        "",
    ),
    "state lost": (
        facts(entry("skipped", 5, reason="state_lost")),
        5,
        "skipped",
        "Redis had lost what was decided",
        "",
    ),
    "removed": (facts(entry("skipped", 5, reason="removed")), 5, "skipped", "left its files", ""),
    "predecessor": (
        facts(
            entry("skipped", 5, reason="predecessor"),
            summary=JobSummary(schedule="@after", after=("extract",)),
        ),
        5,
        "skipped",
        "a predecessor (extract) had not succeeded",
        "see: kuber-cron why extract 2026-03-01T00:05:00Z",
    ),
    "within a row of skips": (
        facts(
            entry("skipped", 4, 12, reason="catchup", late=600, count=3),
            cursor=60,
            schedule="*/4 * * * *",
        ),
        8,
        "skipped",
        "missed instant",
        "so were 3 instants in a row",
    ),
    "between the skips of a row": (
        facts(
            entry("skipped", 4, 12, reason="catchup", late=600, count=3),
            schedule="*/4 * * * *",
        ),
        6,
        "no_instant",
        "it is no instant of the job's schedule, */4 * * * * in UTC",
        "",
    ),
    "within a row of skips of a schedule since edited": (
        facts(
            entry("skipped", 4, 12, reason="catchup", late=600, count=3),
            entry("moved", 20, reason="edited"),
            schedule="*/4 * * * *",
        ),
        8,
        "skipped",
        "missed instant",
        "whether this is one of them is not known, for the schedule was edited since",
    ),
    "no instant": (
        facts(entry("queued", 5), schedule="*/5 * * * *"),
        7,
        "no_instant",
        "it is no instant",
        "",
    ),
    "no instant of what was before an edit": (
        facts(entry("queued", 5), entry("moved", 20, reason="edited")),
        7,
        "no_instant",
        "no instant of the schedule in force then, which was edited at 2026-03-01 00:20:00 UTC",
        "",
    ),
    "before it was seen": (
        facts(),
        -5,
        "before_first_seen",
        "first seen later, at 2026-03-01 00:00:00 UTC",
        "",
    ),
    "when it was seen": (facts(), 0, "before_first_seen", "starts from then", ""),
    "not seen yet": (
        facts(cursor=0, entries=(), summary=JobSummary(schedule="* * * * *")).__class__(
            job="job", now=minute(1), summary=JobSummary(schedule="* * * * *"), leader=LEADER
        ),
        5,
        "before_first_seen",
        "no leader has decided anything about it yet",
        "",
    ),
    "while it was in no file": (
        facts(
            entry("queued", 5),
            entry("dropped", 10, reason="removed"),
            entry("moved", 20, reason="first seen"),
            entry("queued", 21),
        ),
        15,
        "not_in_files",
        "it had been removed by 2026-03-01 00:10:00 UTC",
        "",
    ),
    "just as it left the files": (
        replace(facts(entry("queued", 5), entry("dropped", 10, 13, reason="removed")), cursor=None),
        10,
        "no_instant",
        "it is no instant",
        "",
    ),
    "since it left the files, and before that counted": (
        replace(facts(entry("queued", 5), entry("dropped", 10, 13, reason="removed")), cursor=None),
        12,
        "not_in_files",
        "it had been removed by 2026-03-01 00:10:00 UTC",
        "",
    ),
    "at an edit": (
        facts(entry("queued", 5), entry("moved", 20, reason="edited")),
        20,
        "no_instant",
        "no instant of the schedule in force then",
        "",
    ),
    "since it left the files": (
        replace(facts(entry("queued", 5), entry("dropped", 10, reason="removed")), cursor=None),
        15,
        "not_in_files",
        "it had been removed by",
        "",
    ),
    "before the log begins": (
        facts(entries=(entry("queued", 30), entry("queued", 31))),
        29,
        "too_old",
        "the log of its decisions begins at 2026-03-01 00:30:00 UTC",
        "",
    ),
    "before the log begins, with a record": (
        facts(entries=(entry("queued", 30),), run=run()),
        29,
        "queued",
        "its run has a record, though the log of decisions no longer reaches so far",
        "it ended: success",
    ),
    "an emptied log": (facts(entries=()), 29, "too_old", "nothing is left of the log", ""),
    "to come": (
        facts(now=minute(60.25)),
        61,
        "coming",
        "it is to come: due in 45 s",
        "",
    ),
    "to come, with jitter": (
        facts(now=minute(60.25), summary=JobSummary(schedule="* * * * *", delay=30.0)),
        61,
        "coming",
        "due in 1 m 15 s",
        "its jitter is 30 s: it is due at 2026-03-01 00:01:30 UTC".replace("00:01:30", "01:01:30"),
    ),
    "due only after its jitter": (
        facts(now=minute(61.25), summary=JobSummary(schedule="* * * * *", delay=30.0)),
        61,
        "coming",
        "due in 15 s",
        "",
    ),
    "to come, paused": (
        facts(now=minute(60), pause=Pause(until=None)),
        61,
        "coming",
        "due in",
        "the job is paused until it is resumed: it will not be queued",
    ),
    "to come, all paused for a while": (
        facts(now=minute(60), pause=Pause(until=minute(90), of_all=True)),
        61,
        "coming",
        "due in",
        "all jobs are paused until 2026-03-01 01:30:00 UTC",
    ),
    "to come, after a pause": (
        facts(now=minute(60), pause=Pause(until=minute(61))),
        62,
        "coming",
        "due in",
        "",
    ),
    "to come, suspended": (
        facts(now=minute(60), summary=JobSummary(schedule="* * * * *", suspend=True)),
        61,
        "coming",
        "due in",
        "suspended in its file",
    ),
    "to come after others": (
        facts(now=minute(60), summary=JobSummary(schedule="@after", after=("a", "b"))),
        61,
        "coming",
        "due in",
        "it is decided after a, b",
    ),
    "outside of its life": (
        facts(now=minute(60), summary=JobSummary(schedule="* * * * *", not_after=minute(61))),
        62,
        "no_instant",
        "outside of the job's life",
        "",
    ),
    "due and not decided": (
        facts(now=minute(61) + timedelta(seconds=3)),
        61,
        "due",
        "it has not been decided yet, and has been due for 3 s",
        "one leads (epoch 3)",
    ),
    "due, and nobody leads": (
        facts(now=minute(62), leader=Leader(holder="one", epoch=3, seen_at=minute(58))),
        61,
        "due",
        "has been due for 1 m 00 s",
        "no scheduler leads now, the last sign of one (one) is 4 m 00 s old",
    ),
    "due, and nobody has ever led": (
        facts(now=minute(62), leader=Leader()),
        61,
        "due",
        "due for",
        "no scheduler has ever led with this Redis",
    ),
    "a job of each start": (facts(schedule="@reboot"), 70, "no_instant", "once at each start (@reboot)", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_each_case_has_its_verdict_its_sentence_and_what_follows(name):
    known, number, verdict, sentence, detail = CASES[name]
    found = said(known, number)
    assert found[0] == verdict
    assert sentence in found[1]
    assert detail in found[2]


RUNS = {
    "in its queue": (
        {"run": run(state="queued", queue="batch"), "queue_place": 3, "queue_workers": 2},
        "it waits for a worker in queue batch, place 3",
    ),
    "where nobody serves the queue": (
        {"run": run(state="queued", queue="batch-low"), "queue_workers": 0},
        "no worker serves queue batch-low: start one with --queues batch",
    ),
    "held for a predecessor": (
        {"run": run(state="held"), "gates": (Gate(run="extract-1", kind="after", state="running"),)},
        "it waits for the success of extract-1, which is running",
    ),
    "held in line": (
        {"run": run(state="held"), "gates": (Gate(run="job-4", kind="line", state="queued"),)},
        "it waits for the end of the earlier run job-4, which is queued",
    ),
    "held for its group": (
        {"run": run(state="held"), "group": Group(name="db", limit=1, running=("a-1",), place=2)},
        "it waits for room in group db, place 2: 1 may run at once (a-1)",
    ),
    "held by nothing any more": ({"run": run(state="held")}, "what it waited for is over"),
    "running": (
        {"run": run(state="running", attempt=2, started_at=minute(60), worker="w")},
        "attempt 2 has been running for 30 s, on w",
    ),
    "told to stop": (
        {"run": run(state="running", stop="stopped")},
        "it has been told to stop: stopped",
    ),
    "between attempts": (
        {"run": run(state="waiting", outcome="failed", next_attempt_at=minute(61))},
        "attempt 1 has ended (failed), and another is to come, due in 30 s",
    ),
    "over": ({"run": run(attempt=3, outcome="timed_out")}, "it ended after 3 attempts: timed_out"),
    "replaced": ({"run": run(outcome="replaced")}, "replaced by a later run"),
    "removed": ({"run": run(outcome="removed")}, "somebody deleted it"),
    "without its predecessor": (
        {
            "run": run(outcome="predecessor", scheduled_at=minute(5)),
            "summary": JobSummary(schedule="@after", after=("extract",)),
        },
        "a predecessor did not succeed / see: kuber-cron why extract 2026-03-01T00:05:00Z",
    ),
    "over its deadline": ({"run": run(outcome="deadline")}, "its deadline passed while it was held"),
}


@pytest.mark.parametrize("name", RUNS)
def test_what_became_of_the_run_follows(name):
    told, sentence = RUNS[name]
    assert sentence in said(facts(entry("queued", 5), **told), 5)[2]


def test_a_pause_does_not_hold_up_the_instant_at_which_it_ends():
    known = facts(now=minute(60), pause=Pause(until=minute(61)))
    assert "paused" not in said(known, 61)[2]
    assert "paused" in said(replace(known, pause=Pause(until=minute(61.1))), 61)[2]


def test_a_run_whose_record_is_gone_ended_as_the_log_says():
    name = "job-20260301T000500Z"
    known = facts(entry("held", 5), entry("ended", 5, reason="predecessor", run=name))
    assert "it ended as predecessor; its record is gone" in said(known, 5)[2]


def test_a_run_by_hand_is_told_beside_and_decides_nothing():
    by_hand = entry("triggered", 5, run="job-20260301T000500Z-m01234567", who="ann@desk")
    verdict, _, details = said(facts(entry("skipped", 5, reason="suspended"), by_hand), 5)
    assert verdict == "skipped"
    assert "run by hand: job-20260301T000500Z-m01234567, asked for by ann@desk" in details
    assert said(facts(by_hand, schedule="*/2 * * * *"), 5)[0] == "no_instant"


def test_the_nearest_instants_are_those_of_the_schedule_in_force_then():
    known = facts(entry("queued", 10), entry("queued", 20), entry("moved", 30, reason="edited"))
    found = why.explain(known, minute(15))
    assert (found.before_at, found.after_at) == (minute(10), minute(20))
    found = why.explain(facts(schedule="*/5 * * * *"), minute(62))
    assert (found.before_at, found.after_at) == (minute(60), minute(65))


# --- laws ----------------------------------------------------------------------------------------------

REASONS = st.sampled_from(["deadline", "catchup", "overlap", "suspended", "limit", "predecessor", "removed"])


@st.composite
def histories(draw):
    """A log as the scripts write it, of a schedule of each N minutes: every instant up to the cursor is in it once."""
    every = draw(st.sampled_from([1, 2, 5]))
    entries, instants, at = [SEEN], {}, 0
    for _ in range(draw(st.integers(0, 12))):
        length = draw(st.integers(1, 3))
        numbers = [every * (at // every + 1 + i) for i in range(length)]
        decision = draw(st.sampled_from(["queued", "held", "skipped", "error"]))
        if decision == "skipped":
            reason = draw(REASONS)
            entries.append(entry("skipped", numbers[0], numbers[-1], reason=reason, count=length, late=1))
        else:
            numbers = numbers[:1]
            entries.append(entry(decision, numbers[0], reason="x" if decision == "error" else ""))
        instants |= dict.fromkeys(numbers, decision)
        at = numbers[-1]
    kept = draw(st.integers(0, len(entries)))
    schedule = f"*/{every} * * * *" if every > 1 else "* * * * *"
    known = facts(entries=tuple(entries[-kept:]) if kept else (), cursor=at, schedule=schedule)
    return known, instants, at, every


@given(histories(), st.integers(-3, 80))
def test_every_instant_has_the_answer_that_its_history_says(history, number):
    known, instants, cursor, every = history
    verdict, sentence, details = said(known, number)
    assert verdict in get_args(why.Verdict)
    assert sentence
    assert "None" not in sentence + details
    covered = [each for each in known.entries if each.is_occurrence and each.covers(minute(number))]
    if number > cursor:
        is_instant = number % every == 0
        assert verdict == ("coming" if is_instant else "no_instant")
    elif covered and number in instants:
        assert verdict == instants[number]
    elif not known.entries:
        assert verdict == "too_old"
    elif verdict == "no_instant":
        assert number % every or number not in instants
    else:
        assert verdict in {"before_first_seen", "too_old"}
        assert minute(number) <= known.entries[0].first_at


@given(histories(), st.integers(-3, 80), st.integers(0, 1))
def test_asking_later_never_changes_what_was_decided(history, number, alive):
    known, instants, cursor, _ = history
    later = replace(known, now=known.now + timedelta(days=3), leader=replace(LEADER, is_alive=bool(alive)))
    if number <= cursor:
        assert why.explain(later, minute(number)).verdict == why.explain(known, minute(number)).verdict
    assert instants.keys() <= set(range(1, cursor + 1))

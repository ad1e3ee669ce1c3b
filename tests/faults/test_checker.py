"""The checker itself: it accepts what a correct scheduler may do, and each single mistake is caught."""

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faults import checker
from tests.faults.good import START, good
from tests.faults.history import Asked, Entry, Fault, History, Line, Push, Sighting, Span, stamp

SEEDS = st.integers(0, 10**6)


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in checker.check(history)}


@settings(max_examples=60)
@given(seed=SEEDS)
def test_a_history_without_a_mistake_is_accepted(seed):
    assert checker.check(good(seed)) == []


def test_a_saved_history_is_judged_as_before(tmp_path):
    history = replace(good(), keys=("rq:job:x",), unheard=(Span(began=1.0, ended=2.0),))
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == history


def test_the_independent_generator_counts_multiples_after_one_end_and_through_the_other():
    assert list(checker.multiples(5, 10, 20)) == [15, 20]
    assert list(checker.multiples(60, 59.9, 120.5)) == [60, 120]
    assert list(checker.multiples(2, 20, 20)) == []


# --- one mistake each -----------------------------------------------------------------------------------

Mistake = Callable[[History, random.Random], History]


def a_queued(history: History, rng: random.Random, job: str = "tick") -> Entry:
    """Some queued entry with decisions before and after it."""
    return rng.choice([e for e in history.entries if e.job == job and e.decision == "queued"][2:-3])


def without(history: History, entry: Entry) -> History:
    return replace(history, entries=tuple(e for e in history.entries if e is not entry))


def instead(history: History, entry: Entry, **changes: object) -> History:
    changed = replace(entry, **changes)  # type: ignore[arg-type] # names are Entry's
    return replace(history, entries=tuple(changed if e is entry else e for e in history.entries))


def and_then(history: History, entry: Entry) -> History:
    return replace(history, entries=(*history.entries, entry))


def a_decision_is_dropped(history, rng):
    return without(history, a_queued(history, rng))


def the_last_decisions_are_missing(history, rng):
    return replace(
        history,
        entries=tuple(e for e in history.entries if e.job != "tick" or e.first < history.until - 3),
    )


def a_decision_is_logged_twice(history, rng):
    entry = a_queued(history, rng)
    return and_then(history, replace(entry, at=entry.at + 0.01, seq=10**6))


def an_instant_is_queued_and_skipped(history, rng):
    entry = a_queued(history, rng)
    return and_then(
        history, replace(entry, at=entry.at + 0.01, seq=10**6, decision="skipped", reason="overlap", run="")
    )


def a_skip_counts_more_than_it_spans(history, rng):
    entry = a_queued(history, rng, "alone")
    return instead(history, entry, decision="skipped", reason="overlap", run="", count=2)


def an_instant_is_invented(history, rng):
    entry = next(e for e in history.entries if e.job == "minute" and e.decision == "queued")
    return and_then(
        history, replace(entry, first=entry.first + 7, last=entry.first + 7, at=entry.at + 7, run=f"minute-{stamp(entry.first + 7)}")
    )  # fmt: skip


def an_edit_loses_the_seconds_around_it(history, rng):
    moved = next(e for e in history.entries if e.job == "edited" and e.reason == "edited")
    return instead(history, moved, first=moved.first + 4, last=moved.last + 4)


def every_other_instant_is_left_out(history, rng):
    # As if the edit to every other second had been there from the beginning.
    moved = next(e for e in history.entries if e.job == "edited" and e.reason == "edited")
    early = [
        e for e in history.entries if e.job == "edited" and e.first % 2 and START + 2 < e.first < moved.first
    ]
    return replace(history, entries=tuple(e for e in history.entries if e not in early))


def a_cursor_is_gone(history, rng):
    entry = a_queued(history, rng)
    return and_then(
        history,
        replace(entry, decision="moved", reason="first seen", run="", seq=-1, first=entry.first - 1, last=entry.first - 1, count=0),
    )  # fmt: skip


def a_run_has_another_instants_id(history, rng):
    entry = a_queued(history, rng)
    return instead(history, entry, run=f"tick-{stamp(entry.first + 1)}")


def epochs_are_swapped(history, rng):
    log = sorted((e for e in history.entries if e.job == "tick"), key=lambda e: (e.at, e.seq))
    early, late = log[0], log[-1]
    return instead(instead(history, early, epoch=late.epoch + 1), late, epoch=early.epoch)


def an_old_leader_writes_once_more(history, rng):
    last = max((e for e in history.entries if e.decision == "queued"), key=lambda e: e.at)
    first = min(history.entries, key=lambda e: e.at)
    return instead(history, last, epoch=first.epoch - 1, by="an old one")


def one_epoch_has_two_holders(history, rng):
    return instead(history, a_queued(history, rng), by="somebody else")


def a_push_too_many(history, rng):
    push = rng.choice(history.pushes)
    return replace(history, pushes=(*history.pushes, replace(push, returned=False)))


def a_push_is_missing(history, rng):
    return replace(history, pushes=history.pushes[2:])


def a_run_in_two_places(history, rng):
    seen = replace(rng.choice(history.sightings), places=("queue:default", "claims:worker-1"))
    return replace(history, sightings=(*history.sightings, seen))


def a_run_in_no_place(history, rng):
    seen = Sighting(at=START + 9.0, run=a_queued(history, rng).run, status="queued", places=())
    return replace(history, sightings=(*history.sightings, seen))


def a_late_decision(history, rng):
    entry = next(e for e in history.entries if e.job == "tick" and e.first == START + 10)
    return instead(history, entry, at=entry.first + 1.6)


def a_decision_ahead_of_its_instant(history, rng):
    entry = a_queued(history, rng)
    return instead(history, entry, at=entry.first - 1.5)


def instants_left_out_for_being_late(history, rng):
    # In place of the run that a leader's fault has made late.
    entry = next(e for e in history.entries if e.job == "tick" and e.first == START + 22)
    history = instead(history, entry, decision="skipped", reason="catchup", run="", at=START + 24.5)
    return replace(history, missed={**history.missed, "tick|catchup": 1})


def a_missing_command_line(history, rng):
    run = a_queued(history, rng).run
    return replace(history, lines=tuple(line for line in history.lines if line.run != run))


def a_command_that_never_told_its_end(history, rng):
    run = a_queued(history, rng).run
    return replace(history, lines=tuple(e for e in history.lines if e.run != run or e.code is None))


def an_attempt_runs_twice(history, rng):
    line = rng.choice([line for line in history.lines if line.code is None and not line.beats])
    return replace(history, lines=(*history.lines, replace(line, pid=99, at=line.at + 3)))


def an_attempt_that_redis_does_not_know(history, rng):
    line = rng.choice([line for line in history.lines if line.code is None and not line.beats])
    return replace(history, lines=(*history.lines, replace(line, attempt=line.attempt + 7)))


def a_run_that_nobody_decided(history, rng):
    run = f"tick-{stamp(START + 7)}-m00000000"
    line = Line(job="tick", run=run, attempt=1, pid=5, at=START + 7.0)
    return replace(history, lines=(*history.lines, line))


def a_second_success_without_a_loss(history, rng):
    final = rng.choice([f for f in history.finals if f.job == "again" and not f.lost])
    end = next(line for line in history.lines if line.run == final.run and line.code == 0)
    return replace(history, lines=(*history.lines, replace(end, attempt=1, at=end.at + 0.3)))


def with_final(history, final, **changes):
    changed = replace(final, **changes)
    return replace(history, finals=tuple(changed if f is final else f for f in history.finals))


def an_attempt_beyond_the_retries(history, rng):
    final = rng.choice([f for f in history.finals if f.job == "again"])
    return with_final(history, final, retried=3, attempt=final.attempt + 2)


def an_attempt_beyond_the_lost(history, rng):
    final = rng.choice([f for f in history.finals if f.job == "tick"])
    return with_final(history, final, lost=5, attempt=final.attempt + 5)


def an_attempt_on_nobodys_account(history, rng):
    final = rng.choice(history.finals)
    return with_final(history, final, attempt=final.attempt + 1)


def a_run_without_an_end(history, rng):
    run = a_queued(history, rng).run
    return replace(history, finals=tuple(f for f in history.finals if f.run != run))


def a_removed_run_that_ran(history, rng):
    entry = a_queued(history, rng)
    return and_then(
        history, replace(entry, decision="ended", reason="removed", at=entry.at + 0.01, seq=10**6)
    )


def two_runs_of_a_job_that_forbids_it(history, rng):
    one, two = [line for line in history.lines if line.job == "alone" and line.code == 0][3:5]
    return replace(
        history, lines=tuple(replace(e, at=two.at + 0.2) if e is one else e for e in history.lines)
    )


def more_of_a_group_than_its_limit(history, rng):
    one, two = [line for line in history.lines if line.job == "pool-a" and line.code == 0][3:5]
    return replace(
        history, lines=tuple(replace(e, at=two.at + 0.2) if e is one else e for e in history.lines)
    )


def a_dependent_before_its_predecessor(history, rng):
    ends = [line for line in history.lines if line.job == "first" and line.code == 0]
    late = ends[5]
    return replace(history, lines=tuple(replace(e, at=e.at + 2) if e is late else e for e in history.lines))


def a_dependent_of_a_failed_predecessor(history, rng):
    end = [line for line in history.lines if line.job == "first" and line.code == 0][5]
    final = next(f for f in history.finals if f.run == end.run)
    history = with_final(history, final, status="failed", outcome="failed")
    return replace(history, lines=tuple(replace(e, code=1) if e is end else e for e in history.lines))


def a_trigger_that_nobody_made(history, rng):
    ask = Asked(
        job="tick",
        at=START + 20.0,
        mark="-m00000000",
        verdict="queued",
        run=f"tick-{stamp(START + 20)}-m00000000",
    )
    return replace(history, asked=(*history.asked, ask))


def a_trigger_that_was_withdrawn_and_made(history, rng):
    one = next(e for e in history.entries if e.job == "tick" and e.decision == "queued")
    ask = Asked(job="tick", at=START + 20.0, mark="-m00000000", verdict="withdrawn")
    made = replace(
        one, decision="triggered", run=f"tick-{stamp(START + 20)}-m00000000", at=START + 20.0, seq=10**6
    )
    return replace(and_then(history, made), asked=(*history.asked, ask))


def a_trigger_that_was_made_twice(history, rng):
    one = next(e for e in history.entries if e.job == "tick" and e.decision == "queued")
    run = f"tick-{stamp(START + 20)}-m00000000"
    made = [replace(one, decision="triggered", run=run, at=START + 20.0, seq=10**6 + n) for n in range(2)]
    ask = Asked(job="tick", at=START + 20.0, mark="-m00000000", verdict="queued", run=run)
    return replace(history, entries=(*history.entries, *made), asked=(*history.asked, ask))


def a_run_that_nobody_asked_for(history, rng):
    one = next(e for e in history.entries if e.job == "tick" and e.decision == "queued")
    run = f"tick-{stamp(START + 20)}-m00000000"
    return and_then(history, replace(one, decision="triggered", run=run, at=START + 20.0, seq=10**6))


def a_key_without_expiry(history, rng):
    return replace(history, keys=("rq:execution:tick-20270115T080000Z:0a0b",))


def a_process_that_is_left(history, rng):
    return replace(history, processes=("sh job.sh tick",))


def descriptors_that_grow(history, rng):
    return replace(history, descriptors={"scheduler-1": (20, 140)})


def a_counter_that_disagrees(history, rng):
    name = rng.choice(sorted(history.missed))
    return replace(history, missed={**history.missed, name: history.missed[name] + 1})


def a_skip_that_nobody_counted(history, rng):
    return replace(history, missed={})


def a_fence_that_counts_less(history, rng):
    return replace(history, through=(history.through or 0) - 1)


def a_scrape_that_disagrees(history, rng):
    name = rng.choice([name for name in sorted(history.missed) if name.endswith("|overlap")])
    return replace(history, exported={**history.missed, name: 0})


def a_run_that_takes_for_ever(history, rng):
    line = next(e for e in history.lines if e.job == "tick" and e.code == 0)
    return replace(history, lines=tuple(replace(e, at=e.at + 11) if e is line else e for e in history.lines))


def a_second_attempt(history: History, seconds: float) -> History:
    """A worker believes in an attempt for ``seconds`` more, while the next one runs."""
    line = next(e for e in history.lines if e.job == "long" and e.beats and e.at > START)
    start = next(e for e in history.lines if e.run == line.run and e.code is None and not e.beats)
    again = replace(start, attempt=2, pid=99_999, at=start.at + 1.0)
    beats = [replace(again, beats=True, at=again.at + n / 2) for n in range(1, int(2 * seconds) + 1)]
    # The first one goes on as long as the second.
    more = [replace(start, beats=True, at=again.at + n / 2) for n in range(1, int(2 * seconds) + 1)]
    rest = tuple(e for e in history.lines if e.run != line.run or e is start)
    final = next(f for f in history.finals if f.run == line.run)
    pushes = (*history.pushes, Push(run=line.run, at=again.at - 0.1))
    end = replace(again, at=again.at + seconds, code=0)
    history = replace(history, lines=(*rest, again, *beats, *more, end), pushes=pushes)
    return with_final(history, final, attempt=2, lost=1)


def cut(history: History, **changes: object) -> Fault:
    fault = Fault(kind="cut worker", hits="worker", began=START - 5, ended=history.until, overlaps=True)
    return replace(fault, **changes)  # type: ignore[arg-type] # names are Fault's


def two_attempts_beside_each_other_without_bound(history, rng):
    history = a_second_attempt(history, checker.runs.beside_seconds(history.ttl) + rng.uniform(1, 20))
    return replace(history, faults=(*history.faults, cut(history)))


def an_attempt_beside_one_that_a_stop_excuses_for_a_part(history, rng):
    history = two_attempts_beside_each_other_without_bound(history, rng)
    return replace(history, faults=(*history.faults, cut(history, ended=START + 1.0, stops=True)))


def an_attempt_taken_from_a_worker_that_nothing_was_done_to(history, rng):
    return a_second_attempt(replace(history, faults=()), 2.0)


def an_at_most_once_run_called_lost_while_it_ran(history, rng):
    line = next(e for e in history.lines if e.job == "long" and e.code == 0)
    final = next(f for f in history.finals if f.run == line.run)
    # Nothing was done to any worker, whatever else was.
    history = replace(history, faults=tuple(fault for fault in history.faults if not fault.overlaps))
    return with_final(history, final, status="failed", outcome="lost")


def a_job_dropped_because_its_directory_was_empty(history, rng):
    entry = a_queued(history, rng)
    at = entry.at + 0.3
    dropped = replace(entry, decision="dropped", reason="removed", run="", seq=10**6, at=at, count=0)
    fault = Fault(kind="config directory empty", hits="files", began=at - 1, ended=at + 1)
    return replace(and_then(history, dropped), faults=(*history.faults, fault))


def a_decision_further_ahead_than_the_clock_was(history, rng):
    entry = a_queued(history, rng)
    fault = Fault(kind="clock", hits="redis", began=START - 50, ended=history.until, recovery=9.0, clock=60.0)
    return replace(
        instead(history, entry, at=entry.first - 61.5, seen=entry.first - 61.5),
        faults=(*history.faults, fault),
    )


def a_decision_late_long_after_a_clock_was_set_back(history, rng):
    entry = next(e for e in history.entries if e.job == "tick" and e.first == START + 10)
    fault = Fault(kind="clock", hits="redis", began=START + 1, ended=START + 2, recovery=3.0, clock=-600.0)
    # Its id is what it was before the clock fell: only the recorder knows better.
    return replace(instead(history, entry, seen=entry.first + 4.0), faults=(*history.faults, fault))


MISTAKES: dict[Mistake, str] = {
    two_attempts_beside_each_other_without_bound: "beside",
    an_attempt_beside_one_that_a_stop_excuses_for_a_part: "beside",
    an_attempt_taken_from_a_worker_that_nothing_was_done_to: "given up",
    an_at_most_once_run_called_lost_while_it_ran: "given up",
    a_job_dropped_because_its_directory_was_empty: "lost",
    a_decision_further_ahead_than_the_clock_was: "early",
    a_decision_late_long_after_a_clock_was_set_back: "late",
    a_decision_is_dropped: "lost",
    the_last_decisions_are_missing: "lost",
    a_decision_is_logged_twice: "doubled",
    an_instant_is_queued_and_skipped: "doubled",
    a_skip_counts_more_than_it_spans: "lost",
    an_instant_is_invented: "invented",
    an_edit_loses_the_seconds_around_it: "lost",
    every_other_instant_is_left_out: "lost",
    a_cursor_is_gone: "lost",
    a_run_has_another_instants_id: "invented",
    epochs_are_swapped: "epoch",
    an_old_leader_writes_once_more: "epoch",
    one_epoch_has_two_holders: "epoch",
    a_push_too_many: "doubled",
    a_push_is_missing: "lost",
    a_run_in_two_places: "limbo",
    a_run_in_no_place: "limbo",
    a_late_decision: "late",
    a_decision_ahead_of_its_instant: "early",
    instants_left_out_for_being_late: "late",
    a_missing_command_line: "lost",
    a_command_that_never_told_its_end: "lost",
    an_attempt_runs_twice: "doubled",
    an_attempt_that_redis_does_not_know: "doubled",
    a_run_that_nobody_decided: "doubled",
    a_second_success_without_a_loss: "doubled",
    an_attempt_beyond_the_retries: "budget",
    an_attempt_beyond_the_lost: "budget",
    an_attempt_on_nobodys_account: "budget",
    a_run_without_an_end: "lost",
    a_removed_run_that_ran: "doubled",
    two_runs_of_a_job_that_forbids_it: "overlap",
    more_of_a_group_than_its_limit: "overlap",
    a_dependent_before_its_predecessor: "order",
    a_dependent_of_a_failed_predecessor: "order",
    a_trigger_that_nobody_made: "lost",
    a_trigger_that_was_withdrawn_and_made: "doubled",
    a_trigger_that_was_made_twice: "doubled",
    a_run_that_nobody_asked_for: "invented",
    a_key_without_expiry: "leak",
    a_process_that_is_left: "leak",
    descriptors_that_grow: "leak",
    a_counter_that_disagrees: "metrics",
    a_skip_that_nobody_counted: "metrics",
    a_fence_that_counts_less: "metrics",
    a_scrape_that_disagrees: "metrics",
    a_run_that_takes_for_ever: "slow",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_each_mistake_is_caught(mistake):
    for seed in (7, 11):
        assert MISTAKES[mistake] in kinds(mistake(good(seed), random.Random(seed)))


@settings(max_examples=60)
@given(seed=SEEDS, mistake=st.sampled_from(list(MISTAKES)))
def test_no_good_history_hides_a_mistake(seed, mistake):
    assert MISTAKES[mistake] in kinds(mistake(good(seed), random.Random(seed)))


# --- what is allowed -------------------------------------------------------------------------------------


def test_lateness_is_excused_around_a_fault_and_its_recovery_only():
    fault = Fault(kind="stop-redis", hits="redis", began=100.0, ended=105.0, recovery=2.0)
    assert checker.disturbed([fault]) == [(100.0, 107.0)]
    standby = Fault(kind="kill-standby", hits="standby", began=50.0, ended=50.0)
    again = Fault(kind="kill-leader", hits="leader", began=106.5, ended=106.5, recovery=5.6)
    assert checker.disturbed([again, standby, fault]) == [(100.0, pytest.approx(112.1))]


def test_attempts_may_overlap_only_while_a_worker_is_paused_or_cut_off():
    history = two_runs_of_a_job_that_forbids_it(good(), random.Random(7))
    paused = Fault(kind="stop-worker", hits="worker", began=START - 5, ended=history.until, overlaps=True)
    assert "overlap" in kinds(history)
    assert "overlap" not in kinds(replace(history, faults=(*history.faults, paused)))


def test_attempts_may_run_beside_each_other_within_the_bound_where_a_worker_was_cut_off():
    history = a_second_attempt(good(), checker.runs.beside_seconds(4.0) - 0.5)
    assert checker.check(replace(history, faults=(*history.faults, cut(history)))) == []
    assert "overlap" in kinds(replace(history, faults=()))


def test_attempts_may_run_beside_each_other_as_long_as_the_worker_of_one_is_stopped():
    history = a_second_attempt(good(), 20.0)
    assert "beside" in kinds(replace(history, faults=(*history.faults, cut(history))))
    stopped = cut(history, stops=True)
    assert checker.check(replace(history, faults=(*history.faults, stopped))) == []


def test_a_job_that_was_meant_to_be_out_may_be_dropped():
    history = a_job_dropped_because_its_directory_was_empty(good(), random.Random(7))
    out = (Span(began=START - 5, ended=history.until),)
    meant = replace(history, jobs=tuple(replace(job, out=out) for job in history.jobs))
    assert any("vanished" in violation.what for violation in checker.check(history))
    assert not any("vanished" in violation.what for violation in checker.check(meant))


def test_what_is_decided_ahead_by_a_clock_that_is_ahead_is_not_early():
    history = good()
    entry = a_queued(history, random.Random(7))
    early = instead(history, entry, seen=entry.first - 59.0)
    fault = Fault(kind="clock", hits="redis", began=START - 90, ended=history.until, recovery=9.0, clock=60.0)
    assert "early" in kinds(early)
    assert "early" not in kinds(replace(early, faults=(*history.faults, fault)))


def test_what_a_clock_that_jumps_ahead_makes_too_late_may_be_left_out():
    out = instants_left_out_for_being_late(good(), random.Random(7))
    fault = Fault(kind="clock", hits="redis", began=START - 90, ended=out.until, recovery=9.0, clock=60.0)
    jumped = replace(out, faults=(*out.faults, fault))
    assert any("left out" in violation.what for violation in checker.check(out))
    assert not any("left out" in violation.what for violation in checker.check(jumped))


def test_what_faults_in_a_row_have_made_older_than_a_job_catches_up_may_be_left_out():
    out = instants_left_out_for_being_late(good(), random.Random(7))
    (entry,) = (each for each in out.entries if each.reason == "catchup")
    fault = Fault(kind="a row", hits="leader", began=START, ended=entry.first + 70, recovery=9.0)
    old = instead(replace(out, faults=(fault,)), entry, at=entry.first + 61.0)
    young = instead(replace(out, faults=(fault,)), entry, at=entry.first + 59.0)
    assert not any("left out" in violation.what for violation in checker.check(old))
    assert any("left out" in violation.what for violation in checker.check(young))


def test_a_history_of_an_older_harness_can_be_judged(tmp_path):
    path = tmp_path / "history.json"
    good().save(path)
    values = json.loads(path.read_text())
    for part, names in {
        "jobs": ("lasts", "out"),
        "entries": ("seen",),
        "lines": ("beats",),
        "faults": ("stops", "clock"),
    }.items():
        for one in values[part]:
            for name in names:
                del one[name]
    path.write_text(json.dumps(values))
    assert History.load(path).entries == good().entries


def test_a_push_may_have_been_missed_while_nobody_listened():
    history = a_push_is_missing(good(), random.Random(7))
    assert "lost" not in kinds(replace(history, unheard=(Span(began=START - 5, ended=history.until),)))


def test_a_loss_of_state_has_to_be_noticed_and_is_not_counted_as_lost():
    forgetful = replace(a_decision_is_logged_twice(good(), random.Random(7)), loses_state=True)
    assert kinds(forgetful) == {"unnoticed"}
    assert checker.check(replace(forgetful, noticed=1)) == []


def test_a_loss_of_state_excuses_no_instant_that_nobody_ever_decided():
    history = replace(a_decision_is_dropped(good(), random.Random(7)), loses_state=True, noticed=1)
    assert kinds(history) == {"lost"}


def test_an_edit_may_be_taken_back_for_a_moment_by_a_leader_that_has_not_read_it():
    history = good()
    moved = next(e for e in history.entries if e.job == "edited" and e.reason == "edited")
    cut = moved.first + 4
    rest = [e for e in history.entries if e.job == "edited" and e.first > cut]
    kept = tuple(e for e in history.entries if e not in rest)
    back = [
        replace(moved, at=cut + 0.5, first=cut, last=cut),
        replace(moved, at=cut + 2.5, first=cut + 2, last=cut + 2),
    ]
    seconds = [
        Entry(job="edited", at=at + 0.1, seq=1, decision="queued", first=at, last=at, run=f"edited-{stamp(at)}", epoch=moved.epoch, by=moved.by)
        for at in (cut + 1, cut + 2)
    ]  # fmt: skip
    later = [e for e in rest if e.first > cut + 2]
    found = list(checker.decisions(replace(history, entries=(*kept, *back, *seconds, *later))))
    assert found == []


def test_what_is_counted_is_lost_doubled_limbo_and_all_else():
    violations = checker.check(
        a_run_in_no_place(a_decision_is_dropped(good(), random.Random(3)), random.Random(4))
    )
    counts = checker.counted(violations)
    assert set(counts) == {"lost", "doubled", "limbo", "other"}
    assert counts["lost"] >= 1
    assert counts["limbo"] == 1


@pytest.mark.parametrize("lost", [3, 4])
def test_the_loss_that_ended_a_run_may_be_on_its_account_or_not(lost):
    history = good()
    final = next(f for f in history.finals if f.job == "tick" and f.attempt == 1)
    start = next(line for line in history.lines if line.run == final.run)
    again = [replace(start, attempt=number, at=start.at + 5 * number, pid=number) for number in (2, 3, 4)]
    pushes = [Push(run=final.run, at=line.at) for line in again]
    given_up = with_final(history, final, status="failed", outcome="lost", attempt=4, lost=lost)
    killed = Fault(kind="KILL worker", hits="worker", began=start.at, ended=start.at, overlaps=True)
    told = replace(
        given_up,
        lines=(*history.lines, *again),
        pushes=(*history.pushes, *pushes),
        faults=(*history.faults, killed),
    )
    assert checker.check(told) == []
    at_once = tuple(replace(line, at=start.at + line.attempt / 10) for line in again)
    assert kinds(replace(told, lines=(*history.lines, *at_once))) == {"worn out"}


def test_a_claim_that_came_back_is_no_attempt():
    history = good()
    returned = Push(run=history.pushes[0].run, at=history.pushes[0].at, returned=True)
    assert checker.check(replace(history, pushes=(*history.pushes, returned))) == []

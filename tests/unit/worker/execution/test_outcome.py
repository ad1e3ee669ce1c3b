"""How an attempt's end becomes an outcome."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.execution.outcome import Cause, Outcome

CAUSES: list[Cause] = ["timeout", "stopped", "replaced", "interrupted", "lost"]
returncodes = st.none() | st.integers(-64, 255)
codes = st.sets(st.integers(0, 255))


def test_zero_is_success():
    assert Outcome.of(0) == Outcome(kind="success", exit_code=0)


def test_another_code_is_a_failure_that_keeps_the_code():
    assert Outcome.of(3) == Outcome(kind="failed", exit_code=3)


def test_success_codes_replace_zero():
    assert Outcome.of(3, success=[1, 3]).is_success
    assert Outcome.of(0, success=[1, 3]).kind == "failed"


def test_a_signal_is_told_by_its_number():
    assert Outcome.of(-9) == Outcome(kind="signalled", signal=9)


def test_a_shells_128_plus_n_is_an_exit_code():
    assert Outcome.of(137) == Outcome(kind="failed", exit_code=137)


def test_an_end_that_nobody_saw_is_lost():
    assert Outcome.of(None).kind == "lost"


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("timeout", "timed_out"),
        ("stopped", "stopped"),
        ("replaced", "stopped"),
        ("interrupted", "interrupted"),
        ("lost", "lost"),
    ],
)
def test_each_cause_has_its_kind(cause, kind):
    assert Outcome.of(-15, cause=cause) == Outcome(kind=kind, signal=15, cause=cause)


@given(returncode=returncodes, cause=st.sampled_from(CAUSES), success=codes)
def test_what_we_ended_is_never_a_success(returncode, cause, success):
    assert not Outcome.of(returncode, cause=cause, success=success).is_success


@given(returncode=st.integers(0, 255), success=codes)
def test_success_is_exactly_membership(returncode, success):
    assert Outcome.of(returncode, success=success).is_success == (returncode in success)


@given(returncode=returncodes, cause=st.none() | st.sampled_from(CAUSES))
def test_a_code_and_a_signal_exclude_each_other(returncode, cause):
    outcome = Outcome.of(returncode, cause=cause)
    assert outcome.exit_code is None or outcome.signal is None


@given(returncode=returncodes, cause=st.none() | st.sampled_from(CAUSES))
def test_reasons_are_the_closed_set(returncode, cause):
    outcome = Outcome.of(returncode, cause=cause)
    if outcome.kind in {"success", "interrupted"}:
        assert outcome.reason is None
    else:
        assert outcome.reason in {"failed", "timed_out", "signalled", "lost", "stopped"}


def test_it_reads_as_a_phrase():
    assert str(Outcome.of(0)) == "success"
    assert str(Outcome.of(2)) == "failed (exit code 2)"
    assert str(Outcome.of(-9, cause="timeout")) == "timed_out (signal 9)"

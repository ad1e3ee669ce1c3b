from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.control.actions import exit_status

CODES = st.none() | st.integers(0, 255)
SIGNALS = st.none() | st.integers(1, 64)


@given(
    st.sampled_from(["failed", "timed_out", "signalled", "lost", "stopped", "interrupted"]), CODES, SIGNALS
)
def test_what_did_not_succeed_is_never_0(outcome, exit_code, signal):
    assert exit_status.of_attempt(outcome, exit_code, signal) != 0


@given(st.integers(0, 255))
def test_a_success_has_its_commands_own_code(exit_code):
    assert exit_status.of_attempt("success", exit_code, None) == exit_code


def test_a_signal_and_a_time_limit_are_reported_as_a_shell_and_timeout_do():
    assert exit_status.of_attempt("signalled", None, 9) == 137
    assert exit_status.of_attempt("timed_out", None, 15) == 124

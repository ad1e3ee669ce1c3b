import pytest

from kuber_cron.control.actions.results import CreatedRun, RunResult


@pytest.mark.parametrize(
    ("attributes", "summary"),
    [
        ({"outcome": "success", "exit_code": 0, "seconds": 1.0}, "success after 1.0 s"),
        ({"outcome": "failed", "exit_code": 3, "seconds": 1.0}, "failed (exit code 3) after 1.0 s"),
        ({"outcome": "signalled", "signal": 9, "seconds": 61.0}, "signalled (signal 9) after 1 m 01 s"),
        ({"outcome": "timed_out", "exit_code": 143, "seconds": 10.0}, "timed_out after 10 s"),
        ({"outcome": "replaced"}, "replaced"),
    ],
)
def test_the_summary_of_an_end_names_outcome_cause_and_time(attributes, summary):
    nothing = {"exit_code": None, "signal": None, "seconds": None}
    assert (
        RunResult(**{"run": "r", "attempt": 1, "exit_status": 1, **nothing, **attributes}).summary == summary
    )


@pytest.mark.parametrize(
    ("verdict", "is_made"),
    [
        ("queued", True),
        ("held", True),
        ("known", True),
        ("planned", False),
        ("succeeded", False),
        ("live", False),
        ("refused", False),
        ("error", False),
    ],
)
def test_a_run_is_made_by_these_verdicts_alone(verdict, is_made):
    assert CreatedRun(run="r", job="j", scheduled_at=None, verdict=verdict).is_made is is_made

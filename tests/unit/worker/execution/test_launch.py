"""From a payload to what is executed."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.support.workers import START, job

from kuber_cron.common.runs import payload
from kuber_cron.worker.execution.launch import Launch, argv


def launch(log_dir=None, **options):
    made = payload.payload_for(job(**options), START)
    return Launch.from_payload(made, "e1", 2, log_dir=log_dir, environ={"HOME": "/root"}, user_required=False)


def test_a_text_runs_under_the_shell_and_a_list_as_it_is():
    assert argv("a | b", "/bin/bash") == ["/bin/bash", "-c", "a | b"]
    assert argv(["a", "| b"], "/bin/bash") == ["a", "| b"]


def test_the_execution_is_in_the_environment_that_its_processes_are_known_by():
    assert launch().env["KUBER_CRON_EXECUTION"] == launch().execution_id == "e1"


def test_home_is_the_workers_own_unless_the_job_names_it():
    assert launch().inherits_home
    assert not launch(env={"HOME": "/home/backup"}).inherits_home


@given(mask=st.integers(0, 0o777))
def test_a_umask_is_octal(mask):
    assert launch(umask=f"{mask:o}").umask == mask


def test_the_log_file_is_named_by_job_instant_and_attempt():
    assert launch(log_dir=Path("/logs")).log_path == Path("/logs/job/20260101T000000Z-2.log")
    assert launch().log_path is None

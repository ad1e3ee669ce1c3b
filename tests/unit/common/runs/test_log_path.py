import pytest

from kuber_cron.common.runs.log_path import log_path


def test_a_log_is_named_for_its_job_its_instant_and_its_attempt():
    path = log_path(job="backup", run="backup-20260329T010000Z", attempt=2)
    assert path == "backup/20260329T010000Z-2.log"
    assert log_path(job="a", run="a-m0a1b2c3d", attempt=1) == "a/m0a1b2c3d-1.log"


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden", "-x", "ä", "a\0", "a b"])
def test_a_name_that_is_no_safe_part_of_a_path_is_refused(name):
    with pytest.raises(ValueError, match="cannot be part of a log file's name"):
        log_path(job=name, run="r", attempt=1)
    with pytest.raises(ValueError, match="cannot be part of a log file's name"):
        log_path(job="job", run=name, attempt=1)

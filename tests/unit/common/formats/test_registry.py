"""Each row of the registry of formats is whole: what it writes, it recognises and reads back."""

import subprocess
import sys

import pytest
from hypothesis import given
from tests.support.any_jobs import job_lists

from kuber_cron.common.formats import registry
from kuber_cron.common.formats.registry import FORMATS, JOB_FILES
from kuber_cron.common.formats.resolver import link
from kuber_cron.common.jobs import Job

JOB = Job(id="a", schedule="@daily", command="true", user="app")


@pytest.mark.parametrize("form", JOB_FILES.values(), ids=JOB_FILES)
@given(jobs=job_lists())
def test_what_a_job_file_says_is_read_back_under_the_same_names(form, jobs):
    written = form.write(jobs)
    parsed = link([form.read(written.text.encode(), "file", system=False, timezone="UTC")])
    assert [job.id for job in parsed.jobs] == [job.id for job in jobs]


@pytest.mark.parametrize("form", JOB_FILES.values(), ids=JOB_FILES)
@given(jobs=job_lists())
def test_each_job_is_written_from_its_start_on(form, jobs):
    written = form.write(jobs)
    parsed = link([form.read(written.text.encode(), "file", system=False, timezone="UTC")])
    ends = [*written.starts[1:], written.text.count("\n") + 1]
    assert all(
        start <= job.line < end for start, job, end in zip(written.starts, parsed.jobs, ends, strict=True)
    )


@pytest.mark.parametrize("form", JOB_FILES.values(), ids=JOB_FILES)
def test_a_file_without_a_name_is_known_by_its_content(form):
    assert registry.reader_of_content(form.write([JOB]).text.encode()) is form.read


@pytest.mark.parametrize("form", JOB_FILES.values(), ids=JOB_FILES)
def test_a_file_is_known_by_its_suffix(form):
    for suffix in form.suffixes or ("", ".txt", ".cron"):
        assert registry.reader_of_suffix(suffix.upper()) is form.read


def test_no_two_job_files_share_a_suffix():
    suffixes = [suffix for form in JOB_FILES.values() for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_the_registry_imports_no_format_and_no_schedule():
    """The commands' choices come from it, and ``--help`` must be quick."""
    heavy = "{'yaml', 'croniter', 'kuber_cron.common.schedule'}"
    code = f"import sys; import kuber_cron.common.formats.registry; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_manifests_are_written_and_are_no_job_files():
    assert FORMATS["kubernetes"].write([JOB], image="app:1").text.startswith("---\n")
    assert "kubernetes" not in JOB_FILES

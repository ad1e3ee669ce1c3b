"""The schedule of faults, and what the harness knows of its own jobs."""

from tests.faults import jobs, nemesis, report
from tests.faults.good import good
from tests.faults.history import Fault, Violation

from kuber_cron.common.formats import loader


def planned(seed, **changes):
    arguments = {"seconds": 600, "faults": 60, "longest": 20.0} | changes
    return nemesis.plan(seed, nemesis.kinds("kubernetes"), **arguments)


def test_a_seed_is_a_schedule():
    assert planned(7) == planned(7)
    assert planned(7) != planned(8)


def test_a_schedule_has_every_kind_and_fits_its_time():
    steps = planned(3)
    assert {step.kind for step in steps} == set(nemesis.KINDS)
    offsets = [step.offset for step in steps]
    assert offsets == sorted(offsets)
    assert len(steps) == 60
    assert offsets[0] > 0
    assert offsets[-1] < 600


def test_the_api_server_is_left_alone_where_there_is_none():
    assert not any("API" in kind for kind in nemesis.kinds("redis"))
    assert len(nemesis.kinds("redis")) >= 30


def test_the_jobs_are_twenty_a_second_and_load_without_a_word(tmp_path):
    file = jobs.JobFile(tmp_path, jobs.select())
    loaded = loader.load([file.directory])
    assert loaded.diagnostics == []
    assert {job.id for job in loaded.jobs} == {job.id for job in file.known()}
    assert sum(spec.seconds == 1 for spec in jobs.PLAIN) >= 20


def test_an_edited_job_is_known_with_both_periods(tmp_path):
    file = jobs.JobFile(tmp_path, jobs.select())
    file.edit("edited", 2)
    edited = next(job for job in file.known() if job.id == "edited")
    assert [period.seconds for period in edited.periods] == [1, 2]
    assert any(
        job.schedule == "@every 2s" for job in loader.load([file.directory]).jobs if job.id == "edited"
    )


def test_a_broken_file_is_one(tmp_path):
    file = jobs.JobFile(tmp_path, jobs.select())
    file.break_it()
    assert any(found.severity == "error" for found in loader.load([file.directory]).diagnostics)


def test_what_commands_write_is_read_back(tmp_path):
    lines = tmp_path / "commands.txt"
    lines.write_text(
        "s tick tick-20270115T080000Z 1 2027-01-15T08:00:00Z 77 100.25 -\n"
        "e tick tick-20270115T080000Z 1 2027-01-15T08:00:00Z 77 101.50 3\n"
    )
    start, end = jobs.read_lines(lines, 1000.0)
    assert (start.at, start.code, start.pid) == (1100.25, None, 77)
    assert (end.at, end.code, end.attempt) == (1101.5, 3, 1)


def test_the_last_line_is_the_one_that_programs_read():
    history = good()
    run = report.Run(
        seed=7, minutes=1, election="redis", times="ttl 4", faults=(Fault(kind="x", hits="redis", began=1, ended=2),)
    )  # fmt: skip
    violations = [Violation("lost", "a"), Violation("limbo", "b"), Violation("late", "c")]
    line = report.last_line(history, violations, run)
    assert line.endswith(" occurrences, 1 faults, seed 7: 1 lost, 0 doubled, 1 in limbo")
    text = report.markdown(history, violations, run)
    assert text.rstrip().endswith(line)
    assert "* late: c" in text

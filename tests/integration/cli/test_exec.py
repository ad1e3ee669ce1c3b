import json
import signal
import subprocess

import pytest
from tests.support.cli_process import COMMAND, InProcess, end, environment

JOBS = r"""
MODE=full
# kuber-cron: name=talk
0 6 * * * echo to-out; echo to-err >&2
# kuber-cron: name=flaky retries=3 retry_delay=10s
0 6 * * * exit 3
# kuber-cron: name=odd success_codes=0,3
0 6 * * * exit 3
# kuber-cron: name=once execution=at_most_once retries=2
0 6 * * * exit 4
# kuber-cron: name=slow timeout=1s kill_grace=1s
0 6 * * * sleep 60
# kuber-cron: name=shot
0 6 * * * kill -9 $$
# kuber-cron: name=reads
0 6 * * * cat%first%second
# kuber-cron: name=shows
0 6 * * * echo "$MODE $KUBER_CRON_JOB $KUBER_CRON_ATTEMPT ${KUBER_CRON_REDIS_URL-unset}"
# kuber-cron: name=waits kill_grace=30s
0 6 * * * trap 'echo tidy; exit 7' TERM; echo ready; while :; do sleep 0.05; done
# kuber-cron: name=stubborn kill_grace=60s
0 6 * * * trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done
# kuber-cron: name=endless
0 6 * * * while :; do echo line; done
"""


@pytest.fixture
def jobs(tmp_path):
    (tmp_path / "crontab").write_text(JOBS)
    return tmp_path


@pytest.fixture
def kuber_cron(jobs, monkeypatch, capfd):
    return InProcess(jobs, monkeypatch, capfd)


@pytest.fixture
def execute(kuber_cron):
    def execute(name, *words, **extra):
        return kuber_cron("exec", "crontab", "--job", name, *words, **extra)

    return execute


def test_each_stream_of_the_command_goes_to_ours_and_the_outcome_to_stderr(execute):
    done = execute("talk")
    assert (done.returncode, done.stdout) == (0, "to-out\n")
    said = done.stderr.splitlines()
    assert sorted(said)[1] == "to-err"
    assert any(line.startswith("kuber-cron: talk: success after ") for line in said)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("flaky", 3, "a worker would try it again in about 10 s (retry 1 of 3)"),
        ("odd", 3, "odd: success (exit code 3)"),
        ("once", 4, "a worker would not try it again"),
        ("slow", 124, "slow: timed_out"),
        ("shot", 137, "shot: signalled (signal 9)"),
    ],
)
def test_the_exit_status_is_what_a_shell_would_say(execute, name, status, said):
    done = execute(name)
    assert done.returncode == status
    assert said in done.stderr


def test_standard_input_is_what_follows_the_percent_sign(execute):
    assert execute("reads").stdout == "first\nsecond\n"


def test_the_environment_is_the_jobs_with_ours_on_top_and_no_setting_in_it(execute):
    done = execute("shows", KUBER_CRON_REDIS_URL="redis://:secret@host")
    assert done.stdout == "full shows 1 unset\n"
    assert execute("shows", "--env", "MODE=a=b", "--env", "X=1").stdout.startswith("a=b shows 1")


def test_json_is_one_document_on_stdout_and_the_output_goes_to_stderr(execute):
    done = execute("flaky", "--format", "json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_status"], document["exit_code"]) == (3, 3, 3)
    assert (document["job"], document["outcome"], document["signal"]) == ("flaky", "failed", None)
    talk = execute("talk", "--format", "json")
    assert sorted(json.loads(talk.stdout)["output"].splitlines()) == ["to-err", "to-out"]
    assert {"to-out", "to-err"} <= set(talk.stderr.splitlines())


def test_a_misspelt_job_gets_a_suggestion(execute):
    done = execute("tlak")
    assert done.returncode == 1
    assert done.stderr == 'error: there is no job "tlak"\nhint: did you mean talk?\n'


def test_a_file_of_several_jobs_needs_a_name_and_a_file_of_one_does_not(jobs, kuber_cron):
    done = kuber_cron("exec", "crontab")
    assert done.returncode == 2
    assert "there are 11 jobs, so say which with --job" in done.stderr
    assert "the jobs are: talk, flaky," in done.stderr
    (jobs / "one").write_text("0 6 * * * echo alone\n")
    assert kuber_cron("exec", "one").stdout == "alone\n"


@pytest.fixture
def start(jobs):
    started = []

    def start(name):
        process = subprocess.Popen(
            [*COMMAND, "exec", "crontab", "--job", name],
            cwd=jobs,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    end(started)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_with_term_and_waits_for_it(start, number, status):
    process = start("waits")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.read() == "tidy\n"
    assert process.wait(60) == status
    assert "waits: interrupted (exit code 7)" in process.stderr.read()


def test_a_second_ctrl_c_ends_a_stubborn_command_at_once(start):
    process = start("stubborn")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "no\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)  # what comes within a fifth of a second is the same press
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "stubborn: interrupted (signal 9)" in process.stderr.read()


def test_a_reader_that_goes_away_ends_the_command(start):
    process = start("endless")
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert "endless: stopped" in process.stderr.read()

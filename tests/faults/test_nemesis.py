"""The schedule of faults, the table of their kinds, how they are done, and what the harness knows of its own jobs."""

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faults import at_machine, jobs, kinds, report, runner, schedule
from tests.faults.good import good
from tests.faults.history import Fault, Violation
from tests.faults.kind import Hit, Kind, NothingToHitError, Within
from tests.faults.member import Member, has_machines
from tests.faults.nemesis import Nemesis
from tests.faults.proxy import Proxies
from tests.faults.redis_server import USER, RedisServer
from tests.faults.schedule import Step
from tests.faults.setup import FAST, Setup
from tests.faults.shifted_clock import WITHOUT, ShiftedClock
from tests.support.waiting import eventually

from kuber_cron.common.formats import loader


def planned(seed, **changes):
    arguments = {"seconds": 600, "faults": 60, "longest": 20.0, "can_join": kinds.can_join} | changes
    return schedule.plan(seed, kinds.kinds("kubernetes"), **arguments)


def test_a_seed_is_a_schedule():
    assert planned(7) == planned(7)
    assert planned(7) != planned(8)


def test_a_schedule_has_every_kind_and_fits_its_time():
    steps = planned(3, faults=len(kinds.KINDS))
    assert sorted(step.kind for step in steps) == sorted(kinds.KINDS)
    offsets = [step.offset for step in steps]
    assert offsets == sorted(offsets)
    assert offsets[0] > 0
    assert offsets[-1] < 600


SEEDS = st.integers(0, 10**6)


@settings(max_examples=25)
@given(seed=SEEDS, faults=st.integers(1, 70))
def test_a_schedule_has_as_many_faults_as_asked_for(seed, faults):
    assert len(planned(seed, faults=faults)) == faults


@settings(max_examples=25)
@given(seed=SEEDS)
def test_no_pair_excludes_each_other(seed):
    pairs = [(step.kind, step.beside) for step in planned(seed) if step.beside]
    assert all(kinds.excluded(*pair) == "" for pair in pairs)
    assert all((other, one) in pairs for one, other in pairs)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_the_second_of_a_pair_begins_while_the_first_may_last(seed):
    steps = planned(seed)
    for step in steps:
        near = [other.offset for other in steps if other.kind == step.beside and other.beside == step.kind]
        assert not near or min(abs(offset - step.offset) for offset in near) <= 10.0


def test_every_two_kinds_that_may_meet_do_so_for_some_seed():
    few = ("STOP worker", "Redis' clock ahead", "refuse leader", "config broken")
    met = {
        frozenset((step.kind, step.beside))
        for seed in range(200)
        for step in schedule.plan(seed, few, seconds=60, faults=8, longest=5, can_join=kinds.can_join)
        if step.beside
    }
    assert met == {frozenset(pair) for pair in itertools.combinations(few, 2)}


def test_a_pair_that_is_asked_for_is_all_that_is_done():
    steps = schedule.plan(7, ["redis KILL+STOP worker"], seconds=60, faults=4, longest=5)
    assert [step.kind for step in steps] == ["redis KILL", "STOP worker"] * 2
    assert steps[0].beside == "STOP worker"


def test_single_kinds_that_are_asked_for_are_paired_as_all_are():
    steps = schedule.plan(7, ["redis KILL", "STOP worker"], seconds=600, faults=40, longest=5)
    assert any(step.beside for step in steps)
    assert not all(step.beside for step in steps)


@pytest.mark.parametrize("election", ["redis", "kubernetes"])
def test_the_minute_of_every_day_draws_from_all_that_is_proven(election):
    left_out = set(kinds.kinds(election)) - set(kinds.proven(election))
    assert all(kinds.UNPROVEN.intersection(kinds.KINDS[name].foreign.split(", ")) for name in left_out)
    assert {"Redis' address moves", "config directory empty", "KILL leader"} <= set(kinds.proven(election))


def test_a_schedule_is_told_line_by_line():
    step = Step(offset=12.34, kind="STOP worker", seconds=5.0, pick=3, beside="redis KILL")
    assert schedule.text([step]) == "   12.3 s  STOP worker (5.0 s), with redis KILL\n"


def test_the_minute_of_every_day_lasts_a_minute():
    steps = runner.steps_for(7, 1, "redis", FAST, faults=10)
    assert len(steps) == 10
    assert max(step.offset for step in steps) < 60


# --- the table --------------------------------------------------------------------------------------------


def test_what_excludes_each_other_has_its_reason():
    for one, other in itertools.combinations(kinds.KINDS, 2):
        shared = kinds.KINDS[one].takes & kinds.KINDS[other].takes
        reason = kinds.excluded(one, other)
        assert reason == kinds.excluded(other, one)
        assert bool(reason) == bool(shared or frozenset((one, other)) in kinds.EXCLUDED)


def test_exclusions_name_kinds_that_do_not_exclude_each_other_anyway():
    for pair in kinds.EXCLUDED:
        one, other = sorted(pair)
        assert not kinds.KINDS[one].takes & kinds.KINDS[other].takes, pair


def test_most_kinds_may_meet():
    pairs = list(itertools.combinations(kinds.KINDS, 2))
    assert sum(kinds.can_join(*pair) for pair in pairs) > 0.6 * len(pairs)


@pytest.mark.parametrize("number", ["1", "3", "4", "5", "6", "7", "9", "13", "14", "15"])
def test_each_fault_that_others_thought_of_has_a_kind(number):
    assert any(number in kind.foreign.split(", ") for kind in kinds.KINDS.values())


def test_an_attempt_may_only_be_lost_by_what_touches_a_worker_or_all():
    for name, kind in kinds.KINDS.items():
        assert not kind.overlaps or kind.hits in {"worker", "redis", "machine"}, name
        assert not kind.stops or kind.overlaps, name


# --- how they are done --------------------------------------------------------------------------------------


class Table:
    """Kinds that only say that they are done, and a cluster that nobody is in."""

    def __init__(self):
        self.said = []
        self.cluster = SimpleNamespace(setup=Setup(), members=[])

    def kind(self, name, *takes, nothing=False, **more):
        @contextmanager
        def act(nemesis, step):
            if nothing:
                raise NothingToHitError
            self.said.append(f"{name} begins")
            yield Hit()
            self.said.append(f"{name} heals")

        return Kind(act=act, hits="redis", takes=frozenset(takes), **more)

    def done(self, table, *steps):
        nemesis = Nemesis(self.cluster, table)
        threads = [threading.Thread(target=nemesis.do, args=(step,)) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return nemesis


def step(kind, seconds=0.05):
    return Step(offset=0.0, kind=kind, seconds=seconds, pick=0)


def test_a_fault_is_noted_with_what_its_kind_allows():
    table = Table()
    kind = table.kind("a", recovery=Within(takeovers=1, seconds=2), overlaps=True, stops=True, clock=60.0)
    (fault,) = table.done({"a": kind}, step("a")).faults()
    assert table.said == ["a begins", "a heals"]
    assert (fault.kind, fault.overlaps, fault.stops, fault.clock) == ("a", True, True, 60.0)
    assert fault.recovery == FAST.takeover("redis") + 2
    assert fault.ended - fault.began >= 0.05


def test_a_fault_that_others_recover_from_at_once_ends_where_it_began():
    table = Table()
    (fault,) = table.done({"a": table.kind("a", from_began=True)}, step("a")).faults()
    assert fault.began == fault.ended


def test_two_that_take_the_same_come_one_after_the_other():
    table = Table()
    both = {name: table.kind(name, "one thing", f"{name}'s own") for name in ("a", "b")}
    table.done(both, step("a"), step("b"))
    assert table.said in (
        ["a begins", "a heals", "b begins", "b heals"],
        ["b begins", "b heals", "a begins", "a heals"],
    )


def test_two_that_take_other_things_overlap():
    table = Table()
    table.done({name: table.kind(name, name) for name in ("a", "b")}, step("a", 0.5), step("b", 0.5))
    assert sorted(table.said[:2]) == ["a begins", "b begins"]


def test_what_meets_nobody_is_no_fault():
    table = Table()
    assert table.done({"a": table.kind("a", nothing=True)}, step("a")).faults() == ()


def test_what_cannot_be_done_here_is_told():
    table = Table()
    nemesis = table.done({"a": table.kind("a", needs=lambda _: "no a here")}, step("a"))
    assert (nemesis.faults(), table.said) == ((), [])
    assert nemesis.left_out == {"a": "no a here"}
    run = report.Run(seed=7, minutes=1, election="redis", times="", faults=(), left_out=nemesis.left_out)
    assert "Not done here: a (no a here)" in report.markdown(good(), (), run)


# --- on a process, and on a Redis ----------------------------------------------------------------------------

ASKS = """
import os, resource, sys, threading, time
for line in sys.stdin:
    try:
        if line == "file\\n": os.close(os.dup(0))
        elif line == "process\\n": os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        elif line == "memory\\n": bytearray(64 * 2**20)
        elif line == "bytes\\n":
            with open(sys.argv[1], "wb") as file: file.write(bytes(10000))
        elif line == "sleep\\n":
            began = time.clock_gettime(time.CLOCK_BOOTTIME); time.sleep(0.2); threading.Event().wait(0.2)
            print(time.clock_gettime(time.CLOCK_BOOTTIME) - began, flush=True); continue
        elif line == "clocks\\n":
            print(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME), flush=True); continue
        print("done", flush=True)
    except (OSError, MemoryError) as error:
        print(type(error).__name__, getattr(error, "errno", ""), flush=True)
"""


@pytest.fixture
def process(tmp_path):
    clock = ShiftedClock(tmp_path, "process")
    with subprocess.Popen(
        [sys.executable, "-c", ASKS, tmp_path / "written"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=clock.environment,
    ) as made:  # fmt: skip

        def ask(what):
            made.stdin.write(f"{what}\n")
            return made.stdout.readline().strip()

        assert ask("file") == "done"
        yield SimpleNamespace(pid=made.pid, ask=ask, clock=clock)
        made.kill()


@pytest.mark.parametrize(
    ("bound", "what", "answer"),
    [
        (at_machine.no_descriptors, "file", "OSError 24"),
        (at_machine.no_processes, "process", "BlockingIOError 11"),
        (at_machine.no_memory, "memory", "MemoryError"),
        (at_machine.no_disk, "bytes", "OSError 27"),
    ],
)
def test_a_process_has_no_more_of_something_until_it_is_healed(process, bound, what, answer):
    if bound is at_machine.no_processes and (why := at_machine.processes_need(None)):
        pytest.skip(f"only on a machine where this holds not: {why}")
    assert process.ask(what) == "done"
    with bound(process.pid):
        assert process.ask(what) == answer
    assert process.ask(what) == "done"


@pytest.fixture
def member(tmp_path):
    """A worker that only sleeps, on what seems to be a machine of its own."""
    if not has_machines():
        pytest.skip("only on a machine where namespaces of processes can be made")
    with Proxies() as proxies:
        cluster = SimpleNamespace(
            proxies=proxies, server=SimpleNamespace(port=1), directory=tmp_path, setup=Setup(),
            address=lambda: "127.0.0.1", command=lambda _: ["sleep", "60"], variables=lambda _: {},
        )  # fmt: skip
        made = Member("worker-1", "worker", cluster)
        made.start()
        eventually(lambda: made.pid and words_of(made.pid) == ["sleep", "60"], 20)
        yield made
        made.process.kill()
        made.process.wait(20)


def words_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_a_worker_is_the_first_process_of_its_own_machine(member):
    inside = Path(f"/proc/{member.pid}/status").read_text()
    assert re.search(r"^NSpid:\t\d+\t1$", inside, re.MULTILINE)


def test_a_signal_meets_the_worker_itself(member):
    member.signal(signal.SIGSTOP)
    eventually(lambda: state_of(member.pid) == "T", 5)
    assert member.paused
    member.signal(signal.SIGCONT)
    eventually(lambda: state_of(member.pid) == "S", 5)
    member.signal(signal.SIGKILL)
    eventually(lambda: member.process.poll() is not None, 5)


def needs_clocks(clock):
    if not clock.can_be_moved:
        pytest.skip(WITHOUT)


def test_the_wall_clock_of_a_process_is_what_it_is_told(process):
    needs_clocks(process.clock)
    process.clock.set_wall(-600.0)
    wall, monotonic, boot = map(float, process.ask("clocks").split())
    assert wall == pytest.approx(time.time() - 600, abs=2)
    assert monotonic == pytest.approx(time.monotonic(), abs=2)
    assert boot == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=2)


def test_who_slept_has_a_monotonic_clock_behind_its_boot_clock_and_waits_as_before(process):
    needs_clocks(process.clock)
    process.clock.sleep(20.0)
    _, monotonic, boot = map(float, process.ask("clocks").split())
    assert monotonic == pytest.approx(time.monotonic() - 20, abs=2)
    assert boot == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=2)
    assert 0.39 <= float(process.ask("sleep")) < 3


@pytest.fixture
def server(tmp_path):
    made = RedisServer(tmp_path / "redis")
    made.start()
    yield made
    made.close()


def of_the_product(server):
    return redis.Redis(host="127.0.0.1", port=server.port, username=USER, password=USER, protocol=2)


def has_written(client):
    try:
        return client.set("rq:kuber-cron:fence", "2")
    except redis.RedisError:
        return False


def done_to(server, kind, meanwhile):
    """Do it to a Redis that nobody but us uses; ``meanwhile`` sees it with a connection that was there before."""
    cluster = SimpleNamespace(
        setup=Setup(), server=server, members=[], recorder=SimpleNamespace(is_clock_moved=False)
    )
    nemesis = Nemesis(cluster, kinds.KINDS)
    with of_the_product(server) as client:
        client.set("rq:kuber-cron:fence", "1")
        with kinds.KINDS[kind].act(nemesis, step(kind)):
            meanwhile(client)
        eventually(lambda: has_written(client), 5)
        client.xadd("rq:kuber-cron:log:tick", {"a": "b"})
        assert client.eval("return 1", 0) == 1


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("redis READONLY", "READONLY"),
        ("redis NOREPLICAS", "NOREPLICAS"),
        ("redis out of memory", "OOM"),
        ("redis MISCONF", "MISCONF"),
        ("redis BUSY", "BUSY"),
    ],
)
def test_a_redis_says_what_it_cannot_do_until_it_is_healed(server, kind, word):
    words = {"ReadOnlyError": "READONLY", "OutOfMemoryError": "OOM"}

    def meanwhile(client):
        def says():
            try:
                client.execute_command("SET", "rq:kuber-cron:fence", "x")
            except redis.RedisError as error:
                return words.get(type(error).__name__, str(error).split()[0]) == word
            return False  # a script has to run for a moment until it counts as one that does not end

        eventually(says, 5)

    done_to(server, kind, meanwhile)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("Redis' script rights withdrawn", ("EVAL", "return 1", "0")),
        ("Redis' log rights withdrawn", ("XADD", "rq:kuber-cron:log:tick", "*", "a", "b")),
        ("Redis' log keys withdrawn", ("EVAL", "return redis.call('XADD', KEYS[1], '*', 'a', 'b')", "1", "rq:kuber-cron:log:tick")),
    ],
)  # fmt: skip
def test_a_right_is_withdrawn_from_connections_that_there_are(server, kind, command):
    def meanwhile(client):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)
        for key in (
            "rq:kuber-cron:lost",
            "rq:kuber-cron:lease",
            "rq:queue:default",
            "rq:job:x",
            "rq:kuber-cron:fence",
        ):
            client.exists(key)

    done_to(server, kind, meanwhile)


@pytest.mark.parametrize(("kind", "seconds"), [("Redis' clock ahead", 60.0), ("Redis' clock behind", -600.0)])
def test_the_clock_of_redis_alone_is_set(server, kind, seconds):
    needs_clocks(server.clock)

    def meanwhile(client):
        eventually(lambda: client.time()[0] == pytest.approx(time.time() + seconds, abs=2), 5)

    done_to(server, kind, meanwhile)
    with of_the_product(server) as client:
        eventually(lambda: client.time()[0] == pytest.approx(time.time(), abs=2), 5)


def test_a_key_expires_by_the_clock_that_was_set(server):
    needs_clocks(server.clock)

    def meanwhile(client):
        eventually(lambda: client.time()[0] > time.time() + 30, 5)  # it looks at the clock now and then
        client.set("rq:worker", "alive", ex=10)
        assert client.get("rq:worker") == b"alive"
        server.clock.set_wall(120.0)
        eventually(lambda: client.get("rq:worker") is None, 5)

    done_to(server, "Redis' clock ahead", meanwhile)


def test_the_api_server_is_left_alone_where_there_is_none():
    assert not any("API" in kind for kind in kinds.kinds("redis"))
    assert len(kinds.kinds("redis")) >= 80


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


def test_a_job_that_is_left_out_is_known_to_have_been_out(tmp_path):
    file = jobs.JobFile(tmp_path, jobs.select())
    file.write(without=["gone"])
    file.write()
    outs = {job.id: job.out for job in file.known() if job.out}
    assert set(outs) == {"gone"}
    assert len(outs["gone"]) == 1


@pytest.mark.parametrize("with_directory", [False, True])
def test_a_directory_that_vanishes_comes_back_with_its_file_and_no_job_was_meant_to_be_out(
    tmp_path, with_directory
):
    file = jobs.JobFile(tmp_path, jobs.select())
    file.vanish(with_directory=with_directory)
    assert file.directory.exists() is not with_directory
    assert not list(file.directory.glob("*"))
    file.come_back()
    assert len(loader.load([file.directory]).jobs) == len(file.known())
    assert not any(job.out for job in file.known())


def test_a_long_command_says_each_second_that_it_lives_and_ends_when_it_is_hurried(tmp_path):
    file = jobs.JobFile(tmp_path, jobs.LONG)
    (long, _) = jobs.LONG
    command = long.entry(["sh", str(tmp_path / "job.sh")], str(file.lines))["command"]
    names = {"JOB": "long", "RUN_ID": "long-20270115T080000Z", "ATTEMPT": "1", "SCHEDULED_AT": "x"}
    with subprocess.Popen(
        command, env={f"KUBER_CRON_{name}": value for name, value in names.items()}
    ) as process:
        eventually(lambda: sum(line.beats for line in file.read()) >= 2, 20)
        file.hurry()
        assert process.wait(20) == 0
    start, *beats, end = file.read()
    assert (start.beats, start.code, end.beats, end.code) == (False, None, False, 0)
    assert all(line.beats for line in beats)


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

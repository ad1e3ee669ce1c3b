import json
import os
import re

import pytest

from kuber_cron.worker.output import stdout_relay

ATTEMPT = {"job": "r", "run_id": "r-1", "attempt": 1}


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def test_pieces_arrive_in_order_and_before_the_close_returns(pipe):
    read, write = pipe
    target = stdout_relay.Relay(write)
    lane = target.lane("raw", **ATTEMPT)
    for number in range(100):
        lane.write("stdout", b"%d\n" % number)
    target.close()
    assert os.read(read, 65536) == b"".join(b"%d\n" % number for number in range(100))


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("raw", rb"kuber-cron: \d+ bytes not shown\n"),
        ("json", rb'"text": "\[kuber-cron: \d+ bytes not shown\]"}\n'),
    ],
)
def test_a_reader_that_stalls_holds_up_nobody_and_is_told_what_it_missed(pipe, form, told):
    read, write = pipe
    dropped = []
    target = stdout_relay.Relay(write, limit_bytes=200_000, on_dropped=dropped.append)
    lane = target.lane(form, **ATTEMPT)
    for _ in range(1000):
        lane.write("stdout", b"x" * 999 + b"\n")  # a megabyte into a pipe of 64 KiB that nobody empties
    received = b""
    while received.count(b"x" * 999) < 100:
        received += os.read(read, 65536)
    lane.write("stdout", b"end\n")
    while b"end" not in received:
        received += os.read(read, 65536)
    target.close()
    assert len(received) < 400_000
    assert re.search(told, received)
    assert received.count(b"x" * 999) * 1000 + sum(dropped) == 1_000_000


def test_one_command_that_floods_costs_the_others_no_line(pipe):
    read, write = pipe
    target = stdout_relay.Relay(write, limit_bytes=400_000)
    flood, quiet = target.lane("raw", **ATTEMPT), target.lane("json", **ATTEMPT | {"job": "quiet"})
    for _ in range(100):
        flood.write("stdout", b"x" * 9_999 + b"\n")
        quiet.write("stdout", b"y\n")
    received = b""
    while received.count(b'"job": "quiet"') < 100:
        received += os.read(read, 65536)
    target.close(0.1)
    assert received.count(b"x" * 9_999) <= 26  # they took turns: what waited of the flood did not come first


def test_a_reader_that_has_gone_costs_nothing():
    read, write = os.pipe()
    os.close(read)
    dropped = []
    target = stdout_relay.Relay(write, limit_bytes=1000, on_dropped=dropped.append)
    lane = target.lane("raw", **ATTEMPT)
    for _ in range(100):
        lane.write("stdout", b"x" * 100)
    lane.close()
    target.close()
    assert lane.waiting_bytes <= 1000
    assert sum(dropped) >= 9_000
    os.close(write)


def test_json_lines_say_whose_they_are_and_raw_output_is_as_it_was(pipe):
    read, write = pipe
    target = stdout_relay.Relay(write)
    for form in ("json", "raw"):
        lane = target.lane(form, **ATTEMPT)
        lane.write("stderr", b"caf\xc3\xa9\n")
        lane.close()
    target.close()
    first, second = sorted(os.read(read, 65536).splitlines(), reverse=True)
    assert json.loads(first) == {"job": "r", "run": "r-1", "attempt": 1, "stream": "stderr", "text": "café"}
    assert second == "café".encode()

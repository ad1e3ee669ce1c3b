import json
import os
from datetime import UTC, datetime

import pytest

from kuber_cron.cli import relay
from kuber_cron.worker.command import Launch

LAUNCH = Launch(
    run_id="r-1",
    job="r",
    execution_id="e",
    argv=("true",),
    env={},
    scheduled_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def test_pieces_arrive_in_order_and_before_the_close_returns(pipe):
    read, write = pipe
    target = relay.Relay(write)
    for number in range(100):
        target.put(b"%d\n" % number)
    target.close()
    assert os.read(read, 65536) == b"".join(b"%d\n" % number for number in range(100))


def test_a_reader_that_stalls_holds_up_nobody_and_is_told_what_it_missed(pipe):
    read, write = pipe
    target = relay.Relay(write, limit_bytes=100_000)
    for _ in range(1000):
        target.put(b"x" * 999 + b"\n")  # a megabyte into a pipe of 64 KiB that nobody empties
    received = b""
    while received.count(b"x" * 999) < 100:
        received += os.read(read, 65536)
    target.put(b"end\n")
    while not received.endswith(b"end\n"):
        received += os.read(read, 65536)
    target.close()
    assert len(received) < 300_000
    assert b" bytes not shown\nend\n" in received


def test_a_reader_that_has_gone_costs_nothing():
    read, write = os.pipe()
    os.close(read)
    target = relay.Relay(write, limit_bytes=1000)
    for _ in range(100):
        target.put(b"x" * 100)
    target.close()
    os.close(write)


def test_json_lines_say_whose_they_are_and_raw_output_is_as_it_was(pipe):
    read, write = pipe
    target = relay.Relay(write)
    for form in ("json", "raw"):
        for sink in relay.sinks_for(target, form, LAUNCH):
            sink.write("stderr", b"caf\xc3\xa9\n")
            sink.close()
    target.close()
    first, second = os.read(read, 65536).splitlines()
    assert json.loads(first) == {"job": "r", "run": "r-1", "attempt": 1, "stream": "stderr", "text": "café"}
    assert second == "café".encode()

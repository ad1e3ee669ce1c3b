"""What is kept of an output: head and tail, lines as JSON, a bounded log file."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.output import log_file
from kuber_cron.worker.output.capture import MAX_LINE_BYTES, JsonLines, Output
from kuber_cron.worker.output.excerpt_buffer import HEAD_BYTES, TAIL_BYTES
from kuber_cron.worker.output.log_file import LogFile, Tail

pieces = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=300)), max_size=20
)
big_pieces = st.lists(
    st.builds(lambda data, times: data * times, st.binary(min_size=1, max_size=8), st.integers(1, 9000)),
    max_size=8,
)


def kept(chunks):
    output = Output()
    for chunk in chunks:
        output.write("stdout", chunk)
    return output.close()


def logged(path, chunks, limit):
    file = LogFile(path, limit)
    for chunk in chunks:
        file.write(chunk)
    file.close()
    return file


def test_a_short_output_is_kept_whole():
    captured = kept([b"hello ", b"world\n"])
    assert (captured.text, captured.total_bytes, captured.omitted_bytes) == ("hello world\n", 12, 0)


def test_of_a_long_output_both_ends_are_kept_and_the_gap_is_told():
    captured = kept([b"a" * 10_000, b"b" * 90_000, b"the error\n"])
    assert captured.head == "a" * HEAD_BYTES
    assert captured.tail.endswith("bbbthe error\n")
    assert len(captured.tail) == TAIL_BYTES
    assert captured.omitted_bytes == captured.total_bytes - HEAD_BYTES - TAIL_BYTES
    assert f"{captured.omitted_bytes} bytes not shown" in captured.text


def test_what_is_not_utf_8_is_replaced():
    assert kept([b"\xff ok"]).text == "\ufffd ok"


@given(chunks=big_pieces)
def test_head_tail_and_gap_are_all_of_it(chunks):
    captured = kept(chunks)
    assert captured.total_bytes == sum(map(len, chunks))
    whole = b"".join(chunks)
    if not captured.omitted_bytes:
        assert captured.text == whole.decode("utf-8", "replace")
    else:
        assert captured.total_bytes == captured.omitted_bytes + HEAD_BYTES + TAIL_BYTES


@given(text=st.text(alphabet="aä€😀", min_size=1, max_size=12).map(lambda text: text * (30_000 // len(text))))
def test_no_character_is_cut_in_two(text):
    captured = kept([text.encode()])
    assert captured.omitted_bytes
    assert text.startswith(captured.head)
    assert text.endswith(captured.tail)


@given(chunks=big_pieces, size=st.integers(1, 5000))
def test_a_tail_is_the_last_bytes_in_bounded_memory(chunks, size):
    tail = Tail(size)
    for chunk in chunks:
        tail.write(chunk)
        assert len(tail._data) <= 2 * size
    assert tail.read() == b"".join(chunks)[-size:]


@pytest.fixture(scope="module")
def log_path(tmp_path_factory):
    return tmp_path_factory.mktemp("logs") / "job" / "x-1.log"


@given(chunks=st.lists(st.binary(min_size=1, max_size=90), max_size=12), limit=st.integers(0, 300))
def test_a_log_file_holds_all_or_the_beginning_the_end_and_the_exact_gap(log_path, chunks, limit):
    file = logged(log_path, chunks, limit)
    whole = b"".join(chunks)
    content = log_path.read_bytes()
    assert file.warning is None
    if len(whole) <= limit:
        assert (content, file.dropped_bytes) == (whole, 0)
        return
    keep = limit - limit // 4
    marker = b"\n[kuber-cron: %d bytes dropped here]\n" % (len(whole) - limit)
    end = whole[len(whole) - limit // 4 :]
    assert content == whole[:keep] + marker + end
    assert file.dropped_bytes == len(whole) - limit


def test_a_log_a_little_over_its_limit_lacks_just_the_little(tmp_path):
    path = tmp_path / "x.log"
    file = logged(path, [b"0123456789" * 10, b"abc"], 100)
    assert (
        path.read_bytes()
        == (b"0123456789" * 10)[:75]
        + b"\n[kuber-cron: 3 bytes dropped here]\n"
        + b"8901234567890123456789abc"
    )
    assert file.dropped_bytes == 3


def test_a_log_file_that_cannot_be_made_costs_the_log_and_is_told_once(tmp_path):
    (tmp_path / "file").touch()
    file = logged(tmp_path / "file" / "job" / "x.log", [b"abc", b"def"], 100)
    assert (file.exists, file.dropped_bytes) == (False, 6)
    assert "Not a directory" in file.warning


def test_a_full_disk_costs_what_it_costs_and_is_told_once():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    file = logged(full, [b"abc", b"def"], 100)
    assert file.dropped_bytes == 6
    assert "No space left" in file.warning


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=90), max_size=12),
    limit=st.integers(0, 600),
    room=st.integers(0, 300),
)
def test_whatever_the_disk_takes_the_file_holds_both_ends_and_the_exact_gap(log_path, chunks, limit, room):
    whole, write, pwrite = b"".join(chunks), os.write, os.pwrite
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_file.os, "write", lambda fd, data: _write(write, fd, data, room))
        patch.setattr(log_file.os, "pwrite", lambda fd, data, at: _write(pwrite, fd, data, room, at))
        file = logged(log_path, chunks, limit)
    content = log_path.read_bytes()
    assert len(content) <= max(room, 0)
    before, _, after = content.partition(b"\n[kuber-cron: %d bytes dropped here]\n" % file.dropped_bytes)
    assert whole.startswith(before)
    assert whole.endswith(after)
    assert len(before) + len(after) + file.dropped_bytes == len(whole)
    assert 0 <= file.refused_bytes <= file.dropped_bytes
    assert file.refused_bytes == 0 or file.warning is not None


def _write(write, fd, data, room, at=None):
    """As on a disk that has so much room for the file."""
    place = os.lseek(fd, 0, os.SEEK_CUR) if at is None else at
    data = data[: max(0, room - place)]
    if not data:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(fd, data) if at is None else write(fd, data, at)


def test_a_log_file_is_not_written_through_a_link(tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    link = tmp_path / "x.log"
    link.symlink_to(target)
    assert not logged(link, [b"abc"], 100).exists
    assert target.read_text() == "precious"


def lines_of(chunks):
    told = []
    sink = JsonLines(told.append, job="j", run_id="r", attempt=1)
    for stream, data in chunks:
        sink.write(stream, data)
    sink.close()
    assert all(documents.endswith("\n") for documents in told)
    return [json.loads(line) for line in "".join(told).split("\n")[:-1]]


def test_lines_are_told_with_their_stream_when_they_are_whole():
    told = lines_of([("stdout", b"one\ntw"), ("stderr", b"oops\n"), ("stdout", b"o\nthr")])
    assert [(line["stream"], line["text"]) for line in told] == [
        ("stdout", "one"),
        ("stderr", "oops"),
        ("stdout", "two"),
        ("stdout", "thr"),
    ]
    assert told[0] == {"job": "j", "run": "r", "attempt": 1, "stream": "stdout", "text": "one"}


def test_a_line_without_an_end_is_told_in_pieces_and_takes_no_memory():
    told = lines_of([("stdout", b"x" * 10_000)] * 10 + [("stdout", b"\nshort\n")])
    assert "".join(line["text"] for line in told[:-1]) == "x" * 100_000
    assert all(len(line["text"]) <= MAX_LINE_BYTES for line in told)
    assert [line.get("partial", False) for line in told[-2:]] == [False, False]


def test_a_gap_stands_where_it_is_and_ends_the_line_before_it():
    told = []
    sink = JsonLines(told.append, job='a "b"', run_id="r", attempt=2)
    sink.write("stdout", b"half a li")
    sink.gap(7)
    sink.write("stdout", b"whole\n")
    sink.close()
    lines = [json.loads(line) for line in "".join(told).splitlines()]
    assert [line["text"] for line in lines] == ["half a li", "[kuber-cron: 7 bytes not shown]", "whole"]
    assert {line["job"] for line in lines} == {'a "b"'}


@given(chunks=pieces)
def test_each_streams_lines_are_its_text_however_it_came_in_pieces(chunks):
    told = lines_of(chunks)
    for stream in ("stdout", "stderr"):
        whole = b"".join(data for name, data in chunks if name == stream)
        texts = [line["text"] for line in told if line["stream"] == stream]
        expected = [line.decode("utf-8", "replace") for line in whole.split(b"\n")]
        assert texts == (expected if expected[-1] else expected[:-1])


def test_a_sink_that_fails_is_left_out_and_costs_the_others_nothing():
    class Broken:
        calls = 0

        def write(self, _stream, _data):
            self.calls += 1
            raise RuntimeError("broken")

        def close(self):
            raise RuntimeError("broken")

    broken, told = Broken(), []
    output = Output(sinks=[broken, JsonLines(told.append, job="j", run_id="r", attempt=1)])
    output.write("stdout", b"a\n")
    output.write("stdout", b"b\n")
    assert output.close().text == "a\nb\n"
    assert (broken.calls, len(told)) == (1, 2)

"""Both buffer of an output, with their streams, and what those who follow it are shown."""

import itertools
import json

from hypothesis import example, given
from hypothesis import strategies as st

from kuber_cron.worker.output.excerpt_buffer import CHANGE_BYTES, HEAD_BYTES, TAIL_BYTES, ExcerptBuffer

streams = st.sampled_from(["stdout", "stderr"])
texts = st.builds(
    lambda text, times: (text * times).encode(),
    st.text("aä€😀\n", min_size=1, max_size=6),
    st.integers(1, 3000),
)
chunks = st.lists(st.tuples(streams, texts), max_size=8)
"""Cut at any byte by the tests below."""


def cut(pieces, size):
    """The same in smaller pieces, characters cut in two."""
    return [(stream, data[at : at + size]) for stream, data in pieces for at in range(0, len(data), size)]


def written(pieces):
    buffer = ExcerptBuffer()
    for stream, data in pieces:
        buffer.write(stream, data)
    return buffer.excerpt(final=True)


def by_stream(excerpt):
    text, at, found = excerpt.head + excerpt.tail, 0, {"stdout": "", "stderr": ""}
    for stream, count in excerpt.streams:
        found[stream] += text[at : at + count]
        at += count
    assert at == len(text)
    return found


def test_which_part_came_from_which_stream_is_kept_in_order():
    excerpt = written([("stdout", b"one\n"), ("stderr", b"oops\n"), ("stdout", b"two\n"), ("stdout", b"3\n")])
    assert excerpt.text == "one\noops\ntwo\n3\n"
    assert excerpt.streams == (("stdout", 4), ("stderr", 5), ("stdout", 6))


@given(pieces=chunks, size=st.integers(1, 5000))
@example(pieces=[("stdout", "ä".encode()), ("stderr", b"x")], size=1)
def test_while_nothing_is_omitted_each_streams_text_is_what_it_wrote(pieces, size):
    excerpt = written(cut(pieces, max(size, sum(len(data) for _, data in pieces) // 100)))
    if excerpt.omitted_bytes == 0:
        for stream, text in by_stream(excerpt).items():
            assert text == b"".join(data for name, data in pieces if name == stream).decode()


@given(pieces=chunks, size=st.integers(1, 5000))
def test_each_streams_text_is_the_beginning_and_the_end_of_what_it_wrote(pieces, size):
    excerpt = written(cut(pieces, max(size, sum(len(data) for _, data in pieces) // 100)))
    head, tail = {"stdout": "", "stderr": ""}, {"stdout": "", "stderr": ""}
    for stream, text, is_tail in excerpt._runs():
        (tail if is_tail else head)[stream] += text
    for stream in ("stdout", "stderr"):
        whole = b"".join(data for name, data in pieces if name == stream).decode()
        assert whole.startswith(head[stream])
        assert whole.endswith(tail[stream])


@given(
    pieces=st.lists(st.tuples(streams, st.binary(min_size=1, max_size=3)), max_size=30),
    times=st.integers(1, 3000),
)
def test_what_is_kept_is_bounded_however_often_the_streams_alternate(pieces, times):
    buffer = ExcerptBuffer()
    for stream, data in itertools.islice(itertools.cycle(pieces), times if pieces else 0):
        buffer.write(stream, data)
        assert (
            sum(len(data) for _, data in buffer._tail) + CHANGE_BYTES * (len(buffer._tail) - 1)
            <= 2 * TAIL_BYTES
        )
    excerpt = buffer.excerpt(final=True)
    # U+FFFD, which takes three bytes, may stand for one.
    assert len(excerpt.head.encode()) <= 3 * HEAD_BYTES
    assert len(excerpt.tail.encode()) <= 3 * TAIL_BYTES
    assert len(excerpt.streams) <= (HEAD_BYTES + TAIL_BYTES) // CHANGE_BYTES + 4


def test_a_flood_of_bytes_that_alternate_is_small_as_json():
    buffer = ExcerptBuffer()
    for _ in range(50_000):
        buffer.write("stdout", b"o")
        buffer.write("stderr", b"e")
    excerpt = buffer.excerpt(final=True)
    assert len(json.dumps(excerpt.to_fields())) < HEAD_BYTES + TAIL_BYTES
    assert excerpt.omitted_bytes > 90_000


@given(pieces=chunks, size=st.integers(1, 5000), looks=st.sets(st.integers(0, 40)))
def test_who_follows_sees_all_that_is_written_or_is_told_of_the_gap(pieces, size, looks):
    small = cut(pieces, max(size, sum(len(data) for _, data in pieces) // 100))
    buffer, position, seen, gaps = ExcerptBuffer(), 0, {"stdout": "", "stderr": ""}, 0
    for number, (stream, data) in enumerate([*small, ("stdout", b"")]):
        buffer.write(stream, data)
        if number in looks or number == len(small):
            excerpt = buffer.excerpt()
            for name, text in excerpt.since(position):
                if name == "gap":
                    gaps += 1
                else:
                    seen[name] += text
            position = excerpt.total_bytes
    assert buffer.excerpt(final=True).total_bytes == sum(len(data) for _, data in small)
    for stream in ("stdout", "stderr"):
        whole = b"".join(data for name, data in pieces if name == stream).decode()
        assert seen[stream] == whole if not gaps else len(seen[stream]) <= len(whole)


def test_a_gap_is_told_once_and_with_its_size():
    buffer = ExcerptBuffer()
    buffer.write("stdout", b"begin\n")
    first = buffer.excerpt()
    buffer.write("stdout", b"x" * 100_000 + b"end\n")
    second = buffer.excerpt()
    told = second.since(first.total_bytes)
    assert [name for name, _ in told] == ["stdout", "gap", "stdout"]
    assert f"{100_010 - HEAD_BYTES - TAIL_BYTES} bytes" in told[1][1]
    assert second.since(second.total_bytes) == []
    buffer.write("stderr", b"more")
    assert buffer.excerpt().since(second.total_bytes) == [("stderr", "more")]

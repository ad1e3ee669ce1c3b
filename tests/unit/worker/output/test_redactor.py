"""Values of named variables in an output, however it comes in pieces."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.worker.output.capture import Output
from kuber_cron.worker.output.redactor import Redactor, values

secrets = st.lists(
    st.text("ab", min_size=1, max_size=5).map(str.encode), min_size=1, max_size=4, unique=True
).map(lambda found: sorted(found, key=len, reverse=True))


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def redacted(found, pieces):
    redactor = Redactor(found)
    return b"".join([*(redactor.feed(piece) for piece in pieces), redactor.finish()])


@given(found=secrets, text=st.text("abc", max_size=40), places=st.lists(st.integers(0, 1000), max_size=10))
def test_the_whole_is_the_same_however_it_came_in_pieces_and_no_value_is_left(found, text, places):
    data = text.encode()
    result = redacted(found, cut(data, places))
    assert result == re.sub(b"|".join(map(re.escape, found)), b"***", data)
    assert not any(secret in result for secret in found)


@given(found=secrets, text=st.text("cde\n", max_size=60), places=st.lists(st.integers(0, 1000), max_size=10))
def test_what_holds_no_value_passes_as_it_is(found, text, places):
    assert redacted(found, cut(text.encode(), places)) == text.encode()


@given(found=secrets, text=st.text("ab", max_size=60))
def test_no_more_is_held_back_than_a_value_is_long(found, text):
    redactor = Redactor(found)
    for byte in text.encode():
        redactor.feed(bytes([byte]))
        assert len(redactor._withheld) < max(map(len, found))


def test_of_two_values_the_longer_is_hidden_though_the_shorter_came_first():
    assert redacted([b"abcdefgh", b"abcdef"], [b"<abcdef", b"gh> <abcdef", b"xx>"]) == b"<***> <***xx>"


def test_names_are_compared_whole_and_in_any_case():
    environ = {
        "API_TOKEN": "token-value", "db_password": "hunter22", "PGPASSWORD": "pg-secret", "SIGNING_KEY": "k" * 30,
        "TOKENS": "not-hidden", "PATH": "/usr/bin", "DEBUG_KEY": "true", "EMPTY_SECRET": "",
    }  # fmt: skip
    patterns = ("*_TOKEN", "*_SECRET", "*PASSWORD", "*_KEY")
    assert values(environ, patterns) == (b"k" * 30, b"token-value", b"pg-secret", b"hunter22")
    assert values(environ, ("none",)) == values(environ, ()) == ()


def test_of_a_url_the_password_is_hidden_by_itself_too():
    environ = {"DATABASE_URL": "postgres://u:s3cr%21et@db:5432/x"}
    assert values(environ, ("DATABASE_URL",)) == (
        b"postgres://u:s3cr%21et@db:5432/x",
        b"s3cr%21et",
        b"s3cr!et",
    )


@pytest.mark.parametrize("value", ["x://[", "short", "   ", "a" * 20_000])
def test_what_is_no_value_to_hide_is_left_alone(value):
    assert not [found for found in values({"A_KEY": value}, ("A_KEY",)) if found != value.encode()]
    assert b"a" * 20_000 not in values({"A_KEY": value}, ("A_KEY",))


def test_excerpt_and_sinks_have_the_output_without_the_values_and_the_log_file_has_it_as_it_came():
    class Log:
        dropped_bytes, refused_bytes, path, exists, warning = 0, 0, None, False, None
        data = b""

        def write(self, data):
            self.data += data

        def close(self):
            pass

    class Heard(Log):
        def write(self, _stream, data):
            self.data += data

    log, heard = Log(), Heard()
    output = Output(log, [heard], [b"hunter22"])
    output.write("stdout", b"it is hun")
    output.write("stderr", b"x")
    output.write("stdout", b"ter22, hunt")
    assert "hunter" not in output.excerpt().text
    captured = output.close()
    assert captured.text == heard.data.decode() == "it is x***, hunt"
    assert captured.streams == (("stdout", 6), ("stderr", 1), ("stdout", 9))
    assert captured.total_bytes == 21
    assert log.data == b"it is hunxter22, hunt"

"""What leaves the process of a URL with a password."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.observability.redaction import redacted, redacted_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:geheim@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:geheim@host", "redis://:***@host"),
        ("rediss+sentinel://u:geheim@a:1,b:2/m", "rediss+sentinel://u:***@a:1,b:2/m"),
        ("unix:///run/r.sock?db=0&password=geheim", "unix:///run/r.sock?db=0&password=***"),
        ("redis://a:1/m?sentinel_password=geheim&db=1", "redis://a:1/m?sentinel_password=***&db=1"),
        (
            "to redis://u:geheim@h and redis://v:geheim@i failed",
            "to redis://u:***@h and redis://v:***@i failed",
        ),
    ],
)
def test_passwords_are_hidden(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "redis://host:6379/0",
        "redis://user@host",
        "mail a@b",
        "12:30 x@y",
        "",
        "http://h:1 a@b",
        "<u='redis://h:1' m='a@b'>",
    ],
)
def test_everything_else_is_left_alone(text):
    assert redacted(text) == text


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1))
def test_whatever_the_password_a_whole_url_shows_nothing_of_it(password):
    assert redacted_url(f"redis://user:{password}@host:6379/0") == "redis://user:***@host:6379/0"


@given(
    st.dictionaries(
        st.sampled_from(["url", "mail", "note"]), st.sampled_from(["redis://h:6379", "a@b", "x:y@z"])
    )
)
def test_a_json_document_without_passwords_comes_out_as_it_was(document):
    text = json.dumps(document)
    assert redacted(text) == text

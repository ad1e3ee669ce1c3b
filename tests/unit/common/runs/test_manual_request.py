"""Requests: what is sent is what is read, signed or not, and nothing else is."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.runs.manual_request import MAX_BYTES, MAX_RUNS, ManualRequest, RequestError

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ASKED = ManualRequest(
    id="0123456789abcdef" * 2,
    action="trigger",
    job="backup",
    asked_at=NOW,
    until_at=NOW + timedelta(seconds=10),
    who="ada@desk",
)
NAIVE = NOW.replace(tzinfo=None)  # hypothesis wants its bounds so
instants = st.datetimes(
    min_value=NAIVE.replace(year=1971), max_value=NAIVE.replace(year=2100), timezones=st.just(UTC)
)
variables = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
        lambda name: not name.startswith("KUBER_CRON_")
    ),
    st.text().filter(lambda text: "\0" not in text and text.isprintable()),
    max_size=5,
)


@st.composite
def requests(draw):
    action = draw(st.sampled_from(["trigger", "backfill"]))
    span = {"from_at": draw(instants), "to_at": draw(instants)} if action == "backfill" else {}
    return ManualRequest(
        id=draw(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        action=action,
        job=draw(st.from_regex(r"[A-Za-z0-9_-]{1,62}", fullmatch=True)),
        asked_at=draw(instants),
        until_at=draw(instants),
        who=draw(st.text(max_size=128).filter(str.isprintable)),
        env=draw(variables),
        force=draw(st.booleans()),
        chain=draw(st.booleans()),
        most=draw(st.integers(1, MAX_RUNS)),
        dry=draw(st.booleans()),
        **span,
    )


@given(requests())
def test_what_is_sent_is_what_is_read(asked):
    assert ManualRequest.from_bytes(asked.to_bytes()) == asked


@given(st.binary(max_size=200))
def test_whatever_bytes_there_are_a_request_comes_of_them_or_an_error_of_ours(raw):
    with pytest.raises(RequestError):
        ManualRequest.from_bytes(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(json.loads(ASKED.to_bytes()))), json_values)
def test_whatever_value_an_attribute_has_a_request_of_the_right_kinds_comes_of_it_or_an_error_of_ours(
    name, value
):
    raw = json.dumps({**json.loads(ASKED.to_bytes()), name: value}).encode()
    try:
        read = ManualRequest.from_bytes(raw)
    except RequestError:
        return
    assert ManualRequest.from_bytes(read.to_bytes()) == read
    assert isinstance(read.env, dict)
    assert all(isinstance(text, str) for pair in read.env.items() for text in pair)
    assert isinstance(read.job, str)
    assert isinstance(read.who, str)


def test_too_many_bytes_are_not_read():
    with pytest.raises(RequestError, match="larger than"):
        ManualRequest.from_bytes(b" " * (MAX_BYTES + 1))


def test_a_newer_form_says_who_is_to_be_updated():
    raw = json.dumps({**json.loads(ASKED.to_bytes()), "version": 2}).encode()
    with pytest.raises(RequestError) as error:
        ManualRequest.from_bytes(raw)
    assert (error.value.code, error.value.hint) == (
        "newer-request",
        "update the schedulers, or use their version of kuber-cron",
    )


@pytest.mark.parametrize("name", ["", "A B", "1A", "A=", "KUBER_CRON_JOB", "A\n", "é", "x" * 300])
def test_names_that_no_variable_may_have_are_refused(name):
    with pytest.raises(RequestError) as error:
        replace(ASKED, env={name: "1"}).check()
    assert error.value.code == "bad-variable"

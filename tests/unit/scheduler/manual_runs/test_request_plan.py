"""Which runs a request makes: the instants of a span by an independent walk, chains in their order, nobody else's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stepped import chain, job

from kuber_cron.common.runs import signing
from kuber_cron.common.runs.manual_request import ManualRequest, RequestError
from kuber_cron.common.runs.run_id import run_id
from kuber_cron.scheduler.decisions.catalog import compile_entries
from kuber_cron.scheduler.manual_runs import request_plan

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
TRIGGER = ManualRequest(
    id="0123456789abcdef" * 2,
    action="trigger",
    job="a",
    asked_at=NOW,
    until_at=NOW + timedelta(seconds=10),
    who="ada@desk",
)


def span(first, end, **more):
    return replace(TRIGGER, action="backfill", from_at=first, to_at=end, **more)


def heard(what, now=NOW, *, keys=(), signature="", is_begun=False):
    return request_plan.verified(what.id, what.to_bytes(), signature, keys, now, is_begun=is_begun)


@given(
    step=st.integers(1, 59),
    start=st.integers(-5000, 100),
    minutes=st.integers(1, 3000),
    now=st.integers(-4000, 100),
)
def test_a_span_has_the_instants_from_its_start_on_before_its_end_and_none_of_the_future(
    step, start, minutes, now
):
    at = NOW + timedelta(minutes=now)
    first = NOW.replace(microsecond=0) + timedelta(minutes=start)
    end = first + timedelta(minutes=minutes)
    entries = compile_entries([job("a", f"*/{step} * * * *")])
    walked = [first + timedelta(minutes=number) for number in range(minutes)]
    expected = [each for each in walked if each.minute % step == 0 and each <= at]
    wanted = span(first, end, most=1000)
    if not 0 < len(expected) <= 1000:
        with pytest.raises(RequestError) as error:
            request_plan.plan(wanted, entries, at)
        assert error.value.code == ("too-many" if expected else "no-instants")
        return
    found = request_plan.plan(wanted, entries, at)
    assert [each.at for each in found] == expected
    assert [each.instant for each in found] == [run_id("a", each) for each in expected]
    assert len({each.run for each in found}) == len(found)


def test_a_span_that_is_asked_for_in_two_parts_is_the_same():
    entries = compile_entries([job("a", "*/7 * * * *", timezone="Europe/Berlin")])
    first, middle, end = (NOW - timedelta(hours=hours) for hours in (90, 40, 3))
    whole = [each.at for each in request_plan.plan(span(first, end), entries, NOW)]
    parts = [
        each.at
        for cut in ((first, middle), (middle, end))
        for each in request_plan.plan(span(*cut), entries, NOW)
    ]
    assert whole == parts


@given(st.data())
def test_the_jobs_of_a_chain_come_each_after_those_that_it_comes_after(data):
    names = [f"j{number}" for number in range(8)]
    jobs = [
        job(
            name,
            after=sorted(data.draw(st.sets(st.sampled_from(names[:number]), max_size=3))) if number else [],
        )
        for number, name in enumerate(names)
    ]
    entries = compile_entries(jobs)
    first = data.draw(st.sampled_from(names))
    found = request_plan.plan(replace(TRIGGER, job=first, chain=True), entries, NOW)
    made = {each.entry.job.id: each for each in found}
    assert found[0].entry.job.id == first
    seen = set()
    for each in found:
        before = {made[other].run for other in each.entry.job.after if other in made}
        assert set(each.after) == before <= seen
        seen.add(each.run)
    reached = {first}
    while more := {one.id for one in jobs if not reached.isdisjoint(one.after)} - reached:
        reached |= more
    assert made.keys() == reached


def test_without_chain_nobody_follows():
    (one,) = request_plan.plan(TRIGGER, compile_entries(chain("a", "b")), NOW)
    assert (one.entry.job.id, one.after, one.at) == ("a", (), NOW.replace(microsecond=0))


def test_a_request_counts_from_when_it_was_asked_until_it_says():
    assert heard(TRIGGER) == TRIGGER
    assert heard(TRIGGER, NOW + timedelta(seconds=10)) == TRIGGER
    for now in (NOW + timedelta(seconds=11), NOW - timedelta(seconds=6)):
        with pytest.raises(RequestError) as error:
            heard(TRIGGER, now)
        assert error.value.code == "request-expired"
    assert heard(TRIGGER, NOW + timedelta(hours=1), is_begun=True) == TRIGGER


def test_variables_count_only_with_the_signature_of_a_key_that_is_accepted():
    what = replace(TRIGGER, env={"A": "1"})
    signature = signing.sign(what.to_bytes(), b"key", signing.REQUEST)
    assert heard(what, keys=[b"other", b"key"], signature=signature) == what
    for keys, given_ in (([b"other"], signature), ([b"key"], ""), ([b"key"], "0" * 64)):
        with pytest.raises(RequestError) as error:
            heard(what, keys=keys, signature=given_)
        assert error.value.code == "unsigned-variables"
    assert heard(what) == what
    assert heard(TRIGGER, keys=[b"key"], signature="forged") == TRIGGER

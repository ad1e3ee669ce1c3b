"""The shared vectors: next runs that independent engines agree on, and what the parser takes and refuses."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kuber_cron.common.schedule import Schedule, ScheduleError
from kuber_cron.common.schedule.field_spec import FIELD_SPECS

VECTORS = Path(__file__).parents[3] / "vectors"


def cases(name):
    lines = (VECTORS / name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


NEXT_RUNS = cases("next_runs.jsonl")
SYNTAX = cases("syntax.jsonl")


@pytest.mark.parametrize("case", NEXT_RUNS, ids=lambda case: f"{case['id']}-{case['group']}")
def test_the_next_runs_are_those_that_independent_engines_agree_on(case):
    schedule = Schedule.parse(case["expr"], case["tz"])
    at = datetime.fromisoformat(case["start"])
    found = []
    for _ in case["expect"]:
        at = schedule.next_after(at)
        found.append(at and at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if at is None:
            break
    assert found == case["expect"]


@pytest.mark.parametrize(
    "case", [case for case in SYNTAX if case["verdict"] == "accept"], ids=lambda case: repr(case["expr"])
)
def test_an_accepted_text_means_the_sets_of_the_vector(case):
    schedule = Schedule.parse(case["expr"])
    for kind in FIELD_SPECS:
        if "sets" not in case:
            break
        expected, found = case["sets"][kind.about], schedule.fields[kind.about]
        if expected == "hashed":
            assert found
            assert found <= every_value(kind)
        elif expected == "*":
            assert found == every_value(kind)
        else:
            assert found == frozenset(expected)


@pytest.mark.parametrize(
    "case", [case for case in SYNTAX if case["verdict"] == "reject"], ids=lambda case: repr(case["expr"])
)
def test_a_refused_text_says_which_field_is_bad(case):
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(case["expr"])
    assert caught.value.about == case.get("about", "nickname")


def every_value(kind):
    """All values of a field; Sunday is 0 only."""
    return frozenset(range(kind.low, min(kind.high, 6) + 1 if kind.about == "day-of-week" else kind.high + 1))


def test_no_vector_was_lost():
    assert len(NEXT_RUNS) == 618
    assert len(SYNTAX) == 80

"""The arguments of a decision: as the dispatcher sends them, and as the deciding script reads them."""

import re
from datetime import UTC, datetime
from importlib import resources

import pytest

from kuber_cron.scheduler.decisions.dispatcher import Dispatcher
from kuber_cron.scheduler.decisions.planner import Decision

SCRIPT = (resources.files("kuber_cron.common.redis_store.lua") / "decide_batch.lua").read_text()


@pytest.fixture
def places():
    """Argument → its place, by the script."""
    table = re.search(r"^local (KIND[\w, ]+) =\s+([\d, ]+)$", SCRIPT, re.MULTILINE)
    assert table is not None
    return dict(zip(table[1].split(", "), map(int, table[2].split(", ")), strict=True))


@pytest.fixture
def sent():
    """A decision as it is sent, without a run of its own."""
    decision = Decision(
        kind="skip",
        job="backup",
        believed="before",
        cursor="after",
        first=datetime.fromtimestamp(1000, UTC),
        last=datetime.fromtimestamp(2000, UTC),
        count=3,
        reason="too late",
        run="backup-1",
        due_at=datetime.fromtimestamp(1000, UTC),
    )
    wire = Dispatcher(store=None, builder=None).item(decision, None).wire({})
    return re.findall(rb"\$\d+\r\n([^\r]*)\r\n", wire)


def test_every_argument_is_where_the_script_reads_it(places, sent):
    expected = {
        "KIND": b"skip", "JOB": b"backup", "BELIEVED": b"before", "CURSOR": b"after", "FIRST_AT": b"1000",
        "LAST_AT": b"2000", "COUNT": b"3", "REASON": b"too late", "RUN": b"backup-1", "QUEUE": b"", "POLICY": b"",
        "SHARED_FIELDS": b"", "NFIELDS": b"0",
    }  # fmt: skip
    assert {name: sent[place] for name, place in places.items()} == expected


def test_the_fields_begin_after_the_arguments(places, sent):
    assert f"local WIDTH = {len(places)}\n" in SCRIPT
    assert len(sent) == len(places)

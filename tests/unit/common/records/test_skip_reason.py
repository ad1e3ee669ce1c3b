"""One list of skip reasons: the deciding scripts spell no other, and the documents name each."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from kuber_cron.common.records import skip_reason
from kuber_cron.common.records.skip_reason import SkipReason

DOCS = Path(__file__).parents[4] / "docs"
# The ends of a run that never started, which are outcomes and no skips.
OUTCOMES = {"replaced", "stopped"}
SPELT = re.compile(r"(?:\bskip|\bend_unstarted)\([^'()]*'(\w+)'|return (?:false|'refused'), '(\w+)'")


def scripts() -> str:
    lua = Path(str(files("kuber_cron.common.redis_store") / "lua"))
    return "\n".join(path.read_text() for path in sorted(lua.rglob("*.lua")))


def test_the_scripts_spell_no_other_reason():
    spelt = {one or other for one, other in SPELT.findall(scripts())}
    assert {"overlap", "predecessor", "suspended", "deadline", "removed"} <= spelt
    assert spelt <= {*SkipReason, *OUTCOMES}


@pytest.mark.parametrize("page", ["metrics.md", "semantics.md"])
def test_each_reason_is_documented(page):
    text = (DOCS / page).read_text()
    assert [reason for reason in SkipReason if f"`{reason}`" not in text] == []


def test_a_reason_is_its_word():
    assert SkipReason("state_lost") is SkipReason.STATE_LOST
    assert f"{SkipReason.OVERLAP}" == "overlap"


def test_a_word_of_a_newer_release_is_its_own_sentence_and_no_wish():
    assert skip_reason.sentence_of("eclipse") == "eclipse"
    assert not skip_reason.is_wished("eclipse")


def test_only_a_suspension_is_wished():
    assert [reason for reason in SkipReason if reason.is_wished] == [SkipReason.SUSPENDED]

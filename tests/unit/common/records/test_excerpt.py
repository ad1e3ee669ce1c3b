"""An output's excerpt, as Redis holds it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.records.excerpt import Excerpt

excerpts = st.builds(
    Excerpt,
    head=st.text(),
    tail=st.text(),
    streams=st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.integers(1, 2**40)), max_size=20
    ).map(tuple),
    total_bytes=st.integers(0, 2**53),
    omitted_bytes=st.integers(0, 2**53),
)


@given(excerpt=excerpts)
def test_json_and_back_is_the_same(excerpt):
    assert Excerpt.from_fields(json.loads(json.dumps(excerpt.to_fields()))) == excerpt

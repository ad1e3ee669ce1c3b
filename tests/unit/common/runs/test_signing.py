"""Signatures: of exactly these bytes, under one of these keys, for one kind of message."""

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.runs.signing import REQUEST, RUN, is_signed, keys_in, sign

contents = st.binary(min_size=1, max_size=200)
keys = st.binary(min_size=1, max_size=64)
kinds = st.sampled_from([RUN, REQUEST])


@given(contents, keys, kinds, st.integers(0, 10**6), st.integers(1, 255))
def test_one_changed_byte_breaks_the_signature(content, key, kind, place, change):
    signature = sign(content, key, kind)
    assert is_signed(content, signature, [b"another", key], kind)
    place %= len(content)
    changed = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
    assert not is_signed(changed, signature, [key], kind)


@given(contents, keys)
def test_a_signature_of_a_request_is_none_of_a_run_and_the_other_way_round(content, key):
    assert not is_signed(content, sign(content, key, REQUEST), [key], RUN)
    assert not is_signed(content, sign(content, key, RUN), [key], REQUEST)


def test_without_keys_nothing_is_signed():
    assert not is_signed(b"content", sign(b"content", b"key"), [])


def test_a_key_file_holds_one_key_a_line_and_blank_lines_are_none():
    assert keys_in(b"\n first \r\n\n  \nsecond") == [b"first", b"second"]

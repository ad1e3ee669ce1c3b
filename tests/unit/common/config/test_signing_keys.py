import pytest

from kuber_cron.common.config import signing_keys
from kuber_cron.common.errors import SettingsError


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys"

    def write(content):
        path.write_bytes(content)
        return path

    return write


def test_the_first_line_signs_and_the_further_ones_are_accepted(key_file):
    assert signing_keys.read(key_file(b"\n new \r\nold\n\n")) == [b"new", b"old"]


def test_a_file_that_cannot_be_read_or_is_empty_is_named(key_file, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(
        SettingsError, match=f"cannot read the signing key file {missing}: No such file"
    ) as raised:
        signing_keys.read(missing, hint="mount it")
    assert raised.value.hint == "mount it"
    empty = key_file(b" \n")
    with pytest.raises(SettingsError, match=f"the signing key file {empty} is empty"):
        signing_keys.read(empty)


def test_without_a_file_the_tiers_start_only_where_that_is_accepted(key_file):
    assert signing_keys.required(key_file(b"key"), insecure=True) == [b"key"]
    assert signing_keys.required(None, insecure=True) == []
    with pytest.raises(SettingsError, match="KUBER_CRON_SIGNING_KEY_FILE is not set") as raised:
        signing_keys.required(None, insecure=False)
    assert raised.value.hint == "name a file with a key, or accept that with KUBER_CRON_INSECURE=1"

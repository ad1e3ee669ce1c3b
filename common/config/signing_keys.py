"""The signing key file: the one place where the keys of runs and manual requests are read.

Its first line signs; the further ones are accepted too, for rotation.
"""

from pathlib import Path

from kuber_cron.common.config.environment import variable
from kuber_cron.common.errors import SettingsError
from kuber_cron.common.runs import signing

FIELD = "signing_key_file"


def read(path: Path, *, hint: str | None = None) -> list[bytes]:
    """Return the keys in the file, at least one, the signing one first.

    Args:
        path: The key file.
        hint: What to do about a file that cannot be read.

    Raises:
        SettingsError: It cannot be read or is empty.
    """
    try:
        keys = signing.keys_in(path.read_bytes())
    except OSError as error:
        raise SettingsError(
            f"cannot read the signing key file {path}: {error.strerror}", hint=hint
        ) from error
    if not keys:
        raise SettingsError(f"the signing key file {path} is empty", hint="its first line is the key")
    return keys


def required(path: Path | None, *, insecure: bool) -> list[bytes]:
    """Return the keys that the tiers sign and verify with; none where the settings accept that by ``insecure``.

    Raises:
        SettingsError: There is no key file and that is not accepted, or it cannot be read or is empty.
    """
    if path is not None:
        return read(path, hint="mount the Secret that holds it")
    if insecure:
        return []
    raise SettingsError(
        f"{variable(FIELD)} is not set: whoever can write to Redis could run commands on the workers",
        hint=f"name a file with a key, or accept that with {variable('insecure')}=1",
    )

"""Variables as people give them to a command: ``--env NAME=VALUE``."""

import re
from collections.abc import Sequence

from kuber_cron.common.errors import UsageError

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def parse(words: Sequence[str]) -> dict[str, str]:
    """Return the variables of ``NAME=VALUE`` words; a later one wins.

    Raises:
        UsageError: A word has another form.
    """
    found = {}
    for word in words:
        match = _VARIABLE.fullmatch(word)
        if match is None:
            raise UsageError(f'--env "{word}" is not NAME=VALUE', hint="write --env MODE=full")
        found[match[1]] = match[2]
    return found

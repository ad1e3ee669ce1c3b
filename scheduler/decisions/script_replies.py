"""The replies of the leader's scripts: refusals as errors, and the words of the rest (spec: reliability.md §4).

Each script that writes for a leader compares its epoch with the fence first. Its reply begins with ``OK``, or with why it
did nothing.
"""

from collections.abc import Sequence

from redis.exceptions import RedisError, ResponseError

from kuber_cron.common.errors import FencedError, RedisUnreachableError, StateLostError
from kuber_cron.common.records.parsing import text
from kuber_cron.scheduler.election.term import Term


def accepted(reply: Sequence[bytes | str], term: Term) -> list[str]:
    """Return the words of a reply after its first.

    Raises:
        FencedError, StateLostError: The reply is a refusal.
    """
    words = [text(part) for part in reply]
    refuse(words, term)
    return words[1:]


def refuse(reply: Sequence[str], term: Term) -> None:
    """Raise what a reply means for the term, if it is a refusal.

    Raises:
        FencedError, StateLostError: The reply is a refusal.
    """
    match reply[:3]:
        case ["FENCED", "lease", _]:
            raise FencedError(f"epoch {term.epoch} is fenced: the lease's key in Redis is not its own")
        case ["FENCED", _, stored]:
            raise FencedError(f"epoch {term.epoch} is fenced by epoch {stored}")
        case ["LOST", "through", stored]:
            raise StateLostError(f"Redis counts {stored} decisions, this leader knows more: writes were lost")
        case ["LOST", _, stored]:
            raise StateLostError(
                f"Redis holds epoch {stored or 'none'}, this leader has epoch {term.epoch}: writes were lost"
            )


def unapplied(what: str, error: RedisError) -> RedisUnreachableError:
    """Return the error of a script call that failed: refused, or without a reply."""
    if isinstance(error, ResponseError):
        return RedisUnreachableError(f"Redis has refused {what}: {error}")
    return RedisUnreachableError(f"{what} got no answer: {error}")

"""The word that somebody probably meant: suggestions in error messages.

A search costs about a millisecond for 600 candidates, so whoever reports many errors asks for the first few
only (cron.md §5), and each question is remembered.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache

SUGGESTIONS_PER_FILE = 20
"""Measured: 3,000 bad zones in a file cost 4.6 s of search; by the twentieth the reader has seen the pattern."""

# Longer words are no misspelling of anything, and the comparison is quadratic in their length.
_LONGEST_WORD = 64


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like ``word``, or None if none is like it.

    A candidate that differs in letter case only wins; else the best of difflib's ratio from 0.6 on, which is
    one or two slips of the finger in a word of usual length.
    """
    return _closest(word, candidates if isinstance(candidates, tuple) else tuple(candidates))


@lru_cache(maxsize=1024)
def _closest(word: str, candidates: tuple[str, ...]) -> str | None:
    if not word or len(word) > _LONGEST_WORD:
        return None
    folded = word.casefold()
    by_folded = {candidate.casefold(): candidate for candidate in reversed(candidates)}
    if folded in by_folded:
        return by_folded[folded]
    matches = get_close_matches(folded, by_folded, n=1)
    return by_folded[matches[0]] if matches else None


class Suggestions:
    """The suggestions of one file: each question is asked once, and only the first 20 are asked at all."""

    def __init__(self, limit: int = SUGGESTIONS_PER_FILE) -> None:
        self._left = limit
        self._known: dict[tuple[str, str], str | None] = {}

    def hint(self, word: str, candidates: Iterable[str], kind: str) -> str | None:
        """Return ``did you mean 'retries'?``, or None; ``kind`` names the set of candidates."""

        def search() -> str | None:
            found = closest(word, candidates)
            return None if found is None else f"did you mean '{found}'?"

        return self.ask(word, kind, search)

    def ask(self, word: str, kind: str, search: Callable[[], str | None]) -> str | None:
        """Return what ``search`` finds for ``word``, or None once the budget is spent."""
        key = (kind, word)
        if key not in self._known:
            if self._left <= 0:
                return None
            self._left -= 1
            self._known[key] = search()
        return self._known[key]

"""The error of schedules and time zones."""

from collections.abc import Callable

from kuber_cron.common.errors import KuberCronError


class ScheduleError(KuberCronError, ValueError):
    """A schedule or a time zone cannot be understood, so nothing will run by it: no time is ever guessed.

    Attributes:
        about: The part that is wrong: ``minute``, ``hour``, ``day-of-month``, ``month``, ``day-of-week``,
            ``schedule``, ``nickname`` or ``timezone``.
        message: What is wrong, naming the value.
        code: The diagnostic's stable code; ``field_spec.ErrorCode`` is the table.
        offset: 0-based character offset of the offending field or item in the text that was parsed.
    """

    def __init__(
        self,
        message: str,
        *,
        about: str,
        code: str,
        hint: str | Callable[[], str | None] | None = None,
        offset: int = 0,
    ) -> None:
        super().__init__(message)
        self.about = about
        self.code = code
        self.offset = offset
        self._hint: str | Callable[[], str | None] | None = hint

    @property
    def hint(self) -> str | None:
        """The text to write instead, or None; a search by similarity runs at the first reading, because it is dear."""
        hint = self._hint
        if callable(hint):
            hint = self._hint = hint()
        return hint

    @hint.setter
    def hint(self, hint: str | Callable[[], str | None] | None) -> None:
        self._hint = hint

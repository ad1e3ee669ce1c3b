"""The channel of a job's own ``ping`` URL: start, success and failure in the manner of healthchecks.io. Pure."""

import uuid
from dataclasses import dataclass
from typing import Literal

from kuber_cron.common.notifications.events import NAMESPACE, RunEnded, end_of

Signal = Literal["start", "success", "fail"] | int
"""A number is the exit code of a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One sign of life for the job's own URL.

    Attributes:
        url: The job's ``ping``.
        signal: What is reported.
        output: The end of the command's output.
    """

    url: str
    job: str
    run: str
    signal: Signal
    output: str = ""

    @property
    def target(self) -> str:
        """The URL of the request: the signal is the path's last part, the run a UUID, both as healthchecks.io has it."""
        base, _, query = self.url.partition("#")[0].partition("?")
        suffix = "" if self.signal == "success" else f"/{self.signal}"
        run = f"rid={uuid.uuid5(NAMESPACE, self.run)}"
        return f"{base.rstrip('/')}{suffix}?{query + '&' if query else ''}{run}"

    @property
    def content(self) -> bytes:
        """The body of the request."""
        return end_of(self.output).encode("utf-8", "replace")


def signal_of(ended: RunEnded) -> Signal | None:
    """Return what this end is reported as; None for nothing, because the newer run that replaced it pings itself."""
    match ended.kind:
        case "success" | "recovery":
            return "success"
        case "failure":
            # Its process may have answered our TERM with a neat 0, which would be read as success.
            has_code = (
                ended.outcome == "failed" and ended.exit_code is not None and 1 <= ended.exit_code <= 255
            )
            return ended.exit_code if has_code else "fail"
        case _:
            return None

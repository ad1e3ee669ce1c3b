"""The record of an attempt: how an execution of a run went, as RQ's results have it. Pure."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kuber_cron.common.records.parsing import Fields, decimal, instant, number, seconds_as_instant
from kuber_cron.common.records.run import RunRecord

_LOST = "the worker was lost: no heartbeat within its ttl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One attempt of a run.

    Attributes:
        attempt: 1 for the first.
        outcome: How it ended; null while it runs.
        exit_code: What the command returned; null where a signal ended it, or it never ran.
        signal: The number of the signal that ended it, or null.
        queued_at: When the run was queued for it; null where an older worker has not recorded it.
        started_at: When it began.
        ended_at: When it ended.
        seconds: How long the command ran.
        worker: Where.
        execution: What names it in Redis.
        cpu_seconds: CPU time of the command and all that it waited for.
        max_rss_bytes: Memory of its largest process; null where that was not above the worker's own size.
        output_bytes: All that it wrote.
        head: The beginning of its output, at most 4 KiB.
        tail: The end of it, at most 12 KiB of what is not in ``head``.
        omitted_bytes: What lies between the two.
        streams: Which part of ``head`` and then ``tail`` came from where: the stream and its number of characters.
        log: The log file with all of it, on its worker.
        dropped_bytes: What that file lacks.
        reason: What people should know of its end beside all that, or null.
        warnings: What could not be done as asked.
    """

    attempt: int
    outcome: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    worker: str | None = None
    execution: str | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    output_bytes: int = 0
    head: str = ""
    tail: str = ""
    omitted_bytes: int = 0
    streams: tuple[tuple[str, int], ...] = ()
    log: str | None = None
    dropped_bytes: int = 0
    reason: str | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: Fields, place: int) -> "AttemptRecord":
        """Return the attempt of an entry of RQ's results.

        ``place``: its number where the entry has none, as that of a lost attempt.
        """
        value = _value(fields.get("return_value", ""))
        ours = "outcome" in value
        return cls(
            attempt=number(value.get("attempt")) or place,
            outcome=str(value["outcome"]) if ours else "lost",
            exit_code=_whole(value.get("exit_code")),
            signal=_whole(value.get("signal")),
            queued_at=instant(value.get("queued_at")),
            started_at=seconds_as_instant(fields.get("execution_started_at")),
            ended_at=seconds_as_instant(fields.get("execution_ended_at")),
            seconds=decimal(value.get("seconds")),
            worker=fields.get("worker_name") or None,
            execution=fields.get("execution_id") or None,
            cpu_seconds=decimal(value.get("cpu_seconds")),
            max_rss_bytes=_whole(value.get("max_rss_bytes")),
            output_bytes=number(value.get("output_bytes")),
            head=str(value.get("head") or ""),
            tail=str(value.get("tail") or ""),
            omitted_bytes=number(value.get("omitted_bytes")),
            streams=_streams(value.get("streams")),
            log=str(value["log"]) if value.get("log") else None,
            dropped_bytes=number(value.get("dropped_bytes")),
            reason=None if ours else _exception_text(fields.get("exc_string", "")) or _LOST,
            warnings=_texts(value.get("warnings")),
        )

    @classmethod
    def running(cls, run: RunRecord, output: bytes | None) -> "AttemptRecord":
        """Return the run's attempt that has not ended; ``output``: its output so far, as ``output:<execution>`` has it."""
        output_so_far = _json(output or b"")
        return cls(
            attempt=run.attempt,
            queued_at=run.queued_at,
            started_at=run.started_at,
            worker=run.worker,
            execution=run.execution,
            output_bytes=number(output_so_far.get("total_bytes")),
            head=str(output_so_far.get("head") or ""),
            tail=str(output_so_far.get("tail") or ""),
            omitted_bytes=number(output_so_far.get("omitted_bytes")),
            streams=_streams(output_so_far.get("streams")),
        )

    @property
    def kept_bytes(self) -> int:
        """The length of the output as it is kept, with what is omitted; secrets in it may have been replaced."""
        return len(self.head.encode()) + self.omitted_bytes + len(self.tail.encode())


def attempts(entries: Sequence[Fields], ended: int) -> list[AttemptRecord]:
    """Return the attempts of RQ's results, oldest first as they are given.

    ``ended``: how many of the run have ended. Each has one entry and the newest ten are kept, so their numbers follow from
    it; a number in an entry wins.
    """
    first = max(1, ended - len(entries) + 1)
    return [AttemptRecord.from_fields(fields, first + index) for index, fields in enumerate(entries)]


def _whole(value: object) -> int | None:
    found = decimal(value)
    return None if found is None else int(found)


def _value(encoded: str) -> Mapping[str, Any]:
    try:
        return _json(base64.b64decode(encoded))
    except ValueError:
        return {}


def _json(text: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _exception_text(encoded: str) -> str:
    try:
        return zlib.decompress(base64.b64decode(encoded)).decode("utf-8", "replace").strip()
    except (zlib.error, ValueError):
        return ""


def _streams(found: object) -> tuple[tuple[str, int], ...]:
    try:
        return tuple((str(name), int(count)) for name, count in found)  # type: ignore[attr-defined] # or what is raised
    except (TypeError, ValueError):
        return ()


def _texts(found: object) -> tuple[str, ...]:
    return tuple(str(each) for each in found) if isinstance(found, list) else ()

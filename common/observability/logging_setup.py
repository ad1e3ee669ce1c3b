"""Logs: one line per change of state, to standard error, JSON for machines and text for a terminal.

Our own lines and those of rq, redis, kubernetes and urllib3 pass through one handler, so that they look alike and no
secret escapes. Standard output is not touched: it belongs to the output of commands and to ``--format json``.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from kuber_cron.common.observability.redaction import redacted, without_known_secrets

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

# Foreign loggers and the lowest level that is logged of them, unless ours is higher still. The kubernetes client's
# debug lines hold whole responses of the API server, urllib3's one line a request; RQ's info lines repeat ours.
_FLOORS = {
    "kubernetes": logging.INFO,
    "urllib3": logging.INFO,
    "asyncio": logging.INFO,
    "rq": logging.WARNING,
}


def configure(format: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's name
    """Write everything that is logged in this process to ``stream`` in ``format``, from ``level`` up.

    Args:
        format: ``auto`` is text when ``stream`` is a terminal, else JSON.
        level: The lowest level that is written.
        stream: Standard error when None.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *_COMMON,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # module-level loggers must follow a second configure
    )
    as_text = format == "text" or (format == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_COMMON],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                hide_secrets,
                *(_text(colors=terminal) if as_text else _JSON),
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "kuber_cron", False):
            root.removeHandler(old)
    handler.kuber_cron = True  # type: ignore[attr-defined] # to know it again at the next configure
    root.addHandler(handler)
    root.setLevel(number)
    for name, floor in _FLOORS.items():
        logging.getLogger(name).setLevel(max(floor, number))
    logging.captureWarnings(True)


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Return the event with every text in it, at any depth, redacted. A structlog processor."""
    return {key: _hidden(value) for key, value in event.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(without_known_secrets(value))
    if isinstance(value, Mapping):
        return {_hidden(key): _hidden(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _hidden(repr(value) if isinstance(value, bytes) else str(value))


_COMMON: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.StackInfoRenderer(),
    structlog.stdlib.PositionalArgumentsFormatter(),
]

_JSON: list[Processor] = [
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    structlog.processors.JSONRenderer(ensure_ascii=False),
]


def _text(*, colors: bool) -> list[Processor]:
    return [
        _drop_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="timestamp"),
        structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback, pad_level=True
        ),
    ]


def _drop_logger_name(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Drop our own modules' names, noise to a person; a foreign library's name says whose line it is."""
    if str(event.get("logger", "")).startswith("kuber_cron"):
        event.pop("logger")
    return event

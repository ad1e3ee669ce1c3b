"""Errors on their way out: one sentence, one hint, one exit status, never a traceback.

Exit status 1: a problem was found. 2: the command was called in a way that has no meaning. 130: Ctrl-C.
141: the reader of a pipe went away (``| head``), as a shell reports it for every other program.
"""

import itertools
import os
import sys
import traceback

import typer

from kuber_cron import __version__
from kuber_cron.cli.terminal import output
from kuber_cron.common.errors import KuberCronError, UsageError
from kuber_cron.control import documents

OK, PROBLEM, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
# What became of a command, as a shell and timeout(1) say it: 128 and the signal's number, 124 after its time limit.
SIGNALLED, TIMED_OUT = 128, 124

_DEBUG = "--debug"
_REPORT = f"this is a defect of Kuber-Cron: please report it as an issue, with the output of the same command with {_DEBUG}"


def wants_json(argv: list[str]) -> bool:
    """Return whether `argv` asks for JSON. The raw words are read, because a usage error leaves nothing else."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    asked = [value for word, value in itertools.pairwise([*words, ""]) if word == "--format"]
    asked += [word.partition("=")[2] for word in words if word.startswith("--format=")]
    return output.Format.JSON in asked


def without_debug(argv: list[str]) -> tuple[list[str], bool]:
    """Return `argv` without ``--debug``, and whether it was there; before or behind the command, but not after ``--``."""
    end = argv.index("--") if "--" in argv else len(argv)
    words = [word for word in argv[:end] if word != _DEBUG]
    return words + argv[end:], len(words) < end


def report(error: BaseException, *, as_json: bool, with_traceback: bool = False) -> int:
    """Write `error` for a person or a program; return the exit status.

    `with_traceback`: stderr holds the traceback too. At the debug level it does so for an unexpected error.
    """
    is_expected = isinstance(error, KuberCronError | typer.TyperException)
    if with_traceback or (not is_expected and os.environ.get("KUBER_CRON_LOG_LEVEL", "").lower() == "debug"):
        traceback.print_exception(error)
    if isinstance(error, KuberCronError):
        status = USAGE if isinstance(error, UsageError) else PROBLEM
        return _write(error.code, error.message, error.hint, status, as_json=as_json)
    if isinstance(error, typer.TyperException):
        message, hint = _usage_words(error)
        return _write(UsageError.code, message, hint, USAGE, as_json=as_json)
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return _write(
        "internal", f"unexpected {words} (kuber-cron {__version__})", _REPORT, PROBLEM, as_json=as_json
    )


def complain(*lines: str) -> None:
    """Write each of `lines` to stderr."""
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def note(sentence: str) -> None:
    """Write a note for people to standard error."""
    complain(f"note: {output.printable(sentence)}")


def _write(code: str, message: str, hint: str | None, status: int, *, as_json: bool) -> int:
    if as_json:
        output.write_json(documents.error_document(code, message, hint))
        return status
    lines = [output.printable(line) for line in message.splitlines()] or ["something went wrong"]
    complain(f"error: {lines[0]}", *[f"  {line}" for line in lines[1:]])
    if hint:
        complain(f"hint: {output.printable(hint)}")
    return status


def _usage_words(error: typer.TyperException) -> tuple[str, str]:
    """Split the parser's sentence into what is wrong and what to do about it."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "kuber-cron"
    possibilities = getattr(error, "possibilities", None)
    if possibilities:
        return _sentence(error.message), f"did you mean {' or '.join(sorted(possibilities))}?"
    message, found, guess = error.format_message().partition(". Did you mean ")
    if found:
        return _sentence(message), f"did you mean {guess}"
    return _sentence(message), f"see {command} --help"


def _sentence(message: str) -> str:
    """Return the parser's message in the form of ours: one line, no capital, no full stop."""
    line = " ".join(message.replace("Value error, ", "").replace("Input should", "it should").split())
    line = line.removesuffix(".")
    return line[:1].lower() + line[1:]

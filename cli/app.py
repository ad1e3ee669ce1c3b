"""The ``kuber-cron`` command: its list of commands, and what happens around each of them.

The commands stand in their own modules; nothing here or at their top imports Redis, RQ or Kubernetes, so that
``--help`` and ``check`` answer at once.
"""

import contextlib
import os
import signal
import sys
from typing import Annotated

import typer

from kuber_cron import __version__
from kuber_cron.cli.commands import (
    backfill,
    check,
    completion,
    convert,
    exec_,
    import_,
    jobs,
    json_schema,
    logs,
    next_,
    pause,
    quarantine,
    queues,
    resume,
    retry,
    run,
    runs,
    scheduler,
    show,
    status,
    stop,
    trigger,
    why,
    worker,
    workers,
)
from kuber_cron.cli.process import init_process
from kuber_cron.cli.terminal import errors

_EPILOG = """\b
Examples:
  kuber-cron check crontab                 what is wrong with a job file
  kuber-cron next crontab                  when its jobs run
  kuber-cron run crontab                   run them, here and now
  kuber-cron status                        what there is, and what is amiss
  kuber-cron why backup                    why did it, or did it not, run?

\b
Exit status:
  0 all is well, 1 a problem was found, 2 the command was called wrongly
"""

app = typer.Typer(
    name="kuber-cron",
    rich_markup_mode=None,  # help is plain text: quick, and the same in a pipe
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True, epilog=_EPILOG)
def kuber_cron(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[  # noqa: ARG001 - taken out of argv before, for it may stand behind the command too
        bool, typer.Option("--debug", help="With an error show its traceback; also behind a command.")
    ] = False,
) -> None:
    """The cron that never loses a run, never doubles one, and can always say why."""
    if version:
        sys.stdout.write(f"kuber-cron {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(errors.USAGE)


COMMANDS = (
    run.COMMAND,
    check.COMMAND,
    next_.COMMAND,
    convert.COMMAND,
    import_.COMMAND,
    exec_.COMMAND,
    status.COMMAND,
    jobs.COMMAND,
    runs.COMMAND,
    show.COMMAND,
    logs.COMMAND,
    why.COMMAND,
    queues.COMMAND,
    workers.COMMAND,
    quarantine.COMMAND,
    trigger.COMMAND,
    stop.COMMAND,
    retry.COMMAND,
    pause.COMMAND,
    resume.COMMAND,
    backfill.COMMAND,
    scheduler.COMMAND,
    worker.COMMAND,
    json_schema.COMMAND,
    completion.COMMAND,
)
for _command in COMMANDS:
    app.command(_command.name, short_help=_command.summary, epilog=_command.epilog)(_command.function)


def execute(argv: list[str]) -> int:
    """Run one command line to its end; return its exit status. Nothing but a second Ctrl-C escapes."""
    as_json = errors.wants_json(argv)
    argv, with_traceback = errors.without_debug(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # text that the terminal's encoding lacks must not end a command
            stream.reconfigure(errors="backslashreplace")
    completion.answer()
    try:
        status = app(args=argv, prog_name=completion.PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except SystemExit as stop:
        # The parser ends a command so when it meets EPIPE, before we can.
        return _reader_gone() if stop.code == errors.PROBLEM else _status(stop.code)
    except Exception as error:  # noqa: BLE001 -- the top of the program: every error leaves as one sentence
        return errors.report(error, as_json=as_json, with_traceback=with_traceback)
    return _status(status)


def _status(value: object) -> int:
    return value if isinstance(value, int) else errors.OK


def _reader_gone() -> int:
    """Let the interpreter's last flush go nowhere, because the reader of standard output is gone."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return errors.BROKEN_PIPE


def main() -> None:
    """The entry point of ``kuber-cron`` and of ``python -m kuber_cron``."""
    if os.getpid() == init_process.FIRST:
        sys.exit(init_process.run_below(_execute_once))
    sys.exit(_execute_once())


def _execute_once() -> int:
    status = execute(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C must not change a status that is decided
    return status

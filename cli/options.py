"""The options that several commands share, so that each is spelt and explained in one way."""

from typing import Annotated

import typer

from kuber_cron.cli.arguments import completions
from kuber_cron.cli.terminal.output import Format
from kuber_cron.common.errors import UsageError

FormatOption = Annotated[Format, typer.Option("--format", help="Tables for people, or one JSON document.")]
SystemOption = Annotated[
    bool, typer.Option("--system", help="Crontabs hold a user word before the command, as /etc/crontab does.")
]
TimezoneOption = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="The zone of jobs that name none.", show_default=False),
]
JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="The job's name.", show_default=False, autocompletion=completions.jobs
    ),
]
OptionalJobArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB", help="The job's name.", show_default=False, autocompletion=completions.jobs
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="The run's id, or a beginning that only it has.",
        show_default=False,
        autocompletion=completions.runs,
    ),
]
OptionalRunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="The run's id, or a beginning that only it has.",
        show_default=False,
        autocompletion=completions.runs,
    ),
]
NewestRunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id or a beginning of one; a job's name for its newest run.",
        autocompletion=completions.runs,
    ),
]
AbsoluteOption = Annotated[
    bool,
    typer.Option("--absolute", "-a", help="Show instants in full (UTC) instead of how far away they are."),
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Draw it anew every 2 s, until Ctrl-C.")]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Show its output, and exit with the command's own status.")
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME=VALUE", help="One more variable; may be repeated.", show_default=False
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also beside other runs of the job, and while it is paused.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")]
PatienceOption = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.1, max=600, help="How long the leader has for its answer."
    ),
]
RedisUrlOption = Annotated[
    str | None,
    typer.Option("--redis-url", metavar="URL", help="redis://, rediss:// or unix://.", show_default=False),
]
MetricsPortOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Metrics and health; 0 takes any free port.",
        show_default=False,
    ),
]
GraceOption = Annotated[
    float | None,
    typer.Option(
        "--grace",
        metavar="SECONDS",
        min=0,
        help="How long commands may finish on a stop.",
        show_default=False,
    ),
]
SlotsOption = Annotated[
    int | None,
    typer.Option("--slots", min=1, max=1024, help="How many commands run at once.", show_default=False),
]


def check_one_of(job: str | None, *, all_: bool) -> None:
    """Return if either a job is named or ``--all`` is given.

    Raises:
        UsageError: Neither or both are.
    """
    if (job is None) != all_:
        raise UsageError("say which: a JOB, or --all", hint="kuber-cron jobs lists them")

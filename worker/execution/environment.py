"""The environment of an attempt: which variables its command sees, and where it runs. Pure.

The rules are those of spec: cron.md §2, Variables; reliability.md §6, last item.
"""

from collections.abc import Mapping
from datetime import datetime

from kuber_cron.common import time_format

OWN_PREFIX = "KUBER_CRON_"
EXECUTION = "KUBER_CRON_EXECUTION"
"""The variable by which an attempt's processes are known, wherever they went."""
RUN = "KUBER_CRON_RUN_ID"

_DEFAULT_PATH = "/usr/bin:/bin"  # crontab(5)


def working_directory(cwd: str | None, env: Mapping[str, str]) -> str | None:
    """Return where the command runs: the job's ``cwd``, else ``HOME`` as written in its file, else None.

    None stands for the worker's own directory.
    """
    return cwd or env.get("HOME") or None


def environment(
    base: Mapping[str, str],
    own: Mapping[str, str],
    *,
    job: str,
    run_id: str,
    execution_id: str,
    attempt: int = 1,
    scheduled_at: datetime | None = None,
    shell: str | None = None,
) -> dict[str, str]:
    """Return the complete environment of one attempt.

    The worker's own environment without any ``KUBER_CRON_*`` (its settings, and the files of its secrets), then
    the job's variables, then ours, which nothing overrides.

    Args:
        base: The worker's environment.
        own: The variables of the job as written (``CRON_TZ`` stays among them).
        job: For ``KUBER_CRON_JOB``.
        run_id: For ``KUBER_CRON_RUN_ID``.
        execution_id: For ``KUBER_CRON_EXECUTION``.
        attempt: For ``KUBER_CRON_ATTEMPT``.
        scheduled_at: For ``KUBER_CRON_SCHEDULED_AT``, ISO 8601 UTC with Z; absent if None.
        shell: For ``SHELL`` where the job's command runs under one.
    """
    env = {"PATH": _DEFAULT_PATH}
    env.update((name, value) for name, value in base.items() if not name.startswith(OWN_PREFIX))
    if shell is not None:
        env["SHELL"] = shell
    env.update(own)
    env[f"{OWN_PREFIX}JOB"] = job
    env[RUN] = run_id
    env[f"{OWN_PREFIX}ATTEMPT"] = str(attempt)
    env[EXECUTION] = execution_id
    if scheduled_at is not None:
        env[f"{OWN_PREFIX}SCHEDULED_AT"] = time_format.iso(scheduled_at, "seconds")
    return env

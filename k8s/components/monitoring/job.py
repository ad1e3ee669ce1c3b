"""The dashboard of one job."""  # noqa: INP001 - a script's part, no package

from panels import BAD, IDLE, OK, Json, Panel, Query, Row, dashboard, lines, stat, states
from queries import CHOSEN, INSTANCE, JOB, NAMESPACE, by_minute, link, zero


def job() -> Json:
    """Return the dashboard: does the job succeed, when does it run, what does an attempt cost."""
    return dashboard(
        "kuber-cron-job",
        "Kuber-Cron / Job",
        "One job: its last and next run, outcomes, misses, and what its attempts cost.",
        variables=[NAMESPACE, INSTANCE, CHOSEN],
        links=[link("Kuber-Cron / Fleet", "kuber-cron-fleet")],
        rows=[Row("Now", _job_now()), Row("Runs", _job_runs()), Row("Attempts", _job_attempts())],
    )


def _job_now() -> list[Panel]:
    def newest(metric: str) -> str:
        return f"max({metric}{{{JOB}}})"

    about = Panel(
        kind="table",
        title="About",
        description="The queue that it runs in, and the team that it belongs to.",
        queries=[Query(expr=f"max by (job, queue, team) (cron_job_info{{{JOB}}})")],
        instant=True,
        width=4,
        height=4,
        more={
            "options": {"showHeader": True},
            "transformations": [
                {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True, "job": True}}}
            ],
        },
    )
    return [
        stat(
            "State",
            "Fails: a run has failed for good since the last success.",
            newest("cron_job_failing"),
            words={0: ("ok", OK), 1: ("fails", BAD)},
        ),
        stat(
            "Last success",
            "How long ago.",
            f"time() - {newest('cron_job_last_success_timestamp_seconds')}",
            unit="s",
            steps=((None, IDLE),),
        ),
        stat(
            "Last run",
            "How long ago it ended.",
            f"time() - {newest('cron_job_last_run_timestamp_seconds')}",
            unit="s",
            steps=((None, IDLE),),
        ),
        stat(
            "Next run",
            "In so long.",
            f"{newest('cron_job_next_run_timestamp_seconds')} - time()",
            unit="s",
            steps=((None, IDLE),),
        ),
        stat(
            "Overdue",
            "In so long, unless it succeeds before.",
            f"{newest('cron_job_success_expected_timestamp_seconds')} - time()",
            unit="s",
            steps=((None, BAD), (0, OK)),
        ),
        about,
    ]


def _job_runs() -> list[Panel]:
    return [
        states(
            "State",
            "Fails: a run has failed for good since the last success. Overdue: no success by when one was expected.",
            Query(expr=f"max(cron_job_failing{{{JOB}}})", legend="fails"),
            Query(
                expr=f"time() > bool max(cron_job_success_expected_timestamp_seconds{{{JOB}}})",
                legend="overdue",
            ),
            words={0: ("no", OK), 1: ("yes", BAD)},
            width=12,
        ),
        lines(
            "Runs that ended, a minute",
            "For good, retries included, by how.",
            Query(
                expr=by_minute("cron_job:cron_job_runs_total:max", by="outcome", where=JOB),
                legend="{{outcome}}",
            ),
            width=12,
            stacked=True,
        ),
        lines(
            "Share of runs that failed",
            "Of those that ended in the hour before.",
            Query(expr=f"cron_job:cron_runs_failed:ratio1h{{{JOB}}}", legend="failed"),
            unit="percentunit",
        ),
        lines(
            "Instants that were not queued, a minute",
            "By reason; docs/metrics.md has the list.",
            Query(
                expr=f"{by_minute('cron_job:cron_job_missed_total:max', by='reason', where=JOB)} {zero()}",
                legend="{{reason}}",
            ),
            stacked=True,
        ),
        lines(
            "Interval",
            "The longest time between two instants of its schedule, and the age of its last success.",
            Query(expr=f"max(cron_job_interval_seconds{{{JOB}}})", legend="interval"),
            Query(
                expr=f"time() - max(cron_job_last_success_timestamp_seconds{{{JOB}}})",
                legend="since the last success",
            ),
            unit="s",
        ),
    ]


def _job_attempts() -> list[Panel]:
    return [
        lines(
            "Attempts that ended, a minute",
            "By outcome; a run may have several.",
            Query(expr=by_minute("cron_job_executions_total", by="outcome", where=JOB), legend="{{outcome}}"),
            stacked=True,
        ),
        lines(
            "Failed attempts, retries and recoveries, a minute",
            "By reason; retries by policy, recoveries after a worker was lost or drained.",
            Query(
                expr=f"{by_minute('cron_job_failures_total', by='reason', where=JOB)} {zero()}",
                legend="failed {{reason}}",
            ),
            Query(expr=f"60 * sum(rate(cron_job_retries_total{{{JOB}}}[5m])) {zero()}", legend="retries"),
            Query(
                expr=f"60 * sum(rate(cron_job_recoveries_total{{{JOB}}}[5m])) {zero()}", legend="recoveries"
            ),
        ),
        lines(
            "Commands that run",
            "Now, on all workers.",
            Query(expr=f"sum(cron_job_running{{{JOB}}})", legend="running"),
        ),
        lines(
            "Duration",
            "Of the last attempt, and the mean of the hour before.",
            Query(expr=f"max(cron_job_last_duration_seconds{{{JOB}}})", legend="last"),
            Query(
                expr=f"sum(rate(cron_job_duration_seconds_sum{{{JOB}}}[1h]))"
                f" / (sum(rate(cron_job_duration_seconds_count{{{JOB}}}[1h])) > 0)",
                legend="mean",
            ),
            unit="s",
        ),
        lines(
            "CPU",
            "CPU seconds a second, of all that its commands started.",
            Query(expr=f"sum(rate(cron_job_cpu_seconds_total{{{JOB}}}[5m]))", legend="CPUs"),
            unit="none",
        ),
        lines(
            "Memory",
            "The largest process of the last attempt; 0 where it was no larger than the worker.",
            Query(expr=f"max(cron_job_max_rss_bytes{{{JOB}}}) {zero()}", legend="largest"),
            unit="bytes",
        ),
    ]

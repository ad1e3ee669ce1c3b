"""The fleet's dashboard: one installation. Above 300 lines, nearly all of them the table of its panels."""  # noqa: INP001 - a script's part, no package

from panels import BAD, HERE, IDLE, OK, Json, Panel, Query, Row, dashboard, lines, stat, states
from queries import INSTANCE, KEEP, NAMESPACE, POD, YES_NO, by_minute, link, quantile, zero


def fleet() -> Json:
    """Return the dashboard: is the installation led, on time, served, and which jobs fail."""
    rows = [
        Row("Now", _now()),
        Row("Jobs", _jobs()),
        Row("Deciding", _deciding()),
        Row("Queues and workers", _queues()),
        Row("Redis and processes", _processes()),
    ]
    return dashboard(
        "kuber-cron-fleet",
        "Kuber-Cron / Fleet",
        "One installation: leadership, lateness, jobs, queues, workers and Redis.",
        variables=[NAMESPACE, INSTANCE],
        links=[link("Kuber-Cron / Job", "kuber-cron-job")],
        rows=rows,
    )


def _now() -> list[Panel]:
    expected = f"cron_job_success_expected_timestamp_seconds{{{HERE}}}"
    return [
        stat(
            "Leader",
            "Schedulers that lead. One is right; two for more than a scrape are not.",
            f"sum(cron_leader{{{HERE}}})",
            steps=((None, BAD), (1, OK), (2, BAD)),
        ),
        stat(
            "Jobs that fail",
            "A run has failed for good since the job's last success.",
            f"sum(max by (job) (cron_job_failing{{{HERE}}}))",
            steps=((None, OK), (1, BAD)),
        ),
        stat(
            "Jobs overdue",
            "No success by when one was expected, allowances included.",
            f"sum(time() > bool max by (job) ({expected}))",
            steps=((None, OK), (1, BAD)),
        ),
        stat(
            "Alerts",
            "Firing now.",
            f'count(ALERTS{{alertname=~"KuberCron.+", alertstate="firing", {HERE}}}) {zero()}',
            steps=((None, OK), (1, BAD)),
        ),
        stat(
            "On time",
            "Runs that were queued within a second of their instant, of those in the last hour. 99.5 % is the objective.",
            f"1 - cron_instance:cron_runs_late:ratio_rate1h{{{HERE}}}",
            unit="percentunit",
            steps=((None, BAD), (0.995, OK)),
        ),
        stat(
            "Runs that wait",
            "In all queues.",
            f"sum(max by (queue) (cron_queue_depth{{{HERE}}}))",
            steps=((None, IDLE),),
        ),
        stat(
            "Schedulers",
            "That are up; all but one are standbys.",
            f"count(cron_leader{{{HERE}}})",
            steps=((None, "orange"), (2, OK)),
        ),
        stat(
            "Workers",
            "That are registered in Redis.",
            f"max(cron_workers{{{HERE}}})",
            steps=((None, BAD), (1, OK)),
        ),
        stat("Jobs", "In the files.", f"max(cron_config_jobs{{{HERE}}})", steps=((None, IDLE),)),
        stat(
            "Files in force",
            "No: they hold an error, and the last good jobs run.",
            f"min(cron_config_valid{{{HERE}}})",
            words=YES_NO,
        ),
        stat(
            "Redis",
            "Whether it answers every process.",
            f"min(cron_redis_up{{{HERE}}})",
            words={0: ("away", BAD), 1: ("up", OK)},
        ),
        stat(
            "Epoch",
            "The number of the term of leadership.",
            f"max(cron_leader_epoch{{{HERE}}})",
            steps=((None, IDLE),),
        ),
    ]


def _jobs() -> list[Panel]:
    def of_job(metric: str) -> str:
        return f"max by (job) ({metric}{{{HERE}}})"

    columns = [
        ("Value #A", "known", None),
        ("Value #B", "state", None),
        ("Value #C", "last success", "s"),
        ("Value #D", "next run in", "s"),
        ("Value #E", "overdue in", "s"),
    ]
    words = {"0": {"text": "ok", "color": OK, "index": 0}, "1": {"text": "fails", "color": BAD, "index": 1}}
    overrides = [
        {
            "matcher": {"id": "byName", "options": "state"},
            "properties": [
                {"id": "mappings", "value": [{"type": "value", "options": words}]},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
            ],
        },
        {
            "matcher": {"id": "byName", "options": "job"},
            "properties": [
                {
                    "id": "links",
                    "value": [
                        {
                            "title": "this job",
                            "url": f"/d/kuber-cron-job?{KEEP}&var-job=${{__value.text}}",
                            "targetBlank": False,
                        }
                    ],
                }
            ],
        },
        *(
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
            for _, name, unit in columns
            if unit
        ),
    ]
    table = Panel(
        kind="table",
        title="Jobs",
        description="Those that fail first. A click on a name leads to its dashboard.",
        queries=[
            Query(expr=f"max by (job, queue, team) (cron_job_info{{{HERE}}})"),
            Query(expr=of_job("cron_job_failing")),
            Query(expr=f"time() - {of_job('cron_job_last_success_timestamp_seconds')}"),
            Query(expr=f"{of_job('cron_job_next_run_timestamp_seconds')} - time()"),
            Query(expr=f"{of_job('cron_job_success_expected_timestamp_seconds')} - time()"),
        ],
        instant=True,
        width=24,
        height=9,
        more={
            "fieldConfig": {"overrides": overrides},
            "options": {"showHeader": True, "sortBy": [{"displayName": "state", "desc": True}]},
            "transformations": [
                {"id": "merge", "options": {}},
                {
                    "id": "organize",
                    "options": {
                        "excludeByName": {"Time": True, "Value #A": True},
                        "indexByName": {"job": 0, "team": 1, "queue": 2},
                        "renameByName": {source: name for source, name, _ in columns},
                    },
                },
            ],
        },
    )
    return [
        table,
        lines(
            "Runs that ended, a minute",
            "For good, retries included, by how. Counted in Redis, so no worker takes a count with it.",
            Query(expr=by_minute("cron_job:cron_job_runs_total:max", by="outcome"), legend="{{outcome}}"),
            stacked=True,
        ),
        lines(
            "Instants that were not queued, a minute",
            "By reason; docs/metrics.md has the list.",
            Query(
                expr=f"{by_minute('cron_job:cron_job_missed_total:max', by='reason')} {zero()}",
                legend="{{reason}}",
            ),
            stacked=True,
        ),
        lines(
            "Share of runs that failed",
            "Of those that ended in the hour before, by queue.",
            Query(expr=f"cron_queue:cron_runs_failed:ratio1h{{{HERE}}}", legend="{{queue}}"),
            unit="percentunit",
        ),
    ]


def _deciding() -> list[Panel]:
    late = "cron_job_schedule_lateness_seconds"
    return [
        states(
            "Who leads",
            "Standbys take over within a second of an orderly end and within some 17 s of a crash.",
            Query(expr=f"max by (pod, instance) (cron_leader{{{HERE}}})", legend=POD),
            words={0: ("standby", IDLE), 1: ("leads", OK)},
            width=12,
        ),
        lines(
            "Runs queued, a minute",
            "By the queue that they went to.",
            Query(expr=by_minute(f"{late}_count", by="queue"), legend="{{queue}}"),
            width=12,
            stacked=True,
        ),
        lines(
            "Lateness",
            "From an instant being due to its run being queued. Around changes of the leader up to some 17 s.",
            quantile(0.5, late),
            quantile(0.99, late),
            unit="s",
        ),
        lines(
            "Share of runs queued late",
            "More than a second after their instant; the objective is 0.5 %.",
            *(
                Query(expr=f"cron_instance:cron_runs_late:ratio_rate{span}{{{HERE}}}", legend=span)
                for span in ("5m", "1h", "6h")
            ),
            unit="percentunit",
        ),
        lines(
            "Renewals of the lease",
            "How long 99 % of them took, and how many attempts failed a minute.",
            quantile(0.99, "cron_lease_renew_seconds"),
            Query(
                expr=f"{by_minute('cron_lease_renew_failures_total', by='reason')} {zero()}",
                legend="failed {{reason}}",
            ),
            unit="none",
        ),
        lines(
            "Clocks",
            "Each scheduler's less Redis'. Runs are decided by Redis' clock.",
            Query(expr=f"max by (pod, instance) (cron_clock_skew_seconds{{{HERE}}})", legend=POD),
            Query(
                expr=f"max(cron_clock_stepped_back_seconds{{{HERE}}})",
                legend="Redis' clock has stepped back by",
            ),
            unit="s",
            least=None,
        ),
        states(
            "Failsafe",
            "The leader leads on past its lease, for the API server is away.",
            Query(expr=f"max by (pod, instance) (cron_failsafe{{{HERE}}})", legend=POD),
            words={0: ("no", OK), 1: ("failsafe", "orange")},
        ),
        lines(
            "What should not happen, in 15 minutes",
            "Errors that nobody foresaw, losses of state, refused batches.",
            *(
                Query(expr=f"sum(increase({metric}{{{HERE}}}[15m])) {zero()}", legend=legend)
                for metric, legend in (
                    ("cron_scheduler_errors_total", "scheduler errors"),
                    ("cron_worker_errors_total", "worker errors"),
                    ("cron_state_lost_total", "state lost"),
                    ("cron_fenced_total", "fenced"),
                    ("cron_quarantined_total", "quarantined"),
                    ("cron_claims_dropped_total", "claims dropped"),
                )
            ),
        ),
    ]


def _queues() -> list[Panel]:
    def of_queue(metric: str) -> Query:
        return Query(expr=f"max by (queue) ({metric}{{{HERE}}})", legend="{{queue}}")

    return [
        lines("Runs that wait", "By queue.", of_queue("cron_queue_depth"), stacked=True),
        lines("How long the head has waited", "By queue.", of_queue("cron_queue_oldest_seconds"), unit="s"),
        lines("Workers by queue", "That serve it.", of_queue("cron_queue_workers")),
        lines(
            "Start latency",
            "From queued to started: waiting for a worker's slot.",
            quantile(0.5, "cron_job_start_latency_seconds", by="queue"),
            quantile(0.99, "cron_job_start_latency_seconds", by="queue"),
            unit="s",
        ),
        lines(
            "Slots",
            "Commands that run, and that may run, at once.",
            Query(expr=f"sum(cron_worker_slots_busy{{{HERE}}})", legend="busy"),
            Query(expr=f"sum(cron_worker_slots{{{HERE}}})", legend="there are"),
        ),
        lines(
            "Attempts that ended, a minute",
            "By outcome; a run may have several.",
            Query(expr=by_minute("cron_job_executions_total", by="outcome"), legend="{{outcome}}"),
            stacked=True,
        ),
        lines(
            "Retries and recoveries, a minute",
            "Attempted again by policy, or after a worker was lost or drained.",
            Query(expr=f"60 * sum(rate(cron_job_retries_total{{{HERE}}}[5m])) {zero()}", legend="retries"),
            Query(
                expr=f"60 * sum(rate(cron_job_recoveries_total{{{HERE}}}[5m])) {zero()}", legend="recoveries"
            ),
        ),
        lines(
            "Output missing in log files",
            "Bytes a second: over a job's limit, refused by the disk, or not taken in time from the worker's stdout.",
            Query(
                expr=f"sum by (reason) (rate(cron_log_dropped_bytes_total{{{HERE}}}[5m]))",
                legend="{{reason}}",
            ),
            unit="Bps",
        ),
        lines(
            "Notifications, an hour",
            "By what became of them.",
            Query(
                expr=f"sum by (kind, outcome) (increase(cron_notifications_total{{{HERE}}}[1h]))",
                legend="{{kind}} {{outcome}}",
            ),
        ),
    ]


def _processes() -> list[Panel]:
    return [
        lines(
            "Memory of Redis",
            "Used, and its maxmemory (0: none).",
            Query(expr=f"max(cron_redis_memory_bytes{{{HERE}}})", legend="used"),
            Query(expr=f"max(cron_redis_memory_max_bytes{{{HERE}}})", legend="maxmemory"),
            unit="bytes",
        ),
        lines(
            "Replicas and evicted keys",
            "A key that is evicted may be a run. Fewer replicas in sync than connected: a failover may lose runs.",
            Query(expr=f"max(cron_redis_replicas{{{HERE}}})", legend="replicas"),
            Query(expr=f"max(cron_redis_replicas_in_sync{{{HERE}}})", legend="in sync"),
            Query(
                expr=f"increase(cron_instance:cron_redis_evicted_keys_total:max{{{HERE}}}[5m]) {zero()}",
                legend="evicted in 5 minutes",
            ),
        ),
        states(
            "Redis as each process sees it",
            "Answered within ten seconds.",
            Query(expr=f"max by (pod, instance) (cron_redis_up{{{HERE}}})", legend=POD),
            words={0: ("away", BAD), 1: ("up", OK)},
        ),
        lines(
            "CPU",
            "Of each process with its commands; 100 % is one CPU.",
            Query(
                expr=f"max by (tier, pod, instance) (cron_cpu_usage_percent{{{HERE}}})",
                legend=f"{{{{tier}}}} {POD}",
            ),
            unit="percent",
        ),
        lines(
            "Resident memory",
            "Of each process without its commands.",
            Query(
                expr=f"max by (tier, pod, instance) (process_resident_memory_bytes{{{HERE}}})",
                legend=f"{{{{tier}}}} {POD}",
            ),
            unit="bytes",
        ),
        lines(
            "Open descriptors",
            "Of each process.",
            Query(
                expr=f"max by (tier, pod, instance) (process_open_fds{{{HERE}}})",
                legend=f"{{{{tier}}}} {POD}",
            ),
        ),
    ]

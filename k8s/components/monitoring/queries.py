"""The queries, variables and links that both dashboards share."""  # noqa: INP001 - a script's part, no package

from panels import BAD, HERE, OK, Json, Query, variable

YES_NO = {0: ("no", BAD), 1: ("yes", OK)}
POD = "{{pod}} {{instance}}"
# Of the job that is chosen.
JOB = f'{HERE}, job="$job"'
NAMESPACE = variable("namespace", "Namespace", "label_values(cron_leader, namespace)")
INSTANCE = variable(
    "cron_instance", "Installation", 'label_values(cron_leader{namespace="$namespace"}, cron_instance)'
)
CHOSEN = variable("job", "Job", f"label_values(cron_job_info{{{HERE}}}, job)")
KEEP = "var-datasource=${datasource}&var-namespace=${namespace}&var-cron_instance=${cron_instance}"


def zero(of: str = f"cron_leader{{{HERE}}}") -> str:
    """Return the end of a query that is 0 where there is nothing to show, so that a panel says "none" and not "no data"."""
    return f"or on () 0 * max({of})"


def by_minute(metric: str, *, by: str, where: str = HERE) -> str:
    """Return the query of a counter's increase in a minute, by these labels."""
    return f"60 * sum by ({by}) (rate({metric}{{{where}}}[5m]))"


def quantile(share: float, metric: str, *, by: str = "") -> Query:
    """Return the query of a histogram's quantile; ``share`` is between 0 and 1."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} {share:.0%}" if by else f"{share:.0%}"
    return Query(
        expr=f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{HERE}}}[5m])))",
        legend=legend,
    )


def link(title: str, uid: str) -> Json:
    """Return a link to the other dashboard that keeps what is chosen."""
    return {"title": title, "type": "link", "url": f"/d/{uid}?{KEEP}", "icon": "dashboard", "keepTime": True}

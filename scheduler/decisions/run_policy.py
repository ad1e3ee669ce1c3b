"""The policy of a run: what the scripts have to heed beyond its job's cursor, as they read it. Pure."""

from typing import Any

from kuber_cron.scheduler.decisions.planner import CatalogEntry, Decision


def of_decision(entry: CatalogEntry, decision: Decision) -> dict[str, Any]:
    """Return the policy of a decision of this job."""
    job = entry.job
    policy: dict[str, Any] = {"watched": True} if entry.relations.watched else {}
    if decision.kind == "queue":
        policy |= _of_any_run(entry)
        if job.after:
            policy["after"] = job.after
        if job.deadline is not None:
            policy["deadline"] = decision.due_at.timestamp() + job.deadline
    return policy


def of_manual_run(entry: CatalogEntry) -> dict[str, Any]:
    """Return the policy of a manual run of this job: it has no deadline and no predecessors."""
    return _of_any_run(entry) | ({"suspended": True} if entry.job.suspend else {})


def _of_any_run(entry: CatalogEntry) -> dict[str, Any]:
    job, policy = entry.job, dict[str, Any]()
    if job.concurrency != "allow":
        policy |= {"concurrency": job.concurrency, "max_running": job.max_running}
    if entry.relations.group is not None:
        policy["group"], policy["limit"] = entry.relations.group
    if job.priority == "high":
        policy["front"] = True
    return policy

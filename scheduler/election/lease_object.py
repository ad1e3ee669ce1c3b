"""A record as a Lease object of Kubernetes, and back; and what keeps an answer from being that Lease. Pure."""

from collections.abc import Mapping
from typing import Any

from kuber_cron.scheduler.election.lease_rules import LeaseRecord

THROUGH = "kuber-cron.io/through"
_API_VERSION, _KIND = "coordination.k8s.io/v1", "Lease"
# A holder that did not say for how long is given what Kubernetes' own electors take.
_NO_DURATION_SECONDS = 15
# Redis' and Lua's numbers are exact up to here; int() refuses much longer ones.
_COUNT_DIGITS = 15
_TEXTS = ("holderIdentity", "acquireTime", "renewTime")
_NUMBERS = ("leaseDurationSeconds", "leaseTransitions")
_INT32 = 2**31


def misfit_of(document: Any, *, namespace: str, name: str) -> str:
    """Return why an answer is not the Lease of this name, in words; empty where it is.

    A proxy's page, a Status, another object, a field of another type: none of them says who holds the lease.
    """
    if not isinstance(document, dict):
        return "it is no JSON object"
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind != (_API_VERSION, _KIND):
        return f"its apiVersion and kind are {_shown(kind[0])} and {_shown(kind[1])}"
    meta, spec = document.get("metadata"), document.get("spec")
    if not isinstance(meta, dict):
        return "it has no metadata"
    if (meta.get("namespace"), meta.get("name")) != (namespace, name):
        return f"it is {_shown(meta.get('namespace'))}/{_shown(meta.get('name'))}"
    if not isinstance(meta.get("resourceVersion"), str) or not meta["resourceVersion"]:
        return "it has no resourceVersion"
    if not isinstance(meta.get("annotations") or {}, dict):
        return "its annotations are no object"
    if not isinstance(spec or {}, dict):
        return "its spec is no object"
    return _misfit_in(spec or {})


def _misfit_in(spec: Mapping[str, Any]) -> str:
    for field in _TEXTS:
        if not isinstance(spec.get(field) or "", str):
            return f"its {field} is no text"
    for field in _NUMBERS:
        value = spec.get(field)
        if value is not None and (type(value) is not int or not 0 <= value < _INT32):
            return f"its {field} is no count"
    return ""


def _shown(value: Any) -> str:
    return repr(value)[:80]


def from_object(document: Mapping[str, Any]) -> LeaseRecord:
    """Return the record in a Lease object. What others left out is read as empty."""
    meta, spec = document["metadata"], document.get("spec") or {}
    through = str((meta.get("annotations") or {}).get(THROUGH, ""))
    is_count = through.isascii() and through.isdigit() and len(through) <= _COUNT_DIGITS
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_seconds=spec.get("leaseDurationSeconds") or _NO_DURATION_SECONDS,
        acquired_at=spec.get("acquireTime") or "",
        renewed_at=spec.get("renewTime") or "",
        transitions=spec.get("leaseTransitions") or 0,
        through=int(through) if is_count else 0,
        version=meta.get("resourceVersion") or "",
    )


def to_object(record: LeaseRecord, before: Mapping[str, Any], *, namespace: str, name: str) -> dict[str, Any]:
    """Return the Lease object that holds ``record``, in all else as ``before``."""
    meta = dict(before.get("metadata") or {"namespace": namespace, "name": name})
    meta["annotations"] = {**(meta.get("annotations") or {}), THROUGH: str(record.through)}
    if record.version:
        meta["resourceVersion"] = record.version
    return {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": meta,
        "spec": {
            **(before.get("spec") or {}),
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration_seconds,
            "acquireTime": record.acquired_at,
            "renewTime": record.renewed_at,
            "leaseTransitions": record.transitions,
        },
    }

"""All of Redis at one moment, read by one script, so that nothing happens between two reads."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redis import Redis

OWN = "rq:kuber-cron:"
UNFINISHED = frozenset({"queued", "started", "scheduled", "deferred"})
# Of a run's hash what the laws speak of; ``created_at`` is RQ's own and tells a whole hash from a piece of one.
_FIELDS = (
    *(
        "created_at",
        "status",
        "job",
        "at",
        "origin",
        "execution",
        "ended_execution",
        "attempt",
        "outcome",
        "stop",
    ),
    *("group", "retried", "lost", "interrupted", "max_lost", "order", "worker_name", "place_at"),
)
_SCRIPT = """
local fields, out = cjson.decode(ARGV[1]), {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key)['ok'], nil
  if kind == 'hash' and string.sub(key, 1, 7) == 'rq:job:' then
    value = redis.call('HMGET', key, unpack(fields))
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'string' then value = redis.call('GET', key)
  elseif string.find(key, ':log:', 1, true) then value = redis.call('XRANGE', key, '-', '+')
  else value = {tostring(redis.call('XLEN', key))} end
  out[#out + 1] = {key, redis.call('PTTL', key) >= 0, value}
end
return cjson.encode(out)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a job's decision log."""

    id: tuple[int, int]
    job: str
    decision: str
    first: int
    last: int
    count: int
    reason: str
    run: str
    epoch: int
    by: str


@dataclass(frozen=True)
class Snapshot:
    """Redis' keys with their values, and which of them will expire."""

    values: dict[str, Any]
    expiring: frozenset[str]

    def own(self, name: str) -> Any:
        """One of our own keys; empty if it is absent."""
        return self.values.get(OWN + name) or {}

    def named(self, prefix: str) -> dict[str, Any]:
        """Every key that begins so, by what follows."""
        return {key[len(prefix) :]: value for key, value in self.values.items() if key.startswith(prefix)}

    @cached_property
    def runs(self) -> dict[str, dict[str, str]]:
        """Every run's hash."""
        return self.named("rq:job:")

    @cached_property
    def unfinished(self) -> dict[str, dict[str, str]]:
        """The runs that have not ended."""
        return {run: fields for run, fields in self.runs.items() if fields["status"] in UNFINISHED}

    @cached_property
    def log(self) -> dict[str, list[Entry]]:
        """The decisions of each job, in their order."""
        found = {}
        for job, entries in self.named(OWN + "log:").items():
            found[job] = [_entry(job, name, _pairs(fields)) for name, fields in entries]
        return found

    def essence(self) -> dict[str, Any]:
        """What a refused or repeated call may not change: all but the signs of life and the count of late ends,
        which also leave RQ's list of what their worker runs."""
        values = {key: value for key, value in self.values.items() if not key.startswith("rq:worker:")}
        fence = dict(values.get(OWN + "fence", {}))
        fence.pop("seen", None)
        values[OWN + "fence"] = fence
        values.pop(OWN + "counters", None)
        return values


class Camera:
    """Takes snapshots of one server."""

    def __init__(self, client: Redis) -> None:
        self._script = client.register_script(_SCRIPT)
        self._fields = json.dumps(_FIELDS)

    def __call__(self) -> Snapshot:
        """Redis now."""
        raw: Any = self._script(args=[self._fields])
        values: dict[str, Any] = {}
        expiring = set()
        for key, expires, value in json.loads(raw.decode("latin-1"), strict=False):
            values[key] = _value(key, value)
            if expires:
                expiring.add(key)
        return Snapshot(values, frozenset(expiring))


_HASHES = {
    OWN + name
    for name in (
        "fence",
        "cursor",
        "timing",
        "missed",
        "ended",
        "lost",
        "paused",
        "open",
        "groups",
        "counters",
        "acted",
        "bounds",
    )
}
_ZSETS = {OWN + "held"}
_HASH_PREFIXES = (f"{OWN}gates:", f"{OWN}stats:", f"{OWN}sizes:", "rq:execution:")
_ZSET_PREFIXES = (
    *(f"{OWN}{name}:" for name in ("active", "line", "past", "waiting")),
    *(
        f"rq:{name}:"
        for name in ("wip", "scheduled", "deferred", "finished", "failed", "canceled", "executions")
    ),
)


def _value(key: str, value: Any) -> Any:
    if key.startswith("rq:job:"):
        return {name: found or "" for name, found in zip(_FIELDS, value, strict=True)}
    if key in _HASHES or key.startswith(_HASH_PREFIXES):
        return _pairs(value)
    if key in _ZSETS or key.startswith(_ZSET_PREFIXES):
        return {member: float(score) for member, score in _pairs(value).items()}
    return value


def _pairs(flat: Any) -> dict[str, str]:
    return dict(zip(flat[0::2], flat[1::2], strict=True)) if flat else {}


def _entry(job: str, name: str, fields: dict[str, str]) -> Entry:
    milliseconds, number = name.split("-")
    return Entry(
        id=(int(milliseconds), int(number)),
        job=job,
        decision=fields["decision"],
        first=int(fields["first"]),
        last=int(fields["last"]),
        count=int(fields["count"]),
        reason=fields["reason"],
        run=fields["run"],
        epoch=int(fields["epoch"]),
        by=fields["by"],
    )

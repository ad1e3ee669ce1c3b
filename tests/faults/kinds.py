"""The table of all kinds of faults, and which of them exclude each other. Whatever stands in it is drawn, alone and in pairs.

A new kind is a context manager in one of the modules ``at_…`` and a line here.
"""

from tests.faults import at_api, at_config, at_machine, at_processes, at_redis, at_ways
from tests.faults.kind import OUTAGE, READ_AGAIN, SOON, TAKEOVER, Kind, Within

# --- what is taken: two kinds that take the same are never done at once, for this reason ---------------------

SCHEDULERS, WORKERS, COMMANDS = "the schedulers' processes", "the workers' processes", "the commands"
WAYS_OF_SCHEDULERS, WAYS_OF_WORKERS = "the schedulers' ways to Redis", "the workers' ways to Redis"
REDIS, MEMORY, RIGHTS, CLOCK = (
    "Redis' process",
    "Redis' memory",
    "the product's rights in Redis",
    "Redis' wall clock",
)
SCRIPTS, CLIENTS = "the scripts that Redis knows", "the connections that Redis has"
LIMITS, CLOCKS, OUTPUT = "what a process may have", "the clocks of processes", "the directory of output"
FILES, API, API_WAYS = "the job files", "the API server", "the schedulers' ways to the API server"

REASONS = {
    SCHEDULERS: "one of them would be signalled while another hit waits for it to come back",
    WAYS_OF_SCHEDULERS: "a way is bent in one manner only, and the healing of one would heal the other",
    REDIS: "a server that is stopped, killed or handed over can do none of the others",
    FILES: "a file says one thing at a time",
}
"""Why what is taken twice excludes, where it does not say so itself."""

EXCLUDED: dict[frozenset[str], str] = {
    frozenset(pair): reason
    for *pair, reason in (
        ("KILL leader", "late requests", "there the leader has to live until another leads"),
        ("STOP leader", "late requests", "there the leader has to live until another leads"),
        ("TERM leader", "late requests", "there the leader has to live until another leads"),
        ("fresh schedulers", "late requests", "there is no leader whose requests could be late"),
        ("rolling the schedulers", "late requests", "the leader would be replaced before another leads"),
        ("rolling the schedulers", "everyone's LOADING", "each waits until the one before is ready, and none becomes it"),
        ("Redis' address moves", "Redis' script rights withdrawn", "the new Redis has its own users: nothing would be withdrawn"),
        ("Redis' address moves", "Redis' log rights withdrawn", "the new Redis has its own users: nothing would be withdrawn"),
        ("Redis' address moves", "Redis' log keys withdrawn", "the new Redis has its own users: nothing would be withdrawn"),
    )
}  # fmt: skip
"""What else excludes each other, and why."""


def _kind(act: object, hits: str, *takes: str, **more: object) -> Kind:
    return Kind(act=act, hits=hits, takes=frozenset(takes), **more)  # type: ignore[arg-type] # named as Kind's are


def _of(whom: str) -> str:
    return WAYS_OF_WORKERS if whom == "worker" else WAYS_OF_SCHEDULERS


_ALL_WAYS = (WAYS_OF_SCHEDULERS, WAYS_OF_WORKERS)
# Longer than it takes until a run is given to another worker, and for long commands to run beside each other.
_LONG = 2.5
# All rights but those to the log's keys: Redis has no word for "all but".
_BUT_THE_LOG = (
    "resetkeys",
    "~rq:[^k]*",
    "~rq:kuber-cron:[^l]*",
    "~rq:kuber-cron:l[^o]*",
    "~rq:kuber-cron:lo[^g]*",
)

_PROCESSES: dict[str, Kind] = {
    **{
        f"{verb} leader": _kind(
            at_processes.signalled(verb, "leader"), "leader", SCHEDULERS, lasts=float(verb == "STOP"),
            recovery=SOON if verb == "TERM" else TAKEOVER, from_began=True,
        )
        for verb in ("KILL", "STOP", "TERM")
    },
    **{
        f"{verb} standby": _kind(
            at_processes.signalled(verb, "standby"), "standby", SCHEDULERS, lasts=float(verb == "STOP"), from_began=True
        )
        for verb in ("KILL", "STOP", "TERM")
    },
    **{
        f"{verb} worker": _kind(
            at_processes.signalled(verb, "worker"), "worker", WORKERS, lasts=float(verb == "STOP"),
            overlaps=verb != "TERM", stops=verb == "STOP",
        )
        for verb in ("KILL", "STOP", "TERM")
    },
    "KILL command": _kind(at_processes.command_signalled("KILL"), "command", COMMANDS, lasts=0.0),
    "STOP command": _kind(at_processes.command_signalled("STOP"), "command", COMMANDS, at_most=3.0),
    "fresh schedulers": _kind(
        at_processes.fresh_schedulers, "leader", SCHEDULERS, recovery=Within(takeovers=1, seconds=8.0), foreign="5"
    ),
    "scaling workers": _kind(at_processes.scaled, "worker", WORKERS),
    "rolling the schedulers": _kind(at_processes.rolled, "leader", SCHEDULERS),
    "late requests": _kind(
        at_processes.late_requests, "leader", WAYS_OF_SCHEDULERS, API_WAYS, lasts=0.0, recovery=TAKEOVER
    ),
    "STOP worker before it hears of a start": _kind(
        at_processes.at_a_start("stopped before"), "worker", WORKERS, lasts=1.5, overlaps=True, stops=True, foreign="6"
    ),
    "STOP worker after it heard of a start": _kind(
        at_processes.at_a_start("stopped after"), "worker", WORKERS, lasts=1.5, overlaps=True, stops=True, foreign="6"
    ),
    "cut worker after it heard of a start": _kind(
        at_processes.at_a_start("cut after"), "worker", WAYS_OF_WORKERS, lasts=_LONG, overlaps=True, foreign="6"
    ),
}  # fmt: skip

_ALONE = ("refuse", "reset", "ignore", "no route", "LOADING")
_STATES = ("READONLY", "NOREPLICAS", "OOM", "MISCONF", "BUSY")

_WAYS: dict[str, Kind] = {
    **{
        f"{what} {whom}": _kind(
            at_ways.way_bent(what, whom), whom, _of(whom),
            recovery=None if whom == "worker" else SOON if what in ("delay", "throttle") else TAKEOVER,
            overlaps=whom == "worker" and what not in ("delay", "throttle"),
        )
        for whom, bends in (
            ("leader", ("cut", "delay", "throttle", "lose-replies", "hold-requests")),
            ("worker", ("cut", "delay", "throttle", "lose-replies")),
        )
        for what in bends
    },
    **{
        f"{what} {whom}": _kind(
            at_ways.way_bent(what, whom), whom, _of(whom), lasts=_LONG, recovery=TAKEOVER if whom == "leader" else None,
            overlaps=whom == "worker", needs=at_ways.route_needs if what == "no route" else lambda _: "", foreign="1",
        )
        for whom in ("leader", "worker")
        for what in _ALONE
    },
    **{
        f"{whom} on a Redis that says {state}": _kind(
            at_ways.misled(state, whom), whom, _of(whom), lasts=_LONG, recovery=TAKEOVER if whom == "leader" else None,
            overlaps=whom == "worker", foreign="1, 9",
        )
        for whom in ("leader", "worker")
        for state in _STATES
    },
    **{
        f"{what} everyone": _kind(
            at_ways.every_way_bent(what), "redis", *_ALL_WAYS, recovery=OUTAGE, overlaps=True,
            needs=at_ways.route_needs if what == "no route" else lambda _: "",
        )
        for what in ("refuse", "cut", "reset", "ignore", "no route")
    },
    "everyone's LOADING": _kind(at_ways.every_way_bent("LOADING"), "redis", *_ALL_WAYS, recovery=OUTAGE, overlaps=True),
}  # fmt: skip

# Fencing is right where another primary may exist, and wrong where nobody could take a run.
_REDIS: dict[str, Kind] = {
    "redis STOP": _kind(at_redis.stopped, "redis", REDIS, recovery=OUTAGE, overlaps=True),
    "redis KILL": _kind(at_redis.killed, "redis", REDIS, at_most=3.0, recovery=OUTAGE, overlaps=True),
    "redis CLIENT KILL": _kind(at_redis.clients_killed, "redis", CLIENTS, lasts=0.0, recovery=SOON),
    "redis SCRIPT FLUSH": _kind(at_redis.scripts_flushed, "redis", SCRIPTS, lasts=0.0, recovery=SOON),
    "redis out of memory": _kind(at_ways.in_state("OOM"), "redis", MEMORY, lasts=1.5, recovery=OUTAGE, foreign="9"),
    "redis MISCONF": _kind(at_ways.in_state("MISCONF"), "redis", REDIS, lasts=1.5, recovery=OUTAGE, foreign="9"),
    "redis BUSY": _kind(at_ways.in_state("BUSY"), "redis", REDIS, lasts=1.5, recovery=OUTAGE, foreign="9"),
    "redis READONLY": _kind(at_ways.in_state("READONLY"), "redis", REDIS, recovery=OUTAGE, overlaps=True, foreign="3, 9"),
    "redis NOREPLICAS": _kind(at_ways.in_state("NOREPLICAS"), "redis", MEMORY, recovery=OUTAGE, overlaps=True, foreign="9"),
    "Redis' address moves": _kind(
        at_redis.moved, "redis", REDIS, MEMORY, *_ALL_WAYS, lasts=0.0, recovery=OUTAGE, overlaps=True, foreign="3"
    ),
    "Redis' clock ahead": _kind(
        at_redis.clock_set(60.0), "redis", CLOCK, lasts=1.5, recovery=Within(takeovers=1, seconds=5.0), clock=60.0,
        needs=at_redis.clock_needs, foreign="4",
    ),
    "Redis' clock behind": _kind(
        at_redis.clock_set(-600.0), "redis", CLOCK, lasts=1.5, recovery=Within(takeovers=1, seconds=5.0), clock=-600.0,
        needs=at_redis.clock_needs, foreign="4",
    ),
    "Redis' script rights withdrawn": _kind(
        at_redis.rights_withdrawn("-@scripting"), "redis", RIGHTS, recovery=OUTAGE, overlaps=True, foreign="14"
    ),
    "Redis' log rights withdrawn": _kind(
        at_redis.rights_withdrawn("-xadd"), "redis", RIGHTS, recovery=OUTAGE, overlaps=True, foreign="14"
    ),
    "Redis' log keys withdrawn": _kind(
        at_redis.rights_withdrawn(*_BUT_THE_LOG), "redis", RIGHTS, recovery=OUTAGE, overlaps=True, foreign="14"
    ),
}  # fmt: skip

_MACHINE: dict[str, Kind] = {
    "the machine sleeps": _kind(
        at_machine.asleep("machine"), "machine", SCHEDULERS, WORKERS, COMMANDS, REDIS, CLOCKS, lasts=1.5,
        recovery=OUTAGE, overlaps=True, stops=True, foreign="9",
    ),
    "the schedulers' machine sleeps": _kind(
        at_machine.asleep("scheduler"), "leader", SCHEDULERS, CLOCKS, lasts=1.5, recovery=TAKEOVER, foreign="9"
    ),
    "a worker's machine sleeps": _kind(
        at_machine.asleep("worker"), "worker", WORKERS, COMMANDS, CLOCKS, lasts=1.5, overlaps=True, stops=True, foreign="9"
    ),
    **{
        f"{whom}'s wall clock {name}": _kind(
            at_machine.wall_clock_set(whom, seconds), whom, CLOCKS, lasts=1.5, needs=at_redis.clock_needs, foreign="15"
        )
        for whom in ("leader", "worker")
        for name, seconds in (("ahead", 3600.0), ("behind", -3600.0))
    },
    **{
        f"{whom} without {name}": _kind(
            at_machine.bounded(whom, bound), whom, LIMITS, lasts=1.5, recovery=TAKEOVER if whom == "leader" else None,
            overlaps=whom == "worker", needs=at_machine.processes_need if name == "processes" else lambda _: "", foreign="7",
        )
        for whom, name, bound in (
            ("worker", "descriptors", at_machine.no_descriptors),
            ("worker", "processes", at_machine.no_processes),
            ("worker", "memory", at_machine.no_memory),
            ("leader", "descriptors", at_machine.no_descriptors),
            ("leader", "memory", at_machine.no_memory),
            ("leader", "disk", at_machine.no_disk),
        )
    },
    "workers without a log directory": _kind(at_machine.log_directory_gone, "worker", OUTPUT, foreign="7"),
}  # fmt: skip

_CONFIG: dict[str, Kind] = {
    "config broken": _kind(at_config.broken, "config", FILES),
    "config changed": _kind(at_config.changed, "config", FILES, lasts=0.0, recovery=READ_AGAIN),
    "config shrinking": _kind(at_config.shrinking, "config", FILES, recovery=READ_AGAIN),
    "config directory empty": _kind(
        at_config.vanished(with_directory=False), "files", FILES, lasts=1.5, foreign="13"
    ),
    "config directory gone": _kind(
        at_config.vanished(with_directory=True), "files", FILES, lasts=1.5, foreign="13"
    ),
}

API_KINDS: dict[str, Kind] = {
    **{f"API {what}": _kind(at_api.api(what), "api", API, lasts=0.0, blocks=True) for what in at_api.OUTAGES},
    **{
        f"API {what}": _kind(at_api.api(what), "api", API, lasts=0.0, blocks=True, recovery=TAKEOVER)
        for what in at_api.OTHERS
    },
    **{
        f"{what} leader's API": _kind(at_ways.api_way_bent(what), "api", API_WAYS, recovery=TAKEOVER)
        for what in ("cut", "refuse", "delay")
    },
}
"""Those of the Kubernetes election."""

KINDS: dict[str, Kind] = {**_PROCESSES, **_WAYS, **_REDIS, **_MACHINE, **_CONFIG, **API_KINDS}
"""Each kind of fault."""


def kinds(election: str) -> tuple[str, ...]:
    """The kinds that an election can meet."""
    return tuple(name for name in KINDS if election == "kubernetes" or name not in API_KINDS)


UNPROVEN = frozenset({"1", "4", "5", "6", "7", "9", "14", "15"})
"""The numbers of issue 14 whose kinds have not yet passed a run: the minute of every day leaves them to `make faults`."""


def proven(election: str) -> tuple[str, ...]:
    """The kinds of an election that the product has withstood, or that nobody has found fault with."""
    return tuple(
        name for name in kinds(election) if not UNPROVEN.intersection(KINDS[name].foreign.split(", "))
    )


def excluded(one: str, other: str) -> str:
    """Why two kinds are never done at once; empty where they may be."""
    if one == other:
        return "it is the same kind"
    if shared := KINDS[one].takes & KINDS[other].takes:
        thing = min(shared)
        return f"both take {thing}" + (f": {REASONS[thing]}" if thing in REASONS else "")
    return EXCLUDED.get(frozenset({one, other}), "")


def can_join(one: str, other: str) -> bool:
    """Whether two kinds may be done at once."""
    return not excluded(one, other)

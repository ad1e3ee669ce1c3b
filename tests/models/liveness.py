"""A small model of one worker and one judge, small enough that every history of it can be looked at.

The worker's rules and the judge's are the product's own (``Silence``, ``WorkerWatch``), not a copy. Around them: heartbeats that
are refused, lost on either way, or applied late; a primary that takes nobody's writes; a Redis that is away; leaders that
change; Redis' clock that jumps; machines that sleep together or alone. The law: who judges a worker to be dead does so after
the worker has ended its command, and nothing ends a command while Redis can be heard or nobody can write. Excused is only a worker that was asleep alone, and only for ``ASK_SECONDS`` after it wakes.

One tick is one second. In a tick the judge acts first, which is the worse order. What lies in the past is kept as an age, so
that equal situations are one state.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from kuber_cron.scheduler.maintenance.worker_watch import WorkerMark, WorkerWatch
from kuber_cron.worker.coordination.self_fencing import ASK_SECONDS, GAP_SECONDS, Silence

TTL = 6.0
_BEAT = 2  # ttl / 3

Event = Literal[
    "all is well", "the worker is refused", "the worker's answers are lost", "its heartbeats arrive late", "the leader is refused",
    "redis is away", "redis takes no writes", "redis takes no writes for a moment", "another leader", "redis' clock jumps",
    "all sleep for a second", "all sleep for 9 s", "the worker is paused",
]  # fmt: skip
EVENTS: tuple[Event, ...] = Event.__args__  # type: ignore[attr-defined] # a Literal has them
# In each of these, alone, every heartbeat is acknowledged or nobody can be given the run.
INNOCENT: frozenset[Event] = frozenset(
    {"all is well", "redis takes no writes", "another leader", "redis' clock jumps", "all sleep for a second", "all sleep for 9 s"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How both sides behave. The defaults are the product's; everything else is a mistake that must be found.

    Attributes:
        refused_counts: Whether silence grows while the worker's own way is refused.
        leader_anew: Whether a new leader watches anew.
        writes: Whether the judge's look is a write too, and sees that others' were refused.
        by_expiry: Whether a key that expires by Redis' clock decides, instead of the counter.
        asks: Whether a worker that wakes asks before it ends its command.
        fences: Whether the worker ends its command at all.
    """

    refused_counts: bool = True
    leader_anew: bool = True
    writes: bool = True
    by_expiry: bool = False
    asks: bool = True
    fences: bool = True


class State(NamedTuple):
    """Everything, at time 0: instants in the past are negative.

    Attributes:
        silence: The worker's.
        guarded: How long ago the worker looked at its fence.
        beat_in: Ticks until its next heartbeat.
        kill_in: Ticks until KILL, once TERM was sent; None before.
        is_running: Whether its command runs.
        late: Ages of heartbeats that are still on their way.
        looked: How long ago the judge looked; None: it watches anew.
        still: How long it has seen the counter stand still; None: it knows none.
        is_moved: Whether the counter has moved since it looked.
        expires_in: When the worker's key expires, by Redis' clock.
        only: The one thing that has happened so far beside that all was well; empty after a second one.
        paused: Ticks since the worker was asleep alone; None if it was not lately.
        changes: How often the circumstances may still change.
        event: The circumstances of the last tick.
    """

    silence: Silence = Silence(0.0)
    guarded: float = 0.0
    beat_in: int = _BEAT
    kill_in: float | None = None
    is_running: bool = True
    late: tuple[int, ...] = ()
    looked: float | None = 0.0
    still: float | None = 0.0
    is_moved: bool = False
    expires_in: float = TTL
    only: str = "all is well"
    paused: int | None = None
    changes: int = 3
    event: Event = "all is well"


class Model:
    """The next states, and what must hold of a verdict."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, state: State) -> Iterator[tuple[Event, State, bool]]:
        """Every next state, and whether the judge has found the worker dead on the way there."""
        for event in EVENTS:
            changes = state.changes - (event != state.event)
            if changes >= 0:
                only = (
                    state.only
                    if event in {"all is well", state.only}
                    else event
                    if state.only == "all is well"
                    else ""
                )
                before = state._replace(event=event, changes=changes, only=only)
                after, is_dead = self._tick(before, event)
                yield event, after, is_dead

    def wrong(self, state: State) -> str:
        """What is wrong with a verdict in this state; empty if nothing is."""
        if not state.is_running or state.event == "the worker is paused":
            return ""
        if state.paused is not None and state.paused <= ASK_SECONDS:
            return ""
        return "the run is another's while its command runs"

    def _tick(self, state: State, event: Event) -> tuple[State, bool]:
        asleep = {"all sleep for a second": 1.0, "all sleep for 9 s": 9.0}.get(event, 0.0)
        state = _later(state, 1.0 + asleep)
        if event == "redis' clock jumps":
            state = state._replace(expires_in=-1.0)
        state, is_dead = self._judge(state, event)
        if event == "the worker is paused":
            return state._replace(paused=0), is_dead
        paused = None if state.paused is None or state.paused > ASK_SECONDS else state.paused + 1
        return self._worker(state._replace(paused=paused), event), is_dead

    # --- the judge ---------------------------------------------------------------------------------

    def _judge(self, state: State, event: Event) -> tuple[State, bool]:
        watch = WorkerWatch(TTL)
        if state.looked is not None and state.still is not None:
            watch.look(0.0, {"w": WorkerMark("seen")})
            watch._looked_at, watch._watched["w"].still_seconds = -state.looked, state.still
            if event == "another leader" and not self.rules.leader_anew:
                watch._watched["w"].still_seconds = (
                    3 * TTL
                )  # the time since it was made, in which it saw nothing
        refused = {"redis is away", "the leader is refused"} | (
            {"redis takes no writes", "redis takes no writes for a moment"} if self.rules.writes else set()
        )
        if event == "another leader" and self.rules.leader_anew:
            watch.begin_anew()
        if event in refused:
            return state._replace(looked=None, still=None), False
        dead = watch.look(0.0, {"w": WorkerMark("moved" if state.is_moved else "seen")})
        is_dead = state.expires_in <= 0 if self.rules.by_expiry else bool(dead)
        return state._replace(
            looked=0.0, still=min(watch._watched["w"].still_seconds, 3 * TTL), is_moved=False
        ), is_dead

    # --- the worker --------------------------------------------------------------------------------

    def _worker(self, state: State, event: Event) -> State:
        silence, beat_in = state.silence, state.beat_in - 1
        if state.guarded > GAP_SECONDS and self.rules.asks:
            silence, beat_in = silence.awoken(0.0, TTL, ran_until=-state.guarded), 0
        state = state._replace(silence=silence, beat_in=beat_in, guarded=0.0)
        if event != "its heartbeats arrive late" and state.late:
            state = _raised(state._replace(late=()))
        if beat_in <= 0:
            state = self._beat(state, event)
        grace = state.silence.grace_seconds(0.0, TTL) if self.rules.fences else None
        if grace is not None and state.kill_in is None:
            state = state._replace(kill_in=grace)
        if state.kill_in is not None and state.kill_in <= 0:
            state = state._replace(is_running=False)
        return state

    def _beat(self, state: State, event: Event) -> State:
        match event:
            case "redis takes no writes" | "redis takes no writes for a moment":
                return state._replace(silence=state.silence.refused(0.0), beat_in=1)
            case "the worker is refused" | "redis is away":
                counts = self.rules.refused_counts
                silence = state.silence.unanswered() if counts else state.silence.refused(0.0)
                return state._replace(silence=silence, beat_in=1)
            case "the worker's answers are lost":
                return _raised(state)._replace(silence=state.silence.unanswered(), beat_in=1)
            case "its heartbeats arrive late":
                return state._replace(
                    silence=state.silence.unanswered(), beat_in=1, late=(*state.late, 0)[:1]
                )
            case _:
                return _raised(state)._replace(silence=state.silence.acknowledged(0.0), beat_in=_BEAT)


def _later(state: State, seconds: float) -> State:
    """The state after so many seconds in which nobody acted."""
    silence = state.silence
    return state._replace(
        silence=replace(
            silence,
            acked_at=max(silence.acked_at - seconds, -3 * TTL),
            refused_at=None if silence.refused_at is None else max(silence.refused_at - seconds, -3 * TTL),
            asks_until=max(0.0, silence.asks_until - seconds),
        ),
        guarded=min(state.guarded + seconds, 3 * TTL),
        kill_in=None if state.kill_in is None else max(0.0, state.kill_in - seconds),
        looked=None if state.looked is None else min(state.looked + seconds, 3 * TTL),
        expires_in=max(-1.0, state.expires_in - seconds),
    )


def _raised(state: State) -> State:
    return state._replace(is_moved=True, expires_in=TTL)


class Found(NamedTuple):
    """A history that breaks the law."""

    wrong: str
    steps: tuple[Event, ...]


def search(model: Model, changes: int = 3) -> tuple[int, int, Found | None]:
    """Every state, nearest first: how many there are, how many end in a verdict, and the shortest history gone wrong."""
    first = State(changes=changes)
    came_from: dict[State, tuple[State, Event] | None] = {first: None}
    verdicts = 0
    queue = deque([first])
    while queue:
        state = queue.popleft()
        for event, after, is_dead in model.steps(state):
            if is_dead:
                verdicts += 1
                # The verdict was made before the worker acted in this tick.
                before = state._replace(event=event)
                if wrong := model.wrong(before):
                    return len(came_from), verdicts, Found(wrong, (*_history(came_from, state), event))
                continue
            if after.only in INNOCENT and not after.is_running:
                wrong = "a command was ended though nobody could be given its run"
                return len(came_from), verdicts, Found(wrong, (*_history(came_from, state), event))
            if after not in came_from:
                came_from[after] = (state, event)
                queue.append(after)
    return len(came_from), verdicts, None


def _history(came_from: dict[State, tuple[State, Event] | None], state: State) -> tuple[Event, ...]:
    steps: list[Event] = []
    while (step := came_from[state]) is not None:
        state, event = step
        steps.append(event)
    return tuple(reversed(steps))

"""A small model of leadership and deciding, small enough that every history of it can be looked at.

Schedulers, a Lease, the fence and the cursors in Redis, and a network that delivers batches late, twice, in any
order or never, and loses answers (spec: reliability.md §3, §4). ``Rules`` says how the script and the schedulers
behave; each of the rules can be broken, to show that the search would have noticed.

Three things keep it small and lose nothing. The instants to decide have all come at the start: not to have sent yet is
the same as an instant that has not come. What was ever sent stays in the network and may be delivered at any time and
any number of times; a loss is a delivery that never happens. Only what can do nothing any more is forgotten. And a Lease's expiry is an event that its holder does not
notice, which covers every pause and every skew of clocks: as many may believe that they lead as there are schedulers.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

Word = Literal["OK", "MOVED", "FENCED", "LOST"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the parts behave. The defaults are the spec's; everything else is a mistake that must be found.

    Attributes:
        epoch: How the script compares the fence's epoch with the batch's: ``equal``, ``at least`` (it may be larger
            than the fence's) or ``none``.
        cursor: How it compares the job's cursor with the one believed: ``equal``, ``at least`` (the new one must be
            later than the stored one) or ``none``.
        claims: Whether a scheduler claims its epoch in Redis before it leads.
        holders: Whether an epoch that has been claimed may only be claimed again by the same process.
        in_flight: How many batches of one leader may be under way.
    """

    epoch: Literal["equal", "at least", "none"] = "equal"
    cursor: Literal["equal", "at least", "none"] = "equal"
    claims: bool = True
    holders: bool = True
    in_flight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may happen in one history.

    Attributes:
        terms: How often the Lease is won.
        deletions: How often the Lease is deleted, and with it the number of its term.
        rollbacks: How often Redis goes back to an earlier state of its own.
    """

    schedulers: int = 2
    jobs: int = 1
    instants: int = 2
    terms: int = 2
    crashes: int = 1
    deletions: int = 0
    rollbacks: int = 0


Steps = tuple[tuple[int, int, int], ...]
"""A batch: for each job its number, its cursor as believed, and the instant that is decided."""


class Message(NamedTuple):
    """A batch, or a claim, which has no steps, by the process ``life`` of ``sender``."""

    sender: int
    life: int
    epoch: int
    steps: Steps = ()


class Redis(NamedTuple):
    """What is atomic and, but for a rollback, durable. ``log`` holds (job, instant, epoch, holder)."""

    epoch: int = 0
    holder: int = -1
    cursors: tuple[int, ...] = ()
    log: tuple[tuple[int, int, int, int], ...] = ()


class Scheduler(NamedTuple):
    """One process. ``life`` counts its restarts: a restarted one inherits nothing.

    phase     standby, won (the Lease says it leads), claimed (Redis agrees), leads (the cursors are read).
    awaited   the batches that it expects answers to.
    """

    life: int = 0
    phase: Literal["standby", "won", "claimed", "leads"] = "standby"
    epoch: int = 0
    believed: tuple[int, ...] = ()
    awaited: tuple[Steps, ...] = ()


class State(NamedTuple):
    """Everything. ``holder`` and ``term`` are the Lease's; -1 where nobody holds it or its time is over."""

    holder: int
    term: int
    redis: Redis
    schedulers: tuple[Scheduler, ...]
    network: frozenset[Message]
    snapshot: Redis | None
    left: tuple[int, int, int, int]  # terms, crashes, deletions, rollbacks


class Found(NamedTuple):
    """A history that breaks the promise: what is wrong, and the steps that lead there."""

    wrong: str
    steps: tuple[str, ...]


class Model:
    """The steps that are possible in a state, and what must hold in each."""

    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self.rules = rules
        self.bounds = bounds

    def first(self) -> State:
        """Nothing has happened yet."""
        cursors = (0,) * self.bounds.jobs
        left = (self.bounds.terms, self.bounds.crashes, self.bounds.deletions, self.bounds.rollbacks)
        schedulers = (Scheduler(),) * self.bounds.schedulers
        return State(-1, 0, Redis(cursors=cursors), schedulers, frozenset(), None, left)

    # --- what can happen ---------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Every next state, with a few words on how it came to be."""
        yield from self._lease(state)
        for i, one in enumerate(state.schedulers):
            yield from self._scheduler(state, i, one)
        for message in state.network:
            if not self._is_spent(message, state.redis):
                yield from self._network(state, message)
        yield from self._loss(state)

    def _lease(self, state: State) -> Iterator[tuple[str, State]]:
        terms, crashes, deletions, rollbacks = state.left
        if state.holder >= 0:
            yield "the lease expires", state._replace(holder=-1)
            if deletions:
                left = (terms, crashes, deletions - 1, rollbacks)
                yield "the lease is deleted", state._replace(holder=-1, term=0, left=left)

    def _scheduler(self, state: State, i: int, one: Scheduler) -> Iterator[tuple[str, State]]:
        terms, crashes, deletions, rollbacks = state.left
        if one.phase == "standby" and state.holder < 0 and terms:
            yield f"s{i} wins the lease", self._win(state, i)
        if one.phase == "won" and self.rules.claims:
            message = Message(i, one.life, one.epoch)
            if message not in state.network:
                yield f"s{i} claims epoch {one.epoch}", state._replace(network=state.network | {message})
        if one.phase == "claimed" or (one.phase == "won" and not self.rules.claims):
            yield f"s{i} reads the cursors", self._read(state, i)
        if one.phase == "leads":
            for due in self._due(one):
                yield f"s{i} decides {_named(due)}", self._send(state, i, due)
            if one.awaited:
                yield f"s{i} gives up waiting and reads the cursors", self._read(state, i)
        if one.phase != "standby" and crashes:
            crashed = _with(state, i, Scheduler(life=one.life + 1))
            yield f"s{i} restarts", crashed._replace(left=(terms, crashes - 1, deletions, rollbacks))

    def _win(self, state: State, i: int) -> State:
        epoch = max(state.term, state.redis.epoch) + 1
        terms, crashes, deletions, rollbacks = state.left
        won = state._replace(holder=i, term=epoch, left=(terms - 1, crashes, deletions, rollbacks))
        return _with(won, i, Scheduler(state.schedulers[i].life, "won", epoch))

    def _read(self, state: State, i: int) -> State:
        one = state.schedulers[i]
        return _with(state, i, one._replace(phase="leads", believed=state.redis.cursors, awaited=()))

    def _due(self, one: Scheduler) -> Iterator[Steps]:
        """The batches that a leader may send now: of all jobs with an instant to decide, or of the first of them."""
        if len(one.awaited) >= self.rules.in_flight:
            return
        steps = tuple((job, at, at + 1) for job, at in enumerate(one.believed) if at < self.bounds.instants)
        if steps:
            yield steps
        if len(steps) > 1:
            yield steps[:1]

    def _send(self, state: State, i: int, steps: Steps) -> State:
        one = state.schedulers[i]
        message = Message(i, one.life, one.epoch, steps)
        believed = one.believed
        if self.rules.in_flight > 1:
            # With a second batch behind it, the first is taken for granted until an answer says otherwise.
            decided = {job: at for job, _, at in steps}
            believed = tuple(decided.get(job, at) for job, at in enumerate(believed))
        sent = one._replace(believed=believed, awaited=(*one.awaited, steps))
        return _with(state, i, sent)._replace(network=state.network | {message})

    def _network(self, state: State, message: Message) -> Iterator[tuple[str, State]]:
        what = _named(message.steps) if message.steps else "claim"
        name = f"s{message.sender}'s {what} of epoch {message.epoch}"
        redis, word = self._apply(state, message)
        network = frozenset(m for m in state.network if not self._is_spent(m, redis))
        applied = state._replace(redis=redis, network=network)
        yield f"{name} is applied: {word}, and nobody hears of it", applied
        yield f"{name} is applied: {word}", self._answer(applied, message, word)

    def _loss(self, state: State) -> Iterator[tuple[str, State]]:
        terms, crashes, deletions, rollbacks = state.left
        if not rollbacks:
            return
        if state.snapshot is None:
            yield "Redis writes a snapshot", state._replace(snapshot=state.redis)
        elif state.snapshot != state.redis:
            left = (terms, crashes, deletions, rollbacks - 1)
            yield "Redis goes back to its snapshot", state._replace(redis=state.snapshot, left=left)

    def _is_spent(self, message: Message, redis: Redis) -> bool:
        """Whether it can change nothing, now or later: where Redis loses nothing, epochs and cursors only grow."""
        if self.bounds.rollbacks:
            return False
        if not message.steps:
            return message.epoch < redis.epoch
        is_decided = all(at <= redis.cursors[job] for job, _, at in message.steps)
        return (is_decided and self.rules.cursor != "none") or (
            message.epoch < redis.epoch and self.rules.epoch != "none"
        )

    # --- the scripts -------------------------------------------------------------------------------

    def _apply(self, state: State, message: Message) -> tuple[Redis, Word]:
        redis = state.redis
        if not message.steps:
            holder = _identity(message)
            is_same = message.epoch == redis.epoch and (holder == redis.holder or not self.rules.holders)
            if message.epoch > redis.epoch or is_same:
                return redis._replace(epoch=message.epoch, holder=holder), "OK"
            return redis, "FENCED"
        if self.rules.epoch != "none":
            if redis.epoch > message.epoch:
                return redis, "FENCED"
            if redis.epoch < message.epoch and self.rules.epoch == "equal":
                return redis, "LOST"
        cursors, log = list(redis.cursors), list(redis.log)
        word: Word = "OK"
        for job, believed, at in message.steps:
            stored = cursors[job]
            fits = {"equal": stored == believed, "at least": at > stored, "none": True}[self.rules.cursor]
            if fits:
                cursors[job] = at
                log.append((job, at, message.epoch, _identity(message)))
            else:
                word = "MOVED"
        # The order of two jobs' entries in a row of one epoch says nothing, and is not told apart.
        tidy = [e for _, row in groupby(log, lambda e: e[2:]) for e in sorted(row, key=lambda e: e[0])]
        return redis._replace(cursors=tuple(cursors), log=tuple(tidy)), word

    def _answer(self, state: State, message: Message, word: Word) -> State:
        one = state.schedulers[message.sender]
        if (one.life, one.epoch) != (message.life, message.epoch):
            return state
        if not message.steps:
            if one.phase != "won":
                return state
            return _with(state, message.sender, one._replace(phase="claimed") if word == "OK" else _idle(one))
        if one.phase != "leads" or message.steps not in one.awaited:
            return state
        if word in {"FENCED", "LOST"}:
            return _with(state, message.sender, _idle(one))
        believed = list(one.believed)
        for job, _, at in message.steps:
            # A cursor that has moved is told with the answer.
            believed[job] = max(believed[job], at) if word == "OK" else state.redis.cursors[job]
        awaited = tuple(steps for steps in one.awaited if steps != message.steps)
        return _with(state, message.sender, one._replace(believed=tuple(believed), awaited=awaited))

    # --- what must hold ----------------------------------------------------------------------------

    def wrong(self, state: State) -> str:
        """What is wrong with the log as it stands; empty if nothing is."""
        reached = [0] * self.bounds.jobs
        newest = 0
        holders: dict[int, int] = {}
        for job, at, epoch, holder in state.redis.log:
            if at <= reached[job]:
                return f"instant {at} of job {job} is decided twice"
            if at > reached[job] + 1:
                return f"instant {reached[job] + 1} of job {job} is skipped"
            if epoch < newest:
                return f"epoch {epoch} decided after epoch {newest} had"
            if holders.setdefault(epoch, holder) != holder:
                return f"epoch {epoch} was led by two"
            reached[job], newest = at, epoch
        if tuple(reached) != state.redis.cursors:
            return "a cursor does not stand where the log does"
        return ""

    def fenced(self, before: State, after: State) -> str:
        """What is wrong with one step: a decision under an epoch that Redis no longer has."""
        for entry in after.redis.log:
            epoch = entry[2]
            if epoch < before.redis.epoch and entry not in before.redis.log:
                return f"epoch {epoch} decided after epoch {before.redis.epoch} had claimed"
        return ""

    def starved(self, state: State) -> str:
        """What stays undecided when no more faults happen, the network empties, and one scheduler is left to lead."""
        calm = state._replace(network=frozenset(), holder=-1)
        calm = self._win(_with(calm, 0, Scheduler(life=9)), 0)
        if self.rules.claims:
            claim = Message(0, 9, calm.schedulers[0].epoch)
            redis, word = self._apply(calm, claim)
            calm = self._answer(calm._replace(redis=redis), claim, word)
        calm = self._read(calm, 0)
        for _ in range(self.bounds.instants + 1):
            due = next(self._due(calm.schedulers[0]), None)
            if due is None:
                break
            sent = self._send(calm, 0, due)
            (batch,) = sent.network
            redis, word = self._apply(sent, batch)
            calm = self._answer(sent._replace(redis=redis, network=frozenset()), batch, word)
        for job, at in enumerate(calm.redis.cursors):
            if at < self.bounds.instants:
                return f"instant {at + 1} of job {job} is never decided"
        return self.wrong(calm)


def search(model: Model, *, most: int = 1_000_000) -> tuple[int, Found | None]:
    """Every state within the bounds, nearest first: how many there are, and the shortest history gone wrong."""
    first = model.first()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    calm: set[tuple[object, ...]] = set()
    queue = deque([first])
    while queue:
        state = queue.popleft()
        essence = (state.term, state.redis)
        if essence not in calm:
            calm.add(essence)
            if wrong := model.wrong(state) or model.starved(state):
                return len(came_from), Found(wrong, _history(came_from, state))
        for name, following in model.steps(state):
            if following in came_from:
                continue
            came_from[following] = (state, name)
            if wrong := model.fenced(state, following):
                return len(came_from), Found(wrong, _history(came_from, following))
            queue.append(following)
        if len(came_from) > most:
            raise AssertionError(f"more than {most} states: the bounds are too wide")
    return len(came_from), None


def _history(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps: list[str] = []
    while (step := came_from[state]) is not None:
        state, name = step
        steps.append(name)
    return tuple(reversed(steps))


def _with(state: State, i: int, scheduler: Scheduler) -> State:
    schedulers = (*state.schedulers[:i], scheduler, *state.schedulers[i + 1 :])
    return state._replace(schedulers=schedulers)


def _named(steps: Steps) -> str:
    return " and ".join(f"job {job} at {at}" for job, _, at in steps)


def _identity(message: Message) -> int:
    """A process, not a pod."""
    return message.sender * 10 + message.life


def _idle(one: Scheduler) -> Scheduler:
    return Scheduler(life=one.life)

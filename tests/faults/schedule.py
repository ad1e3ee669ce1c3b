"""The schedule of a fault run: what is done when, for how long and to which of several. Pure; one seed, one schedule."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

# So many of all appointments are two kinds at once.
PAIRS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault of the schedule: at ``offset`` seconds, for ``seconds``, with a number that picks among equals.

    Attributes:
        beside: The kind that begins about when this one does, so that it meets what this one has made; often none.
    """

    offset: float
    kind: str
    seconds: float
    pick: int
    beside: str = ""


def plan(
    seed: int,
    kinds: Sequence[str],
    *,
    seconds: float,
    faults: int,
    longest: float,
    can_join: Callable[[str, str], bool] = lambda one, other: one != other,
) -> tuple[Step, ...]:
    """A schedule in which each kind comes about equally often, alone or in a pair, spread evenly with some jitter.

    Args:
        seed: Decides all of it.
        kinds: What is drawn from. One that is written ``a+b`` is that pair; then nothing else is paired.
        seconds: The time that there is to begin them in.
        faults: How many.
        longest: The most that one lasts, before its kind stretches it.
        can_join: Whether two kinds may be done at once.
    """
    rng = random.Random(seed)
    chosen = any("+" in kind for kind in kinds)
    appointments = list(_together(rng, kinds, faults, (lambda *_: False) if chosen else can_join))
    gap = seconds / max(1, len(appointments))
    steps: list[Step] = []
    for number, group in enumerate(appointments):
        at = number * gap + rng.uniform(0.1, 0.6) * gap
        for kind in group:
            lasts = rng.uniform(0.3, 1.0) * longest
            beside = next((other for other in group if other != kind), "")
            step = Step(
                offset=round(at, 2),
                kind=kind,
                seconds=round(lasts, 2),
                pick=rng.randrange(1000),
                beside=beside,
            )
            steps.append(step)
            at = min(at + rng.uniform(0.0, 0.5) * lasts, seconds - 0.01)
    return tuple(sorted(steps, key=lambda step: step.offset))


def _together(
    rng: random.Random, kinds: Sequence[str], faults: int, can_join: Callable[[str, str], bool]
) -> Iterable[tuple[str, ...]]:
    order: list[str] = []
    while len(order) < faults:
        round_ = list(kinds)
        rng.shuffle(round_)
        order.extend(round_)
    left = faults
    while left > 0:
        group = tuple(order.pop(0).split("+"))
        if left > 1 and rng.random() < PAIRS:
            partner = next((kind for kind in order if can_join(group[0], kind)), None)
            if partner is not None:
                order.remove(partner)
                group = (*group, partner)
        left -= len(group)
        yield group


def later(steps: Iterable[Step], seconds: float) -> tuple[Step, ...]:
    """The same, so much later."""
    return tuple(replace(step, offset=round(step.offset + seconds, 2)) for step in steps)


def text(steps: Iterable[Step]) -> str:
    """The schedule as lines for people."""
    return "".join(
        f"{step.offset:7.1f} s  {step.kind} ({step.seconds:.1f} s)"
        + (f", with {step.beside}" if step.beside else "")
        + "\n"
        for step in steps
    )

"""Histories of a scheduler that makes no mistake, for the checker's own tests: what it must accept, and then mutated."""

import random

from tests.faults.history import Asked, Entry, Fault, Final, History, Job, Line, Period, Push, Sighting, stamp

START = 1_800_000_000
"""A whole minute."""
KILLED, RESUMED = START + 20.5, START + 24.5


def jobs() -> tuple[Job, ...]:
    """One of each kind that the harness has."""
    always = (Period(at=START - 5, seconds=1),)
    return (
        Job(id="tick", periods=always),
        Job(id="edited", periods=(*always, Period(at=START + 15, seconds=2))),
        Job(id="alone", periods=always, concurrency="forbid"),
        Job(id="again", periods=always, retries=2),
        Job(id="pool-a", periods=always, group="pool", group_limit=1),
        Job(id="first", periods=always),
        Job(id="second", periods=always, after=("first",)),
        Job(id="minute", periods=(Period(at=START - 5, seconds=60),)),
        Job(id="long", periods=(Period(at=START - 5, seconds=10),), lasts=8.0),
    )


def good(seed: int = 7) -> History:
    """A history without a mistake."""
    return Story(seed).tell()


class Story:
    """Makes a history; each method is a thing that a correct Kuber-Cron may do."""

    def __init__(self, seed: int, seconds: int = 30) -> None:
        self.rng = random.Random(seed)
        self.until = START + seconds
        self.terms = self._terms()
        self.entries: list[Entry] = []
        self.lines: list[Line] = []
        self.pushes: list[Push] = []
        self.finals: list[Final] = []
        self.sightings: list[Sighting] = []
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self._seq = 0

    def _terms(self) -> list[tuple[float, int, str]]:
        """When each epoch begins; numbers may be left out, for a claim can fail after it took one."""
        at, epoch, found = START - 10.0, self.rng.randint(2, 5), []
        while at < self.until:
            found.append((at, epoch, f"replica_{self.rng.randrange(16**8):08x}"))
            at += self.rng.uniform(5, 20)
            epoch += self.rng.choice((1, 1, 2))
        return found

    def log(self, job: str, at: float, decision: str, first: int, **more: object) -> None:
        """One entry, by whoever leads at ``at``."""
        _, epoch, holder = max(term for term in self.terms if term[0] <= at)
        self._seq += 1
        values: dict[str, object] = {"last": first, "seq": self._seq, "epoch": epoch, "by": holder, **more}
        self.entries.append(Entry(job=job, at=at, decision=decision, first=first, **values))  # type: ignore[arg-type] # as Entry has them

    def tell(self) -> History:
        """The whole history, of all jobs."""
        for job in jobs():
            self._job(job)
        self._ask()
        # A leader is killed, and what was due meanwhile is decided by the next.
        self.faults.append(Fault(kind="kill-leader", hits="leader", began=KILLED, ended=KILLED, recovery=5.6))
        # Workers are, too, and what they ran starts again.
        self.faults.append(
            Fault(kind="kill-worker", hits="worker", began=KILLED - 1.5, ended=RESUMED, overlaps=True)
        )
        missed: dict[str, int] = {}
        for entry in self.entries:
            if entry.decision == "skipped":
                missed[f"{entry.job}|{entry.reason}"] = (
                    missed.get(f"{entry.job}|{entry.reason}", 0) + entry.count
                )
        decided = sum(e.count for e in self.entries if e.decision in {"queued", "held", "skipped"})
        return History(
            jobs=jobs(),
            entries=tuple(self.entries),
            lines=tuple(self.lines),
            pushes=tuple(self.pushes),
            finals=tuple(self.finals),
            sightings=tuple(self.sightings),
            faults=tuple(self.faults),
            asked=tuple(self.asked),
            until=self.until,
            missed=missed,
            exported={name: count for name, count in missed.items() if "suspended" not in name},
            through=decided,
            descriptors={"scheduler-1": (20, 24)},
        )

    def _ask(self) -> None:
        """Somebody triggers a job now and then; not every answer is heard."""
        tick = jobs()[0]
        for second in (3, 9, 15, 26):
            at = START + second + self.rng.random()
            mark = f"-m{self.rng.randrange(16**8):08x}"
            run = f"{tick.id}-{stamp(at)}{mark}"
            verdict = self.rng.choice(("queued", "queued", "withdrawn", "unheard"))
            if verdict == "queued" or (verdict == "unheard" and self.rng.random() < 0.5):
                self.log(tick.id, at, "triggered", int(at), run=run)
                self._run(tick, run, at)
            answered = run if verdict == "queued" else ""
            self.asked.append(Asked(job=tick.id, at=at, mark=mark, verdict=verdict, run=answered))

    def _job(self, job: Job) -> None:
        self.log(job.id, START - 4.5, "moved", START - 5, reason="first seen", count=0)
        if len(job.periods) == 1:
            self._stretch(job, job.periods[0].seconds, START - 5, self.until + self.rng.randint(0, 2))
            return
        before, after = job.periods
        edited = int(after.at) + self.rng.randint(0, 2)
        self._stretch(job, before.seconds, START - 5, edited)
        self.log(job.id, edited + 0.5, "moved", edited, reason="edited", count=0)
        self._stretch(job, after.seconds, edited, self.until)

    def _stretch(self, job: Job, seconds: int, after: int, through: int) -> None:
        instants = [at for at in range(after + 1, through + 1) if at % seconds == 0]
        while instants:
            at = instants.pop(0)
            decided = at + self.rng.uniform(0.0, 0.4)
            if job.id == "tick" and KILLED < at < RESUMED:
                decided = RESUMED + (at - KILLED) / 1000
            if job.concurrency == "forbid" and KILLED < at < RESUMED:
                gap = [at, *(later for later in instants if later < RESUMED)]
                instants = instants[len(gap) - 1 :]
                self.log(job.id, RESUMED, "skipped", at, last=gap[-1], count=len(gap), reason="suspended")
                continue
            if job.concurrency == "forbid" and self.rng.random() < 0.3:
                self.log(job.id, decided, "skipped", at, reason="overlap")
                continue
            run = f"{job.id}-{stamp(at)}"
            self.log(job.id, decided, "held" if job.after else "queued", at, run=run)
            if job.after:
                self.log(job.id, at + 0.8, "released", at, run=run)
                decided = at + 0.85
            self._run(job, run, decided)

    def _run(self, job: Job, run: str, at: float) -> None:
        retried = lost = interrupted = attempt = 0
        lasts = max(job.lasts, 0.08)
        self.pushes.append(Push(run=run, at=at))
        if self.rng.random() < 0.05:
            self.pushes.append(Push(run=run, at=at + 0.01, returned=True))
        while True:
            attempt += 1
            pid = self.rng.randint(100, 30_000)
            self.lines.append(Line(job=job.id, run=run, attempt=attempt, pid=pid, at=at + 0.02))
            self.sightings.append(Sighting(at=at + 0.02, run=run, status="started", places=("wip:default",)))
            if (
                at > KILLED - 1.5
                and self.rng.random() < 0.1
                and lost < job.max_lost
                and job.concurrency == "allow"
                and not job.group
            ):
                lost += 1  # the worker died with the command
            else:
                code = int(attempt == 1 and job.retries > 0)
                beats = (at + 0.02 + second for second in range(1, int(lasts) + 1))
                self.lines.extend(
                    Line(job=job.id, run=run, attempt=attempt, pid=pid, at=beat, beats=True) for beat in beats
                )
                self.lines.append(
                    Line(job=job.id, run=run, attempt=attempt, pid=pid, at=at + 0.02 + lasts, code=code)
                )
                if not code:
                    break
                retried += 1
            at += 0.12
            self.pushes.append(Push(run=run, at=at))
        self.finals.append(
            Final(
                run=run, job=job.id, status="finished", outcome="success", attempt=attempt,
                retried=retried, lost=lost, interrupted=interrupted,
            )
        )  # fmt: skip

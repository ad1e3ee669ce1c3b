"""The recorder: everything that is taken down while the cluster runs, over connections that no fault touches.

Four threads: the log's tail (XREAD), the server's MONITOR, a sample of all runs every few seconds, and a watch
on the machine itself: where this process, which does nothing, could not run for a while, the others could not.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import redis
from tests.faults.history import STALLED, UNFINISHED, Entry, Fault, Final, Push, Sighting, Span

SAMPLE_SECONDS = 3.0
_STALL_SECONDS = 0.3
_RETRY_SECONDS = 0.1

# Every run and every place at one instant. It knows RQ's key names and ours, and none of the product's code.
_SAMPLE = r"""
local P, out, places = 'rq:', {}, {}
local function put(run, place)
  if not places[run] then places[run] = {} end
  table.insert(places[run], place)
end
for _, key in ipairs(redis.call('KEYS', P .. 'queue:*')) do
  for _, run in ipairs(redis.call('LRANGE', key, 0, -1)) do put(run, string.sub(key, 4)) end
end
for _, key in ipairs(redis.call('KEYS', P .. 'kuber-cron:claims:*')) do
  for _, run in ipairs(redis.call('LRANGE', key, 0, -1)) do put(run, string.sub(key, 15)) end
end
for _, key in ipairs(redis.call('KEYS', P .. 'wip:*')) do
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    put(string.match(member, '^(.*):.-$') or member, string.sub(key, 4))
  end
end
for _, key in ipairs(redis.call('KEYS', P .. 'scheduled:*')) do
  for _, run in ipairs(redis.call('ZRANGE', key, 0, -1)) do put(run, string.sub(key, 4)) end
end
for _, run in ipairs(redis.call('ZRANGE', P .. 'kuber-cron:held', 0, -1)) do put(run, 'held') end
for _, key in ipairs(redis.call('KEYS', P .. 'job:*')) do
  local run = string.sub(key, 8)
  local h = redis.call('HMGET', key, 'status', 'job', 'outcome', 'attempt', 'retried', 'lost', 'interrupted')
  for i = 1, 7 do h[i] = h[i] or '' end
  table.insert(out, {run, table.concat(places[run] or {}, ','), unpack(h)})
  places[run] = nil
end
for run, found in pairs(places) do
  table.insert(out, {run, table.concat(found, ','), 'no hash', '', '', '', '', '', ''})
end
return out
"""

_PUSHED = re.compile(rb'^\+(\d+\.\d+) \[\d+ (\S+)\] "([LR])PUSH" "rq:queue:[^"]*" (.*)$', re.IGNORECASE)

_CLAIM_OUT = re.compile(rb'"[RL]POP" "rq:kuber-cron:claims:')
# A claimed run whose group has no room goes from the claims back to those that are held.
_HELD = re.compile(rb'"HSET" "rq:job:([^"]*)" "status" "deferred"')
# A drain came between its start script and its process: put back, and the attempt is none.
_UNSTARTED = re.compile(rb'"HINCRBY" "rq:job:([^"]*)" "attempt" "-1"')


class Server(Protocol):
    """The Redis to listen to: ``tests.faults.redis_server``'s own, or one in a container."""

    def client(self, timeout_seconds: float = 5.0) -> redis.Redis:
        """A client whose replies are text; the recorder closes it."""
        ...

    def connect(self, timeout_seconds: float) -> socket.socket:
        """A bare connection that takes commands: a password has been given."""
        ...


class Recorder:
    """Takes everything down from ``start`` to ``stop``.

    Attributes:
        is_clock_moved: Redis' wall clock is not the machine's, or was not once: what it says of time is not believed.
    """

    def __init__(self, server: Server, jobs: Sequence[str], takeover_seconds: float) -> None:
        self._server = server
        self._streams = {f"rq:kuber-cron:log:{job}": "0-0" for job in jobs}
        self._takeover = takeover_seconds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tailed = threading.Event()
        self._monitored: socket.socket | None = None
        self._pushed: set[bytes] = set()
        self._held_again: set[bytes] = set()
        self.is_clock_moved = False
        self.entries: list[Entry] = []
        self.pushes: list[Push] = []
        self.unheard: list[Span] = []
        self.stalls: list[Fault] = []
        self.finals: dict[str, Final] = {}
        self.astray: dict[str, Sighting] = {}
        self.latest: list[Sighting] = []
        self.newest: dict[str, int] = {}

    def start(self) -> None:
        """Recording from now on."""
        for work in (self._tail, self._monitor, self._sample, self._watch_machine):
            thread = threading.Thread(
                target=self._until_stopped, args=(work,), name=work.__name__, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def follow(self, server: Server) -> None:
        """Another server has the data from now on; the one before may live on, and nobody listens to it any more."""
        self._server = server
        self._hang_up()

    def stop(self) -> None:
        """Everything written so far has been read."""
        self._tailed.clear()
        self._tailed.wait(10)
        self._stop.set()
        self._hang_up()
        for thread in self._threads:
            thread.join(15)

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._monitored.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr] # None has none, see above

    def decided_through(self, job: str) -> int:
        """The newest instant of the job in the log, 0 if there is none."""
        return self.newest.get(job, 0)

    def sightings(self) -> tuple[Sighting, ...]:
        """What stood in no place or in several, and what was unfinished at the last look."""
        return (*self.astray.values(), *self.latest)

    def _until_stopped(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(redis.RedisError, OSError):
                work()
            self._stop.wait(_RETRY_SECONDS)

    # --- the log -------------------------------------------------------------------------------------

    def _tail(self) -> None:
        server = self._server
        with server.client() as client:
            while not self._stop.is_set() and server is self._server:
                found = client.xread(dict(self._streams), count=1000, block=200)  # type: ignore[arg-type] # a dict of str is one of its keys' kinds
                if not found:
                    self._tailed.set()
                for stream, items in found:
                    for number, fields in items:
                        self._take(stream, number, fields)
                        self._streams[stream] = number

    def _take(self, stream: str, number: str, fields: dict[str, str]) -> None:
        ms, _, seq = number.partition("-")
        entry = Entry(
            job=stream.removeprefix("rq:kuber-cron:log:"),
            at=int(ms) / 1000,
            seq=int(seq),
            decision=fields["decision"],
            first=int(fields.get("first") or 0),
            last=int(fields.get("last") or 0),
            count=int(fields.get("count") or 0),
            reason=fields.get("reason", ""),
            run=fields.get("run", ""),
            epoch=int(fields.get("epoch") or 0),
            by=fields.get("by", ""),
            seen=time.time() if self.is_clock_moved else 0.0,
        )
        self.entries.append(entry)
        if entry.decision in {"queued", "held", "skipped", "known"}:
            self.newest[entry.job] = max(self.newest.get(entry.job, 0), entry.last)

    # --- pushes ----------------------------------------------------------------------------------------

    def _monitor(self) -> None:
        deaf_from = time.time()
        try:
            with self._server.connect(2.0) as connection:
                self._monitored = connection
                connection.sendall(b"MONITOR\r\n")
                with connection.makefile("rb") as lines:
                    if not lines.readline().startswith(b"+OK"):
                        return
                    self.unheard.append(Span(began=deaf_from - 1.0, ended=time.time()))
                    connection.settimeout(60)
                    self._listen(lines)
        finally:
            self.unheard.append(Span(began=time.time() - 1.0, ended=time.time() + _RETRY_SECONDS))

    def _listen(self, lines: Iterable[bytes]) -> None:
        claim_came_back = False  # the script that runs has just taken out a dead worker's claim
        for line in lines:
            if self._stop.is_set():
                return
            by_script = b" lua] " in line[:40]
            if held := _HELD.search(line, 0, 300):
                if held[1] in self._pushed:
                    self._held_again.add(held[1])
                continue
            if unstarted := _UNSTARTED.search(line, 0, 300):
                self._held_again.add(unstarted[1])
                continue
            found = _PUSHED.match(line.rstrip()) if b"PUSH" in line[:80].upper() else None
            if found is None:
                claim_came_back = by_script and (
                    claim_came_back or _CLAIM_OUT.search(line, 0, 120) is not None
                )
                continue
            for run in re.findall(rb'"([^"]*)"', found[4]):
                # A worker that leaves puts its claims back itself, without a script.
                returned = claim_came_back or not by_script or run in self._held_again
                self._held_again.discard(run)
                self._pushed.add(run)
                at = time.time() if self.is_clock_moved else float(found[1])
                self.pushes.append(Push(run=run.decode(), at=at, returned=returned))
            claim_came_back = False

    # --- all runs at one instant -------------------------------------------------------------------------

    def _sample(self) -> None:
        server = self._server
        with server.client() as client:
            while not self._stop.is_set() and server is self._server:
                self.sample(client)
                self._stop.wait(SAMPLE_SECONDS)

    def sample(self, client: redis.Redis) -> list[Sighting]:
        """The unfinished runs of this moment, all of it taken down."""
        now = time.time()
        unfinished = []
        for run, where, status, job, outcome, *counts in client.eval(_SAMPLE, 0):  # type: ignore[union-attr] # not asynchronous
            sighting = Sighting(at=now, run=run, status=status, places=tuple(filter(None, where.split(","))))
            if status in UNFINISHED:
                unfinished.append(sighting)
                if len(sighting.places) != 1:
                    self.astray.setdefault(run, sighting)
            elif job:
                attempt, retried, lost, interrupted = (int(count or 0) for count in counts)
                self.finals[run] = Final(
                    run=run, job=job, status=status, outcome=outcome, attempt=attempt,
                    retried=retried, lost=lost, interrupted=interrupted,
                )  # fmt: skip
        self.latest = unfinished
        return unfinished

    # --- the machine ---------------------------------------------------------------------------------------

    def _watch_machine(self) -> None:
        step = 0.05
        while not self._stop.is_set():
            before = time.monotonic()
            self._stop.wait(step)
            over = time.monotonic() - before - step
            if over > _STALL_SECONDS:
                now = time.time()
                # A leader that could not run for a while has not renewed its lease either.
                recovery = 1.0 if over < 1.0 else self._takeover
                self.stalls.append(
                    Fault(kind=STALLED, hits="machine", began=now - over, ended=now, recovery=recovery)
                )

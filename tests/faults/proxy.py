"""TCP proxies between each process and what it talks to, which cut, hold, slow down or refuse at will.

All of them live on one event loop in a thread of its own; the nemesis calls from its threads. Held bytes are
delivered when the proxy is healed, as TCP itself does after a partition: what was sent before it arrives
after it, and, as a sender backs off, later than what a new connection sends. Where replies were held, connections
are cut at the end, so that their senders never learn.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_CHUNK = 65536
_PATIENCE_SECONDS = 10.0


class Proxies:
    """The event loop that all proxies of a cluster share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._made: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in self._made:
            proxy.close()
        self.call(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_SECONDS)
        self._loop.close()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def proxy(self, port: int, host: str = "127.0.0.1") -> "Proxy":
        """A new way to this port of this machine; it has the address ``host``, and it alone if it shall be unreachable."""
        made = Proxy(self, port, host)
        self._made.append(made)
        return made

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do it on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)


class Requests:
    """Commands in Redis' protocol, as they come in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """The names of the commands that are complete now, in capitals."""
        self._rest += piece
        found = []
        while (one := self._first()) is not None:
            name, end = one
            self._rest = self._rest[end:]
            found.append(name)
        return found

    def _first(self) -> tuple[str, int] | None:
        count, at = self._number(0)
        words = []
        for _ in range(count):
            size, at = self._number(at)
            if at == 0 or len(self._rest) < at + size + 2:
                return None
            words.append(self._rest[at : at + size])
            at += size + 2
        return (words[0].decode().upper(), at) if words else None

    def _number(self, at: int) -> tuple[int, int]:
        """The number of a header and where its line ends; 0 and 0 where it is not all there."""
        end = self._rest.find(b"\r\n", at)
        return (int(self._rest[at + 1 : end]), end + 2) if end > 0 else (0, 0)


@dataclass(frozen=True, slots=True)
class _Watch:
    """What to do when the reply comes to a request that holds ``needle``: just before it is passed on, and just after."""

    needle: bytes
    before: Callable[[], None] | None
    after: Callable[[], None] | None


class _Pair:
    """Two connections made into one, with a gate each way."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.asked: _Watch | None = None
        self.up.set()
        self.down.set()

    def open(self) -> None:
        """Both ways are free."""
        self.up.set()
        self.down.set()


class Proxy:
    """One listening port of a loopback address. Passes everything until told otherwise.

    Attributes:
        port: Where it listens, the same over a ``refuse`` and its ``heal``.
        upstream: The port that new connections are taken to.
    """

    def __init__(self, proxies: Proxies, upstream: int, host: str = "127.0.0.1") -> None:
        self._proxies = proxies
        self.upstream = upstream
        self.host = host
        self.port = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._delay = 0.0
        self._rate = 0.0
        self._replies_held = False
        self._door = asyncio.Event()
        self._door.set()
        self._resets = False
        self._answer = b""
        self._watch: _Watch | None = None
        self._full: list[socket.socket] = []
        self._has_no_route = False
        proxies.call(self._listen())

    # --- what the nemesis does ---------------------------------------------------------------------

    def cut(self) -> None:
        """Every connection breaks; new ones are welcome."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Every connection breaks, and none is accepted until ``heal``."""
        self._proxies.call(self._close_door())
        self._do(self._cut)

    def reset(self) -> None:
        """Every connection breaks, and every new one is accepted and reset."""
        self._resets = True
        self._do(self._cut)

    def ignore(self) -> None:
        """Every connection breaks, and who wants a new one gets no answer at all: it times out while it connects."""
        self.refuse()
        full = socket.socket()
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((self.host, self.port))
        full.listen(0)
        self._full.append(full)
        for _ in range(2):  # what the queue of a listener that accepts nothing holds
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((self.host, self.port))
            self._full.append(waiting)

    def lose_route(self) -> None:
        """Every connection breaks, and its address has no route. For an address of its own, as root."""
        self._do(self._cut)
        self._has_no_route = True
        _route("add", self.host)

    def answer(self, error: str) -> None:
        """Every connection breaks, and every command on a new one is answered by this error and does nothing."""
        self._answer = f"-{error}\r\n".encode()
        self._do(self._cut)

    def when_answered(
        self,
        needle: bytes,
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Once, when the next request that holds ``needle`` is answered: call these around the passing of the reply.

        They are called on the loop of the proxies: quick ones, that call no proxy.
        """
        self._watch = _Watch(needle, before, after)

    def forget(self) -> None:
        """Nothing is done any more when an answer comes."""
        self._watch = None

    def hang_on_loop(self) -> None:
        """Every connection breaks, and new ones hang until ``heal``. For callers on the loop of the proxies."""
        self._door.clear()
        self._cut()

    def hang(self) -> None:
        """Nothing passes either way: a partition. What is sent meanwhile arrives after ``heal``."""
        self._do(self._shut_requests)
        self._do(self._shut_replies)

    def hold_requests(self) -> None:
        """Requests arrive only after ``heal``, replies pass."""
        self._do(self._shut_requests)

    def lose_replies(self) -> None:
        """Requests arrive, their replies never do."""
        self._replies_held = True
        self._do(self._shut_replies)

    def slow(self, *, delay_seconds: float = 0.0, bytes_per_second: float = 0.0) -> None:
        """Each piece takes longer, or as long as its size says (0: as quick as can be)."""
        self._delay, self._rate = delay_seconds, bytes_per_second

    def heal(self, *, late_seconds: float = 0.0) -> None:
        """As good as new; what was held arrives so much later, when new connections have been at work."""
        self._delay = self._rate = 0.0
        self._watch = None
        if self._has_no_route:
            self._has_no_route = False
            _route("del", self.host)
        for waiting in self._full:
            waiting.close()
        self._full.clear()
        if self._replies_held or self._resets or self._answer:
            self._replies_held = self._resets = False
            self._answer = b""
            self._do(self._cut)
        self._do(lambda: self._open(late_seconds))
        if self._server is None:
            self._proxies.call(self._listen())

    def close(self) -> None:
        """Listens no more, and no connection is left."""
        self.heal()
        self._proxies.call(self._close_door())
        self._do(self._cut)

    # --- on the loop ---------------------------------------------------------------------------------

    def _do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self._proxies.call(act())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close_door(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _cut(self) -> None:
        for pair in list(self._pairs):
            for writer in pair.ends:
                writer.transport.abort()

    def _shut_requests(self) -> None:
        self._door.clear()
        for pair in self._pairs:
            pair.up.clear()

    def _shut_replies(self) -> None:
        for pair in self._pairs:
            pair.down.clear()

    def _open(self, late_seconds: float) -> None:
        self._door.set()
        loop = asyncio.get_running_loop()
        for pair in self._pairs:
            loop.call_later(late_seconds, pair.open)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._resets:
            _reset(writer)
            return
        if self._answer:
            await self._answer_each(reader, writer)
            return
        try:
            await self._door.wait()
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()  # a reset: nobody is there
            return
        pair = _Pair(writer, server_writer)
        if self._replies_held:
            pair.down.clear()
        self._pairs.add(pair)
        try:
            pumps = (
                asyncio.ensure_future(self._pump(reader, server_writer, pair.up, pair, is_request=True)),
                asyncio.ensure_future(self._pump(server_reader, writer, pair.down, pair)),
            )
            _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in left:
                pump.cancel()
        finally:
            self._pairs.discard(pair)
            for end in pair.ends:
                end.transport.abort()

    async def _answer_each(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = Requests()
        with contextlib.suppress(OSError):
            while self._answer and (piece := await reader.read(_CHUNK)):
                for name in requests.feed(piece):
                    writer.write(b"+OK\r\n" if name in _OF_THE_CONNECTION else self._answer)
                await writer.drain()
        writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event,
        pair: _Pair,
        *,
        is_request: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_CHUNK):
                await gate.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                if self._rate:
                    await asyncio.sleep(len(piece) / self._rate)
                watch, pair.asked = (None, self._asked(piece)) if is_request else (pair.asked, None)
                if watch is not None and watch.before is not None:
                    watch.before()
                writer.write(piece)
                await writer.drain()
                if watch is not None and watch.after is not None:
                    watch.after()

    def _asked(self, piece: bytes) -> _Watch | None:
        watch = self._watch
        if watch is None or watch.needle not in piece:
            return None
        self._watch = None
        return watch


_OF_THE_CONNECTION = frozenset({"AUTH", "CLIENT", "SELECT"})


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def can_lose_route() -> bool:
    """Whether ``Proxy.lose_route`` works here."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


def _route(verb: str, host: str) -> None:
    subprocess.run(["ip", "route", verb, "unreachable", f"{host}/32", "table", "local"], check=True)

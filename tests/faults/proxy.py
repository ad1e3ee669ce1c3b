"""TCP proxies between each process and what it talks to, which cut, hold, slow down or refuse at will.

All of them live on one event loop in a thread of its own; the nemesis calls from its threads. Held bytes are
delivered when the proxy is healed, as TCP itself does after a partition: what was sent before it arrives
after it, and, as a sender backs off, later than what a new connection sends. Where replies were held, connections
are cut at the end, so that their senders never learn.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
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

    def proxy(self, port: int) -> "Proxy":
        """A new way to this port of this machine."""
        made = Proxy(self, port)
        self._made.append(made)
        return made

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do it on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)


class _Pair:
    """Two connections made into one, with a gate each way."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.up.set()
        self.down.set()

    def open(self) -> None:
        """Both ways are free."""
        self.up.set()
        self.down.set()


class Proxy:
    """One listening port of 127.0.0.1. Passes everything until told otherwise.

    Attributes:
        port: Where it listens, the same over a ``refuse`` and its ``heal``.
    """

    def __init__(self, proxies: Proxies, upstream: int) -> None:
        self._proxies = proxies
        self.upstream = upstream
        self.port = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._delay = 0.0
        self._rate = 0.0
        self._replies_held = False
        self._door = asyncio.Event()
        self._door.set()
        proxies.call(self._listen())

    # --- what the nemesis does ---------------------------------------------------------------------

    def cut(self) -> None:
        """Every connection breaks; new ones are welcome."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Every connection breaks, and none is accepted until ``heal``."""
        self._proxies.call(self._close_door())
        self._do(self._cut)

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
        if self._replies_held:
            self._replies_held = False
            self._do(self._cut)
        self._do(lambda: self._open(late_seconds))
        if self._server is None:
            self._proxies.call(self._listen())

    def close(self) -> None:
        """Listens no more, and no connection is left."""
        self._proxies.call(self._close_door())
        self._do(self._cut)

    # --- on the loop ---------------------------------------------------------------------------------

    def _do(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self._proxies.call(act())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
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
                asyncio.ensure_future(self._pump(reader, server_writer, pair.up)),
                asyncio.ensure_future(self._pump(server_reader, writer, pair.down)),
            )
            _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in left:
                pump.cancel()
        finally:
            self._pairs.discard(pair)
            for end in pair.ends:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_CHUNK):
                await gate.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                if self._rate:
                    await asyncio.sleep(len(piece) / self._rate)
                writer.write(piece)
                await writer.drain()

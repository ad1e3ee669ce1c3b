"""Appends what each connection says to one file, with the instant at which it came in place of the node's uptime.

One clock for all nodes. An empty connection, a probe's, says nothing.
"""

import asyncio
import time
from pathlib import Path

LINES = Path("/tmp/commands.txt")
UPTIME = 6  # which word of a line; tests/faults/jobs.py writes them


def keep(text: str, came: float) -> None:
    """Append the lines."""
    with LINES.open("a") as lines:
        for line in text.splitlines():
            words = line.split()
            words[UPTIME] = f"{came:.3f}"
            lines.write(" ".join(words) + "\n")


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, to its end."""
    text = await reader.read()
    keep(text.decode(), time.time())
    writer.close()


async def serve() -> None:
    """Until the pod ends."""
    server = await asyncio.start_server(take, None, 9000, backlog=1024)
    await server.serve_forever()


LINES.touch()
asyncio.run(serve())

"""The scripts in Redis (``lua/``) on one connection. The header of each names its arguments, replies and repetition."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import hiredis
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError, ResponseError

from kuber_cron.common.redis_store.keys import Keys

# Commands sent before their replies are read: few enough that neither side's buffers fill while it writes.
_COMMANDS_A_WRITE = 1000

Value = str | bytes | int | float
"""An argument of a script or command."""


_REQUIRES = re.compile(r"^-- requires: (.+)$", re.MULTILINE)
_CALL = re.compile(r"redis\.p?call\(([^,]+)(?:, K \.\. '([a-z]+:)')?")
_COMMAND = re.compile(r"'([A-Z]{3,})'")
WRITES = {
    "COPY": 2, "DEL": 1, "EXPIRE": 2, "HDEL": 2, "HINCRBY": 3, "HSET": 3, "HSETNX": 3, "LINSERT": 4, "LMOVE": 4, "LPOP": 1,
    "LPUSH": 2, "LREM": 3, "PERSIST": 1, "PEXPIRE": 2, "PUBLISH": 2, "RENAME": 2, "RPOP": 1, "RPUSH": 2, "SADD": 2, "SET": 2,
    "SPOP": 1, "SREM": 2, "XADD": 4, "XDEL": 2, "ZADD": 3, "ZPOPMIN": 1, "ZREM": 2, "ZREMRANGEBYRANK": 3,
}  # fmt: skip
"""The commands of the scripts that write, or may be refused by themselves, and how many arguments each takes at least.

Tests hold them against the scripts and the server.
"""
# A script that is refused half-way is not undone, so its rights are asked for before anything is written. Redis before 7.0 cannot be asked.
# One tries every right; the other records what was refused as the decision, or undoes it.
_ASK_THEMSELVES = {"check_permissions", "decide_batch"}
_PREFLIGHT = """\
for _, right in ipairs(redis.acl_check_cmd and {%s} or {}) do
  local command, key = right[1], K .. right[2] .. 'kuber-cron-probe'
  if not redis.acl_check_cmd(command, unpack({key, key, key, key}, 1, right[3])) then
    return redis.error_reply('NOPERM no permission for ' .. command .. ' ' .. key)
  end
end
"""


@cache
def script_text(name: str) -> str:
    """Return the text of ``lua/<name>.lua`` as it is sent: the parts of ``lua/lib`` that it requires, then its own.

    A header says ``-- requires: keys, fencing``. What is required may require in turn; each part is joined once,
    after those that it requires itself. A script of several writes begins with a question for its rights to all of them.
    """
    folder = resources.files("kuber_cron.common.redis_store.lua")
    parts: dict[str, str] = {}

    def join(path: str) -> None:
        if path not in parts:
            text = (folder / path).read_text(encoding="utf-8")
            for required in required_by(text):
                join(f"lib/{required}.lua")
            parts[path] = text

    join(f"{name}.lua")
    rights = rights_of("\n".join(parts.values()))
    if len(rights) > 1 and name not in _ASK_THEMSELVES:
        listed = ", ".join(f"{{'{command}', '{place}', {WRITES[command]}}}" for command, place in rights)
        parts[f"{name}.lua"] = _PREFLIGHT % listed + parts[f"{name}.lua"]
    return "\n".join(parts.values())


def rights_of(text: str) -> list[tuple[str, str]]:
    """Return the writing commands of a script, each with the beginning of a key; one that adds to streams, with that of each stream."""
    found = {
        (command, place if command == "XADD" else "")
        for calls, place in _CALL.findall(text)
        for command in _COMMAND.findall(calls)
        if command in WRITES
    }
    return sorted(found)


def required_by(text: str) -> list[str]:
    """Return the names of the parts that a script's header requires, in its order."""
    return [name.strip() for line in _REQUIRES.findall(text) for name in line.split(",")]


class Store:
    """The scripts on one connection.

    The connection's own rules (retries, time-outs) are its maker's choice: the deciding leader and a
    worker's claims use one without retries (spec: reliability.md §4).
    """

    def __init__(self, client: "Redis", keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._scripts: dict[str, Script] = {}

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Let redis-py's errors leave the block as ours, with the server's address and a remedy."""
        from kuber_cron.common.redis_store import errors

        with errors.translated(self.client):
            yield

    def call_packed(self, script: str, head: Sequence[Value], rest: Sequence[bytes], count: int) -> Any:
        """Run a script as ``call`` does, with ``count`` further arguments that :func:`pack` has packed beforehand.

        An optimisation for large batches: when their instant comes they are joined and sent, nothing more.
        """
        known = self._script(script)
        leading = ("EVALSHA", known.sha, 1, self.keys.fence, self.keys.prefix, *head)
        command = b"".join((b"*%d\r\n" % (len(leading) + count), pack(leading), *rest))
        try:
            return self._exchange(command)
        except NoScriptError:
            # The server was restarted or flushed; nothing was executed, so this is no second application.
            self.client.script_load(known.script)
            return self._exchange(command)

    def read_each(self, commands: Sequence[tuple[Value, ...]]) -> list[Any]:
        """Return the replies to these commands, in their order; None where a key is of another kind than expected.

        An optimisation for thousands of small reads: redis-py's pipeline takes three times as long.

        Raises:
            redis.RedisError: Redis did not answer. Nothing is sent again.
        """
        pool = self.client.connection_pool
        connection = pool.get_connection()
        replies: list[Any] = []
        try:
            for start in range(0, len(commands), _COMMANDS_A_WRITE):
                part = commands[start : start + _COMMANDS_A_WRITE]
                packed = b"".join(hiredis.pack_command(each) for each in part)  # type: ignore[arg-type] # see pack
                connection.send_packed_command([packed])  # type: ignore[no-untyped-call] # redis-py types it not
                replies += [_reply(connection) for _ in part]
        except Exception:
            connection.disconnect()  # type: ignore[no-untyped-call] # replies may be under way that nobody will read
            raise
        finally:
            pool.release(connection)
        return replies

    def _exchange(self, command: bytes) -> Any:
        pool = self.client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command([command])  # type: ignore[no-untyped-call] # redis-py types it not
            return connection.read_response()
        finally:
            pool.release(connection)

    def _script(self, name: str) -> Script:
        known = self._scripts.get(name)
        if known is None:
            known = self._scripts[name] = self.client.register_script(script_text(name))
        return known

    def call(self, script: str, *args: Value) -> Any:
        """Run ``lua/<script>.lua`` with the prefix and ``args`` as its arguments; return the reply as Redis gives it.

        Raises:
            redis.RedisError: Redis did not answer, or the script refused. After a lost reply the caller has to
                decide: the script's header says what a repetition does.
        """
        return self._script(script)(keys=[self.keys.fence], args=[self.keys.prefix, *args])


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            return None
        raise


def pack(values: Sequence[Value]) -> bytes:
    """Return the values as Redis' protocol writes them within a command (RESP2 bulk strings)."""
    packed: bytes = hiredis.pack_command(tuple(values))  # type: ignore[arg-type] # hiredis' type says one value
    return packed[packed.index(b"\r\n") + 2 :]

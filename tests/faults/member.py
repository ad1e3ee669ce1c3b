"""One process of the cluster: started, signalled, asked how it is, and started again when it has ended."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.faults.ports import free_port
from tests.faults.proxy import Proxy
from tests.faults.shifted_clock import ShiftedClock
from tests.support.cli_process import environment

if TYPE_CHECKING:
    from tests.faults.cluster import Cluster

Role = Literal["scheduler", "worker"]
_BACK_OFF_SECONDS = 1.0


# A process namespace is what a container is to a worker: it is the first process there, sees none of others' commands
# and cannot end what those have left running; when it ends, all ends that it had started.
MACHINE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@cache
def has_machines() -> bool:
    """Whether each worker can be given what seems to be a machine of its own."""
    program = shutil.which(MACHINE[0])
    return (
        program is not None
        and not subprocess.run([*MACHINE, "true"], check=False, capture_output=True).returncode
    )


def parent_of(pid: int) -> int:
    """The parent of a process, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _only_child(pid: int) -> int:
    """The process that ``unshare`` waits for, 0 before there is one."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return next((number for number in numbers if parent_of(number) == pid), 0)


class Member:
    """One process that should run, its proxies, and how it fared."""

    def __init__(self, name: str, role: Role, cluster: "Cluster") -> None:
        self.name = name
        self.role = role
        self.redis: Proxy = cluster.proxies.proxy(cluster.server.port, cluster.address())
        self.clock = ShiftedClock(cluster.directory / "clocks", name)
        self.api: Proxy | None = None
        self.port = free_port()
        self.log = cluster.directory / f"{name}.log"
        self.wanted = True
        self.paused = False
        self.unasked_ends: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.not_before = 0.0
        self.extra: dict[str, str] = {}
        self._asked = False
        self._inner = 0
        self._has_machine = role == "worker" and has_machines()
        self._cluster = cluster
        if cluster.setup.api_port and role == "scheduler":
            self.api = cluster.proxies.proxy(cluster.setup.api_port)

    @property
    def pid(self) -> int:
        """Its process id, 0 while there is none."""
        process = self.process
        if process is None or not self._has_machine:
            return process.pid if process is not None else 0
        if self._inner == 0:
            self._inner = _only_child(process.pid)
        return self._inner

    def start(self) -> None:
        """A new process."""
        self._asked = self.paused = False
        self._inner = 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*(MACHINE if self._has_machine else ()), *self._cluster.command(self.role)],
                cwd=self._cluster.directory,
                env=environment(**{**self._cluster.variables(self), **self.clock.environment, **self.extra}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        self._asked = self._asked or number in {signal.SIGKILL, signal.SIGTERM}
        self.paused = number == signal.SIGSTOP or (self.paused and number != signal.SIGCONT)
        if self._has_machine and (pid := self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        else:
            process.send_signal(number)

    def look(self, now: float) -> None:
        """Start it again if it has ended and should run."""
        if self.process is not None and (status := self.process.poll()) is not None:
            if not self._asked:
                self.unasked_ends.append(status)
            self.process = None
            self.not_before = max(self.not_before, now + _BACK_OFF_SECONDS)
        if self.process is None and self.wanted and now >= self.not_before:
            self.start()

    def health(self, path: str = "/livez") -> dict[str, object]:
        """What it says of itself, empty where it says nothing."""
        text = self.get(path)
        with contextlib.suppress(ValueError):
            found: dict[str, object] = json.loads(text)
            return found
        return {}

    def get(self, path: str, seconds: float = 0.5) -> str:
        """The page at ``path``, empty where there is none in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def descriptors(self) -> int:
        """How many it has open."""
        try:
            return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:
            return 0

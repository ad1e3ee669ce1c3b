"""What a command costs: `python benchmarks/commands.py`.

The supervisor alone (no Redis) against two peers in the same run: a bare loop that starts one command and waits
for it, and a forked process for each command, as RQ's work-horse does it. All run `/bin/sh -c true` with pipes for
stdout and stderr; a rate is the best of the rounds, for a shared machine only ever takes away.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kuber_cron.worker.execution.environment import environment
from kuber_cron.worker.execution.launch import AttemptResult, Launch, argv
from kuber_cron.worker.execution.supervisor import Supervisor

COMMANDS = 1_000
FORKED = 200  # slow enough
ROUNDS = 3
SLOTS = 64
FLOOD_BYTES = 2_000_000_000


class Runner:
    """Keeps `slots` commands under way until `count` have ended."""

    def __init__(self, slots: int) -> None:
        self._free = threading.Semaphore(slots)
        self._left = 0
        self._over = threading.Event()
        self._number = 0
        self.supervisor = Supervisor(on_started=lambda _launch, _pid: None, on_ended=self._ended)
        self._thread = threading.Thread(target=self.supervisor.run)
        self._thread.start()

    def run(self, command: str, count: int) -> None:
        self._left = count
        self._over.clear()
        for _ in range(count):
            self._free.acquire()
            self.supervisor.start(self._launch(command))
        self._over.wait()

    def close(self) -> None:
        self.supervisor.close()
        self._thread.join()

    def _launch(self, command: str) -> Launch:
        self._number += 1
        name = f"bench-{self._number}"
        env = environment(os.environ, {}, job="bench", run_id=name, execution_id=name)
        return Launch(run_id=name, job="bench", execution_id=name, argv=argv(command), env=env)

    def _ended(self, _ended: AttemptResult) -> None:
        self._left -= 1
        self._free.release()
        if not self._left:
            self._over.set()


def bare(count: int) -> None:
    for _ in range(count):
        subprocess.run(["/bin/sh", "-c", "true"], capture_output=True, check=True)


def forked(count: int) -> None:
    for _ in range(count):
        pid = os.fork()
        if not pid:
            subprocess.run(["/bin/sh", "-c", "true"], capture_output=True, check=True)
            os._exit(0)
        os.waitpid(pid, 0)


def rate(run: Callable[[int], None], count: int) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run(count)
        best = max(best, count / (time.perf_counter() - began))
    return best


def own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_mb() -> float:
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def rates() -> None:
    reference = rate(bare, COMMANDS)
    rows = [("bare subprocess loop", reference), ("fork per command", rate(forked, FORKED))]
    for slots in (1, 8, SLOTS):
        runner = Runner(slots)
        before = own_cpu_seconds()
        found = rate(lambda count, runner=runner: runner.run("true", count), COMMANDS)
        cpu = (own_cpu_seconds() - before) / (ROUNDS * COMMANDS) * 1000
        rows.append((f"supervisor, {slots} slots, {cpu:.2f} ms of its own CPU each", found))
        runner.close()
    print("| commands | a second | to the bare loop |\n| --- | ---: | ---: |")
    for name, found in rows:
        print(f"| {name} | {found:.0f} | {found / reference:.2f} |")


def together() -> None:
    runner = Runner(SLOTS)
    idle = resident_mb()
    peak = [0.0]
    threading.Timer(0.5, lambda: peak.__setitem__(0, resident_mb())).start()
    began = time.perf_counter()
    runner.run("sleep 1", SLOTS)
    seconds = time.perf_counter() - began
    before = resident_mb()
    began = time.perf_counter()
    runner.run(f"head -c {FLOOD_BYTES} /dev/zero", 1)
    flood = time.perf_counter() - began
    grown = resident_mb() - before
    runner.close()
    print("\n| what | figure |\n| --- | ---: |")
    print(f"| {SLOTS} times `sleep 1` in {SLOTS} slots | {seconds:.2f} s |")
    print(f"| resident memory with {SLOTS} running (idle) | {peak[0]:.0f} MB ({idle:.0f} MB) |")
    print(
        f"| {FLOOD_BYTES / 1e9:.0f} GB of output | {FLOOD_BYTES / flood / 1e9:.1f} GB/s, {grown:.1f} MB grown |"
    )


if __name__ == "__main__":
    rates()
    together()

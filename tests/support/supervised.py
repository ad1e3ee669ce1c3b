"""A supervisor in a thread of its own for tests with real processes, and what it has told."""

import itertools
import os
import queue
import threading
from typing import Any, Self

from tests.support.waiting import PATIENCE_SECONDS, eventually

from kuber_cron.worker.execution.environment import environment
from kuber_cron.worker.execution.launch import AttemptResult, Launch, argv
from kuber_cron.worker.execution.supervisor import Supervisor

_numbers = itertools.count()
DEADLINE = PATIENCE_SECONDS


class Supervised:
    """``with Supervised() as commands: commands.run("exit 3").outcome``. At the end nothing may run any more."""

    def __init__(self, **options: Any) -> None:
        self.started: queue.Queue[tuple[Launch, int]] = queue.Queue()
        self.ended: queue.Queue[AttemptResult] = queue.Queue()
        options.setdefault("on_started", lambda launch, pid: self.started.put((launch, pid)))
        options.setdefault("on_ended", self.ended.put)
        self.supervisor = Supervisor(**options)
        self.thread = threading.Thread(target=self.supervisor.run, name="supervisor")

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.close()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()

    def launch(self, command: str | list[str], **options: Any) -> Launch:
        execution_id = f"test-{os.getpid()}-{next(_numbers)}"
        variables = options.pop("variables", {})
        env = environment(os.environ, variables, job="job", run_id="job-1", execution_id=execution_id)
        options.setdefault("kill_grace_seconds", 5.0)
        return Launch(
            run_id="job-1", job="job", execution_id=execution_id, argv=argv(command), env=env, **options
        )

    def start(self, command: str | list[str], **options: Any) -> Launch:
        launch = self.launch(command, **options)
        assert self.supervisor.start(launch)
        return launch

    def wake(self) -> None:
        """Make the loop read its clock again."""
        self.supervisor._requests.put(lambda _now: None)

    def end(self) -> AttemptResult:
        return self.ended.get(timeout=DEADLINE)

    def run(self, command: str | list[str], **options: Any) -> AttemptResult:
        self.start(command, **options)
        return self.end()

    def says(self, launch: Launch, count: int) -> None:
        """Wait until the command has written at least ``count`` bytes."""

        def has_written() -> bool:
            return any(
                running.output_bytes >= count
                for running in self.supervisor.running()
                if running.launch is launch
            )

        eventually(has_written, DEADLINE)

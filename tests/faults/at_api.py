"""What is done to the API server, a double with real sockets."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.kind import Act, Hit, NothingToHitError
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import Step

OUTAGES = ("hang", "drop", "500", "503", "throttle", "down", "delay", "late_answer")
"""With these the leader goes on, for nobody else can get the Lease either: failsafe. Nothing may be late."""

OTHERS = ("conflict", "commit_then_hang", "commit_then_drop", "garbage", "Lease deleted")


def api(what: str) -> Act:
    """The API server does this for a while."""

    @contextmanager
    def act(nemesis: Nemesis, step: Step) -> Iterator[Hit]:
        server = nemesis.api
        if server is None:
            raise NothingToHitError
        hit = Hit()
        match what:
            case "Lease deleted":
                server.delete("kuber-cron")
            case "down":
                server.stop()
                nemesis.wait(step.seconds)
                server.start()
            case "delay" | "late_answer":
                server.inject(what, during=step.seconds, seconds=0.2)
                nemesis.wait(step.seconds)
            case "500" | "503":
                server.inject("error", during=step.seconds, status=int(what))
                nemesis.wait(step.seconds)
            case _:
                server.inject(what, during=step.seconds, seconds=step.seconds)  # type: ignore[arg-type] # one of its kinds
                nemesis.wait(step.seconds)
                server.clear()
        yield hit

    return act

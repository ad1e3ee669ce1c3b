"""The claim probe: whether what made a worker pause is over, found out without touching a run."""

from collections.abc import Sequence

from kuber_cron.common.runs.payload import PayloadError
from kuber_cron.worker.coordination import rq_codec
from kuber_cron.worker.coordination.claim_pause import ClaimTrouble
from kuber_cron.worker.coordination.run_store import RunStore
from kuber_cron.worker.coordination.worker_context import WorkerContext
from kuber_cron.worker.execution import shortage


class ClaimProbe:
    """Asks the machine, or looks at the heads of the queues."""

    def __init__(self, context: WorkerContext, run_store: RunStore, queues: Sequence[str]) -> None:
        self._context = context
        self._run_store = run_store
        self._queues = queues

    def trouble(self, known: ClaimTrouble) -> ClaimTrouble | None:
        """Return what there is of a known trouble now.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        match known.reason:
            case "resources":
                found = shortage.of_starting()
            case "log":
                found = self._log_shortage()
            case "newer":
                return self._newer_head()
            case _:
                return None  # a user is lacked for one run, which nothing but a start can tell
        return None if found is None else ClaimTrouble(found.kind, found.sentence)

    def _log_shortage(self) -> shortage.Shortage | None:
        directory = self._context.options.log_dir
        found = shortage.of_log_directory(directory) if directory is not None else None
        if found is None or found.kind != "log":
            return found
        if any(self._run_store.has_able_others(queue) for queue in self._queues):
            return found
        # Nobody else would run them: a lost log is the smaller harm.
        self._context.pause.do_without_log()
        return None

    def _newer_head(self) -> ClaimTrouble | None:
        for run, data in self._run_store.heads(self._queues):
            try:
                rq_codec.read_payload(data, self._context.options.signing_keys, run)
            except PayloadError as error:
                if error.reason == "version":
                    return newer_payload(error)
            except (ValueError, TypeError, AttributeError):
                pass  # malformed: to be claimed, and put in quarantine
        return None


def newer_payload(error: PayloadError) -> ClaimTrouble:
    """Return the trouble of a run that only a newer version can read."""
    return ClaimTrouble("newer", f"runs of a newer version wait: update this worker ({error.message})")

"""The parts that the tiers of one process share: the way to Redis, the keys, the metrics, the notifications."""

from contextlib import ExitStack
from typing import Any

import structlog

from kuber_cron.common.clock import SystemClock
from kuber_cron.common.config import signing_keys
from kuber_cron.common.config.settings import Settings

log = structlog.get_logger(__name__)


class SharedParts:
    """The parts, made once Redis was found fit.

    Attributes:
        settings: The installation's settings.
        stack: Closes, at the process's end, what was opened for the tiers.
        clock: The machine's clocks.
        keys: The names of the installation's keys in Redis.
        signing_keys: The keys that runs are signed and verified with, the signing one first; empty without signatures.
        registry: Where metrics are registered.
        job_metrics: The metrics of jobs.
        sender: The sender of notifications.
    """

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        """Check that Redis is fit, and make the parts.

        Raises:
            KuberCronError: Redis cannot be reached or used, or there is no signing key.
        """
        from kuber_cron.common.config.notification_settings import webhook_of
        from kuber_cron.common.notifications.sender import NotificationSender
        from kuber_cron.common.observability.job_metrics import JobMetrics
        from kuber_cron.common.observability.process_metrics import make_registry
        from kuber_cron.common.redis_store import connections, server_check
        from kuber_cron.common.redis_store.keys import Keys
        from kuber_cron.common.redis_store.scripts import Store

        self.settings = settings
        self.stack = stack
        self.clock = SystemClock()
        self.keys = Keys(connections.set_key_prefix(settings.instance))
        with self.connect("general") as client:
            facts = server_check.check_server(client, allow_volatile=settings.redis_allow_volatile)
            server_check.check_access(Store(client, self.keys))
        for warning in server_check.warnings(facts):
            log.warning(warning)
        self.signing_keys = signing_keys.required(settings.signing_key_file, insecure=settings.insecure)
        if not self.signing_keys:
            log.warning(
                "runs are not signed: whoever can write to Redis can run commands here", setting="insecure"
            )
        self.registry = make_registry()
        self.job_metrics = JobMetrics(self.registry, max_jobs=settings.metrics_max_jobs)
        self.sender = NotificationSender(webhook_of(settings), clock=self.clock, registry=self.registry)
        stack.callback(self.sender.close)  # after the services, whose last runs are to be notified of

    def connect(self, purpose: str) -> Any:  # a redis.Redis, which cli/ does not import
        """Return a client for `purpose`. The process's end closes it, because a service's threads use it to their last."""
        from kuber_cron.common.redis_store import connections

        return connections.connect(self.settings, purpose, name=self.settings.instance)  # type: ignore[arg-type] # the services name purposes as text

"""The sender: notifications and pings leave the process in one thread of their own, and cost nobody else anything.

Notifying puts a value into a bounded queue: it never blocks and never raises. What cannot be delivered is tried again for
about five minutes (:class:`~kuber_cron.common.notifications.delivery_queue.Backoff`), then given up, logged and counted; so
is what does not fit. At the end of the process what is left gets one more try, a few seconds in all.

What it does *not* guarantee: delivery. A process that is killed forgets its queue, and a receiver whose response gets
lost is notified twice (by an event's ``id`` it can tell). What must not be missed is an alert on metrics.

No log line here holds an address or a foreign error's text: Slack's and healthchecks.io's addresses are secrets.
"""

import random
import threading
from typing import TYPE_CHECKING, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter

from kuber_cron.common.clock import Clock
from kuber_cron.common.notifications import events
from kuber_cron.common.notifications.delivery_queue import Backoff, Delivery, DeliveryQueue
from kuber_cron.common.notifications.events import Event
from kuber_cron.common.notifications.healthchecks import Ping
from kuber_cron.common.notifications.webhook import Webhook

if TYPE_CHECKING:
    from kuber_cron.common.notifications.http_client import HttpClient, HttpResponse

log = structlog.get_logger(__name__)

Message = Event | Ping

TIMEOUT_SECONDS = 10.0
MAX_WAITING = 1000  # messages of at most some 5 KB each
# SIGTERM's grace has been spent on commands; the pod's own period is at least 5 s longer.
CLOSE_SECONDS = 3.0
_MIN_SECONDS = 0.1  # with less time left than this, no request is begun
_RETRY_STATUSES = frozenset({408, 425, 429})  # those below 500 that mean "later"


class NotificationSender:
    """Sends notifications and pings. Its thread starts with the first of them; ``close`` ends it."""

    def __init__(
        self,
        webhook: Webhook | None,
        *,
        clock: Clock,
        registry: CollectorRegistry,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
        max_waiting: int = MAX_WAITING,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Create the sender; without a webhook it sends pings alone."""
        self._webhook = webhook
        self._clock = clock
        self._max_waiting = max_waiting
        self._timeout_seconds = timeout_seconds
        self._count = Counter(
            "cron_notifications",
            "Notices and pings, by what became of them",
            ["kind", "outcome"],
            registry=registry,
        )
        for kind in ("ping", *(get_args(events.EventKind) if webhook is not None else ())):
            for outcome in ("sent", "failed", "rejected", "dropped"):
                self._count.labels(kind, outcome)  # at 0, so that the first one is an increase
        self._http_client: HttpClient | None = None
        # Its lock guards all that follows, and is held for microseconds.
        self._changed = threading.Condition()
        self._queue: DeliveryQueue[Message] = DeliveryQueue(
            backoff or Backoff(),
            rng or random.Random(),  # noqa: S311 - spreads retries, keeps no secret
        )
        self._waiting = 0
        self._is_full = False
        self._thread: threading.Thread | None = None
        self._ends_at: float | None = None
        self._is_closed = False

    def is_wanted(self, notify: str, kind: events.EventKind) -> bool:
        """Return True if there is a webhook, and a job with this ``notify`` wants such events notified."""
        return self._webhook is not None and events.is_wanted(notify, kind)

    def notify(self, notify: str, event: Event) -> None:
        """Notify the webhook soon, if a job with this ``notify`` wants the event."""
        if self.is_wanted(notify, event.kind):
            self._add(Delivery(content=event, receiver="", host="", created_at=self._clock.elapsed()))

    def ping(self, ping: Ping) -> None:
        """Send the ping to the job's URL soon."""
        host = ping.url.partition("://")[2].partition("/")[0]
        self._add(Delivery(content=ping, receiver=ping.url, host=host, created_at=self._clock.elapsed()))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """End the thread: what waits gets one more try within ``seconds``, the rest is given up."""
        with self._changed:
            if self._is_closed:
                return
            self._ends_at = self._clock.elapsed() + seconds
            self._queue.shut_down()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds + _MIN_SECONDS)
        with self._changed:
            self._is_closed = True
            rest = self._queue.clear()
            for delivery in rest:
                self._settle(delivery, "dropped")
        if rest:
            log.warning("notifications given up at the end of the process", count=len(rest))

    # --- the queue -------------------------------------------------------------------------------

    def _add(self, delivery: Delivery[Message]) -> None:
        with self._changed:
            if self._ends_at is not None or self._waiting >= self._max_waiting:
                self._count.labels(_kind(delivery), "dropped").inc()
                if not self._is_full and self._ends_at is None:  # once for each time that it is full
                    self._is_full = True
                    log.error("notifications are dropped: too many wait", limit=self._max_waiting)
                return
            self._waiting += 1
            self._queue.add(delivery)
            if self._thread is None:
                self._start_thread()
            self._changed.notify_all()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="notifications", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left: the next message tries again
            log.error("notifications wait: starting their thread failed", error=str(error))  # noqa: TRY400 - says it all
            return
        self._thread = thread

    def _settle(self, delivery: Delivery[Message], outcome: str) -> None:
        """Count a delivery that has left the queue."""
        self._waiting -= 1
        self._is_full = False
        self._count.labels(_kind(delivery), outcome).inc()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while (delivery := self._next()) is not None:
            try:
                self._deliver(delivery)
            except Exception as error:  # noqa: BLE001 - the loop's top
                # One message that cannot be made must not keep the others from going. No traceback: it may hold
                # an address.
                log.error("composing a notification failed", error=type(error).__name__, **_about(delivery))  # noqa: TRY400 - as said
                self._finished(delivery, "failed")

    def _next(self) -> Delivery[Message] | None:
        """Return the delivery to try, once there is one; None at the end."""
        with self._changed:
            while not self._is_closed:
                now = self._clock.elapsed()
                delivery, at = self._queue.next(now)
                if self._ends_at is not None and (delivery is None or now > self._ends_at - _MIN_SECONDS):
                    return None
                if delivery is not None:
                    return delivery
                self._changed.wait(None if at is None else at - now)
            return None

    def _deliver(self, delivery: Delivery[Message]) -> None:
        from kuber_cron.common.notifications.http_client import UnreachableError, UnusableAddressError

        try:
            response = self._post(delivery)
        except UnusableAddressError as error:
            log.error("notification not delivered", reason=error.message, **_about(delivery))  # noqa: TRY400 - a verdict
            self._finished(delivery, "rejected")
        except (
            UnreachableError,
            OSError,
            UnicodeDecodeError,
        ) as error:  # the latter two: the webhook's files
            self._retry_later(delivery, type(error).__name__ if isinstance(error, OSError) else str(error))
        else:
            if 200 <= response.status < 300:
                self._finished(delivery, "sent")
            elif response.status >= 500 or response.status in _RETRY_STATUSES:
                self._retry_later(delivery, f"status {response.status}", response)
            else:
                log.error(
                    "notification not delivered", reason=f"status {response.status}", **_about(delivery)
                )
                self._finished(delivery, "rejected")

    def _post(self, delivery: Delivery[Message]) -> "HttpResponse":
        if self._http_client is None:
            # Imports urllib3, and most workers notify nobody.
            from kuber_cron.common.notifications.http_client import HttpClient

            self._http_client = HttpClient()
        now, seconds = self._clock.now(), self._timeout_seconds
        if self._ends_at is not None:
            seconds = min(seconds, max(_MIN_SECONDS, self._ends_at - self._clock.elapsed()))
        message = delivery.content
        if isinstance(message, Ping):
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            return self._http_client.post(message.target, message.content, headers, seconds=seconds, now=now)
        if self._webhook is None:
            raise ValueError(message.kind)
        content, headers = self._webhook.request(message, int(now.timestamp()))
        return self._http_client.post(self._webhook.address(), content, headers, seconds=seconds, now=now)

    def _finished(self, delivery: Delivery[Message], outcome: str) -> None:
        with self._changed:
            if not self._is_closed:
                self._queue.settled(delivery)
                self._settle(delivery, outcome)

    def _retry_later(
        self, delivery: Delivery[Message], reason: str, response: "HttpResponse | None" = None
    ) -> None:
        with self._changed:
            if self._is_closed:
                return
            now = self._clock.elapsed()
            if response is None:
                given_up = self._queue.unreachable(delivery, now)
            else:
                given_up = self._queue.refused(delivery, now, response.retry_after)
            for one in given_up:
                self._settle(one, "failed")
        for one in given_up:
            log.error("notification not delivered", reason=reason, tries=one.tries, **_about(one))
        if delivery not in given_up:
            write = log.warning if delivery.tries == 1 else log.debug
            write("a notification has to wait for its receiver", reason=reason, **_about(delivery))


def _kind(delivery: Delivery[Message]) -> str:
    return "ping" if isinstance(delivery.content, Ping) else delivery.content.kind


def _about(delivery: Delivery[Message]) -> dict[str, str | None]:
    return {
        "kind": _kind(delivery),
        "job": delivery.content.job,
        "run": getattr(delivery.content, "run", None),
    }

"""The messenger: notices and pings leave the process in one thread of their own, and cost nobody else anything.

Telling is leaving a value in a bounded outbox: it never blocks and never raises. What cannot be delivered is tried
again for about five minutes (:class:`~kuber_cron.common.notifications.delivery_queue.Retries`), then given up, logged and counted; so is
what does not fit. At the end of the process what is left gets one more try, a few seconds in all.

What it does *not* guarantee: delivery. A process that is killed forgets its outbox, and a receiver whose answer gets
lost is told twice (a notice's ``id`` tells). What must not be missed is an alert on metrics.

No line here holds an address or a foreign error's text: Slack's and healthchecks.io's addresses are secrets.
"""

import random
import threading
from typing import TYPE_CHECKING, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter

from kuber_cron.common.clock import Clock
from kuber_cron.common.notifications import events
from kuber_cron.common.notifications.delivery_queue import Delivery, DeliveryQueue, Retries
from kuber_cron.common.notifications.events import Notice, Ping
from kuber_cron.common.notifications.webhook import Webhook

if TYPE_CHECKING:
    from kuber_cron.common.notifications.http_client import HttpAnswer, HttpClient

log = structlog.get_logger(__name__)

Message = Notice | Ping

TIMEOUT_SECONDS = 10.0
LIMIT = 1000  # messages of at most some 5 KB each
# SIGTERM's grace has been spent on commands; the pod's own period is at least 5 s longer.
CLOSE_SECONDS = 3.0
_LEAST_SECONDS = 0.1  # with less time left than this, no request is begun
_COME_BACK = frozenset({408, 425, 429})  # the statuses below 500 that mean "later"


class NotificationSender:
    """Sends notices and pings. Its thread starts with the first of them; ``close`` ends it."""

    def __init__(
        self,
        webhook: Webhook | None,
        *,
        clock: Clock,
        registry: CollectorRegistry,
        retries: Retries | None = None,
        rng: random.Random | None = None,
        limit: int = LIMIT,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Without a webhook only pings are sent."""
        self._webhook = webhook
        self._clock = clock
        self._limit = limit
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
        self._courier: HttpClient | None = None
        self._changed = (
            threading.Condition()
        )  # its lock guards all that follows, and is held for microseconds
        self._outbox: DeliveryQueue[Message] = DeliveryQueue(
            retries or Retries(),
            rng or random.Random(),  # noqa: S311 - spreads retries, keeps no secret
        )
        self._waiting = 0
        self._is_full = False
        self._thread: threading.Thread | None = None
        self._ends_at: float | None = None
        self._is_closed = False

    def wants(self, words: str, kind: events.EventKind) -> bool:
        """Whether there is a receiver, and a job whose ``notify`` is ``words`` wants this told."""
        return self._webhook is not None and events.wants(words, kind)

    def tell(self, words: str, notice: Notice) -> None:
        """The webhook is told soon, if the job, whose ``notify`` is ``words``, wants it."""
        if self.wants(words, notice.kind):
            self._put(Delivery(content=notice, lane="", host="", told_at=self._clock.elapsed()))

    def ping(self, ping: Ping) -> None:
        """The job's URL is told soon."""
        host = ping.url.partition("://")[2].partition("/")[0]
        self._put(Delivery(content=ping, lane=ping.url, host=host, told_at=self._clock.elapsed()))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Nothing is sent any more: what waited got one more try within ``seconds``, the rest is given up."""
        with self._changed:
            if self._is_closed:
                return
            self._ends_at = self._clock.elapsed() + seconds
            self._outbox.last_call()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds + _LEAST_SECONDS)
        with self._changed:
            self._is_closed = True
            rest = self._outbox.clear()
            for letter in rest:
                self._settle(letter, "dropped")
        if rest:
            log.warning("notifications given up at the end of the process", count=len(rest))

    # --- the outbox ------------------------------------------------------------------------------

    def _put(self, letter: Delivery[Message]) -> None:
        with self._changed:
            if self._ends_at is not None or self._waiting >= self._limit:
                self._count.labels(_kind(letter), "dropped").inc()
                if not self._is_full and self._ends_at is None:  # once for each time that it is full
                    self._is_full = True
                    log.error("notifications are dropped: too many wait", limit=self._limit)
                return
            self._waiting += 1
            self._outbox.put(letter)
            if self._thread is None:
                self._begin()
            self._changed.notify_all()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name="messenger", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left: the next message tries again
            log.error("notifications wait: no thread can be started", error=str(error))  # noqa: TRY400 - says it all
            return
        self._thread = thread

    def _settle(self, letter: Delivery[Message], outcome: str) -> None:
        """The message is out of the outbox."""
        self._waiting -= 1
        self._is_full = False
        self._count.labels(_kind(letter), outcome).inc()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while (letter := self._next()) is not None:
            try:
                self._deliver(letter)
            except Exception as error:  # noqa: BLE001 - the loop's top
                # One message that cannot be made must not keep the others from going. No traceback: it may hold
                # an address.
                log.error("a notification could not be made", error=type(error).__name__, **_about(letter))  # noqa: TRY400 - as said
                self._answered(letter, "failed")

    def _next(self) -> Delivery[Message] | None:
        """The message to try, once there is one; None at the end."""
        with self._changed:
            while not self._is_closed:
                now = self._clock.elapsed()
                letter, at = self._outbox.next(now)
                if self._ends_at is not None and (letter is None or now > self._ends_at - _LEAST_SECONDS):
                    return None
                if letter is not None:
                    return letter
                self._changed.wait(None if at is None else at - now)
            return None

    def _deliver(self, letter: Delivery[Message]) -> None:
        from kuber_cron.common.notifications.http_client import UnreachableError, UnusableAddressError

        try:
            answer = self._post(letter)
        except UnusableAddressError as error:
            log.error("notification not delivered", reason=error.message, **_about(letter))  # noqa: TRY400 - a verdict
            self._answered(letter, "rejected")
        except (
            UnreachableError,
            OSError,
            UnicodeDecodeError,
        ) as error:  # the latter two: the webhook's files
            self._later(letter, type(error).__name__ if isinstance(error, OSError) else str(error))
        else:
            if 200 <= answer.status < 300:
                self._answered(letter, "sent")
            elif answer.status >= 500 or answer.status in _COME_BACK:
                self._later(letter, f"status {answer.status}", answer)
            else:
                log.error("notification not delivered", reason=f"status {answer.status}", **_about(letter))
                self._answered(letter, "rejected")

    def _post(self, letter: Delivery[Message]) -> "HttpAnswer":
        if self._courier is None:
            from kuber_cron.common.notifications.http_client import (
                HttpClient,  # urllib3, and most workers tell nobody
            )

            self._courier = HttpClient()
        now, seconds = self._clock.now(), self._timeout_seconds
        if self._ends_at is not None:
            seconds = min(seconds, max(_LEAST_SECONDS, self._ends_at - self._clock.elapsed()))
        message = letter.content
        if isinstance(message, Ping):
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            return self._courier.post(message.target, message.content, headers, seconds=seconds, now=now)
        if self._webhook is None:
            raise ValueError(message.kind)
        content, headers = self._webhook.request(message, int(now.timestamp()))
        return self._courier.post(self._webhook.address(), content, headers, seconds=seconds, now=now)

    def _answered(self, letter: Delivery[Message], outcome: str) -> None:
        with self._changed:
            if not self._is_closed:
                self._outbox.settled(letter)
                self._settle(letter, outcome)

    def _later(self, letter: Delivery[Message], reason: str, answer: "HttpAnswer | None" = None) -> None:
        with self._changed:
            if self._is_closed:
                return
            now = self._clock.elapsed()
            if answer is None:
                given_up = self._outbox.unreachable(letter, now)
            else:
                given_up = self._outbox.refused(letter, now, answer.retry_after)
            for one in given_up:
                self._settle(one, "failed")
        for one in given_up:
            log.error("notification not delivered", reason=reason, tries=one.tries, **_about(one))
        if letter not in given_up:
            say = log.warning if letter.tries == 1 else log.debug
            say("a notification has to wait for its receiver", reason=reason, **_about(letter))


def _kind(letter: Delivery[Message]) -> str:
    return "ping" if isinstance(letter.content, Ping) else letter.content.kind


def _about(letter: Delivery[Message]) -> dict[str, str | None]:
    return {"kind": _kind(letter), "job": letter.content.job, "run": getattr(letter.content, "run", None)}

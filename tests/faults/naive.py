"""The naive scheduler: look whether the lease is ours, then enqueue. The harness must find out what is wrong with it.

It is what one writes first, and what much of the world runs: a key with a ttl that one replica holds, a cursor
for each job, and a loop. It has no fence (what it writes is not checked against the lease) and no compare-and-set
(the cursor is read before and written after). It speaks the product's key and log formats, so that real workers
run what it queues and the same recorder, nemesis and checker judge it.

``NAIVE_PAUSE`` names a file: where it exists, a leader removes it and stops itself by SIGSTOP at the worst
moment, after it has looked at the lease and before it enqueues. A page of garbage, a slow disk or a hypervisor
do the same to others, only later. ``NAIVE_ALWAYS`` lets a replica lead whatever the lease says: two leaders.
"""

import http.server
import json
import os
import secrets
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import redis

from kuber_cron.common.formats import loader
from kuber_cron.common.jobs.job import Job
from kuber_cron.scheduler.decisions.run_hash import RunHashBuilder

LEASE_SECONDS = 2.0
_TURN_SECONDS = 0.05
_OWN = "rq:kuber-cron:"
# A run is made and queued at once: in between the checker would rightly see it nowhere.
_QUEUE = "redis.call('HSET', KEYS[1], unpack(ARGV, 2)) return redis.call('RPUSH', KEYS[2], ARGV[1])"


class Naive:
    """One replica."""

    def __init__(self, client: redis.Redis, jobs: list[Job], pause: Path, *, always: bool) -> None:
        self._client = client
        self.jobs = jobs
        self._pause = pause
        self._always = always
        self._builder = RunHashBuilder(client, None)
        self._name = f"naive_{secrets.token_hex(4)}"
        self._epoch = 0
        self.leads = False

    def turn(self) -> None:
        """Look at the lease, then enqueue what is due."""
        due = [(job, at) for job in self.jobs for at in self._due(job)]
        self.leads = self._holds_lease()
        if not self.leads:
            return
        if due and self._pause.exists():
            self._pause.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)
        for job, at in due:
            self._enqueue(job, at)

    def _holds_lease(self) -> bool:
        if self._always:
            self._epoch = self._epoch or int(self._client.hincrby(f"{_OWN}fence", "epoch", 1))  # type: ignore[arg-type] # not asynchronous
            return True
        ms = int(LEASE_SECONDS * 1000)
        if self._client.set(f"{_OWN}lease", self._name, nx=True, px=ms):
            self._epoch = int(self._client.hincrby(f"{_OWN}fence", "epoch", 1))  # type: ignore[arg-type] # not asynchronous
            return True
        if self._client.get(f"{_OWN}lease") != self._name.encode():
            return False
        self._client.pexpire(f"{_OWN}lease", ms)
        return True

    def _due(self, job: Job) -> range:
        """Instants after the cursor: ``@every Ns`` is all that it knows."""
        now = int(time.time())
        seconds = int(job.schedule.removeprefix("@every ").removesuffix("s"))
        cursor = self._client.hget(f"{_OWN}cursor", job.id)
        if cursor is None:
            if self.leads:
                self._client.hset(f"{_OWN}cursor", job.id, now)
                self._log(job, now, "moved", reason="first seen", count=0)
            return range(0)
        return range((int(cursor) // seconds + 1) * seconds, now + 1, seconds)  # type: ignore[arg-type] # the same

    def _enqueue(self, job: Job, at: int) -> None:
        record = self._builder.build(job, datetime.fromtimestamp(at, UTC), datetime.now(UTC))
        reason = "suspended" if job.suspend else ""
        self._client.hset(f"{_OWN}cursor", job.id, at)
        self._client.hincrby(f"{_OWN}fence", "through", 1)
        self._log(job, at, "skipped" if reason else "queued", reason=reason, run="" if reason else record.run)
        if reason:
            self._client.hincrby(f"{_OWN}missed", f"{job.id}|{reason}", 1)
            return
        self._client.eval(
            _QUEUE, 2, f"rq:job:{record.run}", f"rq:queue:{record.origin}", record.run, *record.fields
        )

    def _log(self, job: Job, at: int, decision: str, *, reason: str, run: str = "", count: int = 1) -> None:
        entry = {
            "decision": decision, "first": at, "last": at, "count": count, "reason": reason, "run": run,
            "epoch": self._epoch, "by": self._name,
        }  # fmt: skip
        self._client.xadd(f"{_OWN}log:{job.id}", entry)  # type: ignore[arg-type] # values are texts and numbers


def _serve(naive: Naive) -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "ok", "leader": naive.leads}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", int(os.environ["KUBER_CRON_METRICS_PORT"])), Health
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    """Turn until SIGTERM."""
    folder = Path(os.environ["KUBER_CRON_JOBS"])
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    with redis.Redis.from_url(os.environ["KUBER_CRON_REDIS_URL"], protocol=2) as client:
        naive = Naive(
            client,
            [],
            Path(os.environ.get("NAIVE_PAUSE", "/nonexistent")),
            always=bool(os.environ.get("NAIVE_ALWAYS")),
        )
        _serve(naive)
        before = ""
        while not done.wait(_TURN_SECONDS):
            if (now := loader.fingerprint([folder])) != before:
                before, naive.jobs = now, list(loader.load([folder]).jobs)
            with suppress(redis.RedisError):
                naive.turn()


if __name__ == "__main__":
    main()

"""``kuber-cron run`` killed in the middle: the next start continues, and each instant is decided once."""

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime

import redis
from tests.support.waiting import eventually

LOG = "rq:kuber-cron:log:tick"


def start(directory):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("KUBER_CRON_")}
    return subprocess.Popen(
        [sys.executable, "-m", "kuber_cron", "run", "crontab", "--metrics-port", "0"],
        cwd=directory, env={**environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def url_of(directory):
    """The embedded server's URL, found as `rq info` users find it: by the socket in the data directory."""
    (socket,) = eventually(lambda: list((directory / ".kuber-cron" / "redis").glob("*.sock")), 20)
    return f"unix://{socket}"


def decisions(client):
    return [
        (int(entry[b"first"]), int(entry[b"last"]), entry[b"decision"].decode(), int(entry[b"count"]))
        for _, entry in client.xrange(LOG)
        if entry[b"decision"] in {b"queued", b"skipped"}
    ]


def test_after_a_sigkill_the_next_start_decides_every_instant_in_between_once(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "crontab").write_text(
        f"# kuber-cron: name=tick\n@every 1s echo $KUBER_CRON_RUN_ID >> {proof}\n"
    )
    first = start(tmp_path)
    eventually(lambda: proof.exists() and len(proof.read_text().split()) >= 2, 30)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    killed_at = datetime.now(UTC).timestamp()
    eventually(lambda: datetime.now(UTC).timestamp() > killed_at + 3)
    second = start(tmp_path)
    try:
        ran = len(proof.read_text().split())
        eventually(lambda: len(proof.read_text().split()) >= ran + 6, 40)
        with redis.Redis.from_url(url_of(tmp_path), protocol=2) as client:
            decided = decisions(client)
    finally:
        second.send_signal(signal.SIGTERM)
        _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    instants = [at for first_at, last, _, _ in decided for at in range(first_at, last + 1)]
    assert instants == list(range(instants[0], instants[-1] + 1)), "an instant was lost or doubled"
    assert min(instants) < killed_at < max(instants)
    executed = re.findall(r"tick-\d{8}T\d{6}Z", proof.read_text())
    assert len(executed) == len(set(executed)), "a run was executed twice"

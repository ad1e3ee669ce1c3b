"""What it costs to look: `python benchmarks/reading.py [JOBS DECISIONS_OF_EACH RUNS_OF_EACH]` (default 10000 100 10).

A Redis of its own with 10,000 jobs, 1,000,000 decisions in their logs and 100,000 ended runs kept, each with its result:
written by pipelines, in the very form that one run of a real scheduler and a real worker has left on that Redis before.
Then each command that looks, as a person calls it: a process of its own, from its start to its last line, seven times.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import redis

from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis
from kuber_cron.common.redis_store.keys import Keys
from kuber_cron.common.runs.run_id import run_id

KEYS = Keys("rq")
ROUNDS = 7
LIMIT_SECONDS = 1.0
TEAMS = ("data", "web", "billing", None)
SETTINGS = {
    "KUBER_CRON_INSECURE": "1",
    "KUBER_CRON_ELECTION": "redis",
    "KUBER_CRON_METRICS_PORT": "0",
    "KUBER_CRON_METRICS_HOST": "127.0.0.1",
    "KUBER_CRON_LOG_LEVEL": "error",
    "KUBER_CRON_WORKER_OUTPUT": "off",
}


@dataclass(frozen=True)
class Model:
    """What a real run has left: its hash, its result, the entry in its job's log."""

    fields: dict[bytes, bytes]
    result: dict[bytes, bytes]
    entry: dict[bytes, bytes]


def model(client: redis.Redis, url: str, folder: Path) -> Model:
    (folder / "crontab").write_text(
        "# kuber-cron: name=model\n@every 1s  echo one line of output; echo another\n"
    )
    environ = {
        **os.environ,
        **SETTINGS,
        "KUBER_CRON_REDIS_URL": url,
        "KUBER_CRON_LOG_DIR": str(folder / "logs"),
    }
    tiers = [
        subprocess.Popen([sys.executable, "-m", "kuber_cron", *words], env=environ)
        for words in (["worker"], ["scheduler", str(folder / "crontab")])
    ]
    pause, deadline = threading.Event(), time.monotonic() + 60
    while not client.zcard("rq:finished:default"):
        if time.monotonic() > deadline:
            raise SystemExit("no run has ended within a minute")
        pause.wait(0.1)
    for tier in tiers:
        tier.terminate()
        tier.wait(30)
    run = client.zrange("rq:finished:default", 0, 0)[0].decode()
    ((_, result),) = client.xrange(f"rq:results:{run}")
    entry = next(told for _, told in client.xrange(KEYS.log("model")) if told[b"run"] == run.encode())
    found = Model(client.hgetall(KEYS.run(run)), result, entry)
    client.flushall()
    return found


def in_pipelines(client: redis.Redis, commands: Iterator[tuple[Any, ...]], size: int = 2000) -> None:
    pipe = client.pipeline(transaction=False)
    for number, command in enumerate(commands, 1):
        pipe.execute_command(*command)
        if number % size == 0:
            pipe.execute()
    pipe.execute()


def name_of(number: int) -> str:
    return f"team-{number % 40:02d}-job-{number:05d}"


def flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [part for item in fields.items() for part in item]


def kept(model: Model, now: datetime, jobs: int, decisions: int, runs: int) -> Iterator[tuple[Any, ...]]:
    """Each job runs every ten minutes, at a minute of its own; one in fifty is failing."""
    yield "SADD", "rq:queues", KEYS.queue("default"), KEYS.queue("batch")
    seen = int(now.timestamp() * 1000)
    yield (
        "HSET",
        KEYS.fence,
        "epoch",
        7,
        "holder",
        "one_0",
        "cluster",
        "kuber-cron",
        "seen",
        seen,
        "through",
        1,
    )
    last = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    for number in range(jobs):
        name = name_of(number)
        at = last - timedelta(minutes=number % 10)
        minute = at.minute % 10
        schedule = f"{minute}-59/10 * * * *"
        card = JobSummary(schedule=schedule, timezone="Europe/Berlin", team=TEAMS[number % 4], source=f"jobs.yaml:{number}",
                    description="what this job is for, in a few words", queue="batch" if number % 5 == 0 else "default")  # fmt: skip
        yield "HSET", KEYS.cursors, name, f"{int(at.timestamp())}|Europe/Berlin|{schedule}"
        yield "HSET", KEYS.job_summaries, name, card.to_text()
        is_failing = number % 50 == 0
        stats = ["last_run_at", at.timestamp() + 2, "last_outcome", "failed" if is_failing else "success",
                 "last_duration", 1.5, "last_success_at", at.timestamp() + 2, "expected_from", 0]  # fmt: skip
        yield (
            "HSET",
            KEYS.stats(name),
            *stats,
            *(["failing", run_id(name, at)] if is_failing else []),
        )
        yield from logged(model, name, at, decisions)
        yield from ended(model, name, at, runs, queue=card.queue, is_failing=is_failing)
        if number % 200 == 0:
            yield "HSET", KEYS.paused, name, 0


def logged(model: Model, name: str, at: datetime, decisions: int) -> Iterator[tuple[Any, ...]]:
    for back in range(decisions - 1, -1, -1):
        moment = at - timedelta(minutes=10 * back)
        seconds = int(moment.timestamp())
        told = dict(model.entry)
        told |= {b"first": b"%d" % seconds, b"last": b"%d" % seconds, b"run": run_id(name, moment).encode()}
        yield "XADD", KEYS.log(name), f"{seconds * 1000 + 12}-0", *flat(told)


def ended(
    model: Model, name: str, at: datetime, runs: int, *, queue: str, is_failing: bool
) -> Iterator[tuple[Any, ...]]:
    for back in range(runs - 1, -1, -1):
        moment = at - timedelta(minutes=10 * back)
        run, failed = run_id(name, moment), is_failing and back == 0
        iso = f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}".encode()
        told = dict(model.fields)
        told |= {
            b"job": name.encode(), b"at": b"%d" % moment.timestamp(), b"origin": queue.encode(), b"started_at": iso,
            b"enqueued_at": iso, b"ended_at": iso, b"status": b"failed" if failed else b"finished",
            b"outcome": b"failed" if failed else b"success",
        }  # fmt: skip
        yield "HSET", KEYS.run(run), *flat(told)
        yield "XADD", f"rq:results:{run}", "*", *flat(model.result)
        score = moment.timestamp() + 2_592_000
        yield "ZADD", f"rq:{'failed' if failed else 'finished'}:{queue}", score, run
        yield "LPUSH", KEYS.history(name), run
        yield "HSET", KEYS.sizes(name), run, 3500


def open_runs(model: Model, now: datetime) -> Iterator[tuple[Any, ...]]:
    """Ten workers with ten slots each, all of them busy, and a thousand runs in the queue."""
    iso = f"{now:%Y-%m-%dT%H:%M:%S.%fZ}".encode()
    for number in range(10):
        worker = f"pod-{number}"
        yield "SADD", "rq:workers", f"rq:worker:{worker}"
        yield (
            "HSET",
            f"rq:worker:{worker}",
            "queues",
            "default,batch",
            "hostname",
            worker,
            "pid",
            1,
            "slots",
            10,
        )
        yield (
            "HSET",
            f"rq:worker:{worker}",
            "birth",
            iso,
            "last_heartbeat",
            iso,
            "kuber_cron_version",
            "0.1.0",
        )
        yield "SET", KEYS.alive(worker), "1"
    for number in range(1100):
        name = name_of(number)
        run = run_id(name, now.replace(microsecond=0))
        told = dict(model.fields) | {
            b"job": name.encode(),
            b"enqueued_at": iso,
            b"started_at": iso,
            b"outcome": b"",
        }
        is_running = number < 100
        told |= {
            b"status": b"started" if is_running else b"queued",
            b"worker_name": b"pod-%d" % (number % 10),
        }
        yield "HSET", KEYS.run(run), *flat(told)
        yield "ZADD", KEYS.active(name), int(now.timestamp()), run
        yield "HSET", KEYS.open_runs, run, ""
        if is_running:
            yield "ZADD", "rq:wip:default", "+inf", f"{run}:{number}"
            yield "SADD", f"rq:worker:pod-{number % 10}:executions", f"{run}:{number}"
        else:
            yield "RPUSH", KEYS.queue("default"), run


def measured(url: str, words: list[str]) -> tuple[list[float], float, int]:
    """Wall seconds of each round, CPU seconds of one, and how many lines it has written."""
    environ = {**os.environ, "KUBER_CRON_REDIS_URL": url, "KUBER_CRON_LOG_DIR": "/nowhere"}
    program = str(Path(sys.executable).with_name("kuber-cron"))
    took, lines, before = [], 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(ROUNDS):
        began = time.monotonic()
        done = subprocess.run([program, *words], env=environ, capture_output=True, text=True, check=False)
        took.append(time.monotonic() - began)
        lines = done.stdout.count("\n")
        if done.returncode != 0 and "nope" not in " ".join(words):
            raise SystemExit(f"{words}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu / ROUNDS, lines


def commands(client: redis.Redis, job: str) -> list[list[str]]:
    run = client.lindex(KEYS.history(job), 0).decode()
    ((_, oldest),) = client.xrange(KEYS.log(job), count=1)
    instant = f"{datetime.fromtimestamp(int(oldest[b'first']), UTC):%Y-%m-%dT%H:%M:%SZ}"
    return [
        ["--help"], ["status"], ["jobs"], ["jobs", "--format", "json"], ["jobs", "--failing"], ["runs"],
        ["runs", "--failed", "-n", "100"], ["runs", "--running", "-n", "100"], ["runs", job], ["show", run], ["show", run[:-3]],
        ["show", job], ["logs", run], ["why", job], ["why", job, instant], ["why", job, "--format", "json"], ["queues"], ["workers"],
        ["quarantine", "list"], ["why", "team-00-job-nope"],
    ]  # fmt: skip


def main() -> None:
    jobs, decisions, runs = (int(word) for word in sys.argv[1:] or ("10000", "100", "10"))
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedRedis(Path(name) / "redis", appendfsync="no") as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        made = model(client, server.url, Path(name))
        job = name_of(jobs // 80 * 40)
        before = client.info("memory")["used_memory"]
        now = datetime.now(UTC)
        in_pipelines(client, kept(made, now, jobs, decisions, runs))
        in_pipelines(client, open_runs(made, now))
        used = client.info("memory")["used_memory"] - before
        stream = client.memory_usage(KEYS.log(job), samples=0)
        print(f"{jobs:,} jobs, {jobs * decisions:,} decisions, {jobs * runs:,} ended runs: {used / 1e6:,.0f} MB of "
              f"{client.info('server')['redis_version']}; a job's log of {decisions} decisions {stream:,} bytes\n")  # fmt: skip
        print("| command | best | median | worst of 7 | its own CPU | lines |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        slow = []
        for words in commands(client, job):
            took, cpu, lines = measured(server.url, words)
            print(f"| `{' '.join(words)}` | {min(took):.2f} s | {median(took):.2f} s | {max(took):.2f} s | {cpu:.2f} s | "
                  f"{lines:,} |", flush=True)  # fmt: skip
            slow += [words] if min(took) > LIMIT_SECONDS else []
    if slow:
        raise SystemExit(f"slower than {LIMIT_SECONDS:g} s: {json.dumps(slow)}")


if __name__ == "__main__":
    main()

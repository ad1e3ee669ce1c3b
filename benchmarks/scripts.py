"""What the scripts of the hot paths cost Redis: `python benchmarks/scripts.py [CHECKOUT]`.

Time in the server a call, and for decisions one decision of a batch of a hundred, by `INFO commandstats`; and the size of
each script as it is sent. With CHECKOUT, the root of another checkout (`git worktree add`), its scripts are called with the
same arguments in turns. The fastest calls are compared, the best and the fifth of a hundred, because other work on the
machine only ever adds.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis
from measuring import KEYS, machine, shares

from kuber_cron.common.redis_store.embedded.server import EmbeddedRedis

ROUNDS = 60
BATCH = 100
RUNS = 50
NOW = ("2026-01-01T00:00:00.000000Z", "1000.5")
SHARED = (
    "status", "queued", "origin", "default", "timeout", "-1", "result_ttl", "2592000", "description", "x" * 20,
    "data", "y" * 120, "max_lost", "3", "on_remove", "keep", "failure_ttl", "2592000",
)  # fmt: skip
POLICIES = {
    "plain": "",
    "forbid": '{"concurrency": "forbid", "max_running": 1}',
    "group": '{"group": "g", "limit": 2, "watched": true}',
}
SCRIPTS = ("decide_batch", "claim_runs", "start_attempt", "heartbeat", "end_attempt")
TEXT = "import sys; from kuber_cron.common.redis_store.scripts import script_text; print(script_text(sys.argv[1]), end='')"

Call = tuple[object, ...]


def text_of(script: str, checkout: Path) -> str:
    """The script as that checkout sends it."""
    environ = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", TEXT, script]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def decisions(policy: str) -> Call:
    """The arguments of a batch of decisions that each queue a run."""
    own = ("id", "sig", "z" * 40)
    arguments: list[object] = [1, "", "leader", 0, NOW[0], 500, BATCH, 1, "shared", len(SHARED), *SHARED]
    for number in range(BATCH):
        job, run = f"job-{number}", f"job-{number}-run"
        arguments += ["queue", job, "", "after", 1000, 1000, 1, "", run, "default", policy, "shared"]
        arguments += [len(own) + 1, own[0], run, *own[1:]]
    return tuple(arguments)


def attempts() -> Iterator[tuple[str, list[Call]]]:
    """Each script of a worker, with its calls for all runs."""
    pairs = [(f"run-{number}", f"execution-{number}") for number in range(RUNS)]
    claims = KEYS.claims("worker")
    result = ("type", "1", "return_value", "y")
    end = ("worker", "finish", "success", *NOW, "0.1", "0", "0", "", *result)
    yield "claim_runs", [(claims, 1, "default")] * RUNS
    yield "start_attempt", [(*pair, "worker", 15000, *NOW, claims) for pair in pairs]
    yield "heartbeat", [("worker", 15000, *NOW, *pair) for pair in pairs]
    yield "end_attempt", [(*pair, *end) for pair in pairs]


def queue_runs(client: redis.Redis) -> None:
    """An empty installation with runs in its queue."""
    client.flushall()
    client.hset(KEYS.fence, "epoch", 1)
    with client.pipeline(transaction=False) as pipe:
        for number in range(RUNS):
            fields = {
                "status": "queued",
                "origin": "default",
                "data": "d" * 100,
                "job": f"job-{number}",
                "at": "1000",
            }
            pipe.hset(KEYS.run(f"run-{number}"), mapping=fields)
            pipe.rpush(KEYS.queue("default"), f"run-{number}")
        pipe.execute()


def microseconds(client: redis.Redis, sha: str, calls: Sequence[Call]) -> float:
    """What these calls cost the server together."""
    client.config_resetstat()
    for call in calls:
        client.evalsha(sha, 1, KEYS.fence, KEYS.prefix, *call)  # type: ignore[arg-type] # redis-py: str only
    return float(client.info("commandstats")["cmdstat_evalsha"]["usec"])


def main() -> None:
    checkouts = [Path(__file__).parents[1], *(Path(name).resolve() for name in sys.argv[1:2])]
    found: defaultdict[tuple[str, Path], list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder) / "redis") as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        print(machine(client), end="\n\n")
        texts = {(name, each): text_of(name, each) for name in SCRIPTS for each in checkouts}
        shas = {key: str(client.script_load(text)) for key, text in texts.items()}
        for number in range(ROUNDS):
            for each in checkouts if number % 2 else checkouts[::-1]:
                for policy, text in POLICIES.items():
                    client.flushall()
                    client.hset(KEYS.fence, "epoch", 1)
                    cost = microseconds(client, shas["decide_batch", each], [decisions(text)])
                    found[f"decide_batch, {policy}", each].append(cost / BATCH)
                queue_runs(client)
                for script, calls in attempts():
                    found[script, each].append(microseconds(client, shas[script, each], calls) / RUNS)
    print("| script |" + " best, µs | p5, µs | sent, bytes |" * len(checkouts))
    print("| --- |" + " ---: | ---: | ---: |" * len(checkouts))
    for name in dict.fromkeys(name for name, _ in found):
        script = name.partition(",")[0]
        cells = [
            cell
            for each in checkouts
            for cell in (
                *(f"{cost:.1f}" for cost in shares(found[name, each], 0, 0.05)),
                f"{len(texts[script, each]):,}",
            )
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

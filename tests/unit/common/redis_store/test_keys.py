"""Keys are spelt in one module, and have the names that running installations hold."""

import inspect
import re
from pathlib import Path

import pytest

from kuber_cron.common.redis_store.keys import Keys

PRODUCT = Path(__file__).parents[4]
HOME = "common/redis_store/keys.py"
# A key is our prefix with a name behind it, or a prefix variable with RQ's separator behind it.
SPELT = re.compile(r"kuber-cron:[a-z{]|prefix\}:(?!\*)|[\"']rq:(?!\*)")

NAMES = {
    "fence": "fence", "lease": "lease", "released": "released", "schedulers": "schedulers", "job_summaries": "jobs",
    "boot": "boot", "cursors": "cursor", "timings": "timing", "log": "log:x", "missed": "missed", "changed": "changed", "ended": "ended",
    "paused": "paused", "open_runs": "open", "active": "active:x", "held": "held", "gates": "gates:x",
    "gated": "gated:x", "past": "past:x", "groups": "groups", "group": "group:x", "waiting": "waiting:x",
    "stats": "stats:x", "history": "history:x", "sizes": "sizes:x", "history_limits": "bounds",
    "quarantine": "quarantine", "aside": "aside:x", "requests": "requests", "request": "request:x",
    "answer": "answer:x", "requested": "asked", "acted": "acted", "acts": "acts", "claimers": "claims",
    "claims": "claims:x", "alive": "alive:x", "seen": "seen:x", "output": "output:x", "lost": "lost",
    "counters": "counters", "removed": "removed", "line": "line:x",
}  # fmt: skip
RQ_NAMES = {
    "queues": "queues", "queue": "queue:x", "run": "job:x", "results": "results:x", "workers": "workers",
    "queue_workers": "workers:x", "worker": "worker:x", "worker_executions": "worker:x:executions",
}  # fmt: skip
NO_KEYS = {"prefix", "of", "instance", "queue_name", "worker_name", "registry"}


def key(keys: Keys, name: str) -> str:
    found = getattr(keys, name)
    return found if isinstance(found, str) else found("x")


@pytest.mark.parametrize(("name", "stored"), NAMES.items())
def test_a_key_of_ours_has_its_stored_name(name, stored):
    assert key(Keys("cron"), name) == f"cron:kuber-cron:{stored}"


@pytest.mark.parametrize(("name", "stored"), RQ_NAMES.items())
def test_a_key_of_rq_has_its_stored_name(name, stored):
    assert key(Keys("cron"), name) == f"cron:{stored}"


def test_a_registry_is_the_queues_own():
    assert Keys().registry("wip", "default") == "rq:wip:default"


def test_every_key_is_in_the_tables_of_this_test():
    public = {name for name, _ in inspect.getmembers(Keys) if not name.startswith("_")}
    assert public == NAMES.keys() | RQ_NAMES.keys() | NO_KEYS


@pytest.mark.parametrize("instance", ["kuber-cron", "other"])
def test_an_instance_is_found_again_from_its_prefix(instance):
    assert Keys.of(instance).instance == instance


def test_the_name_of_a_queue_or_worker_is_read_from_its_key():
    keys = Keys("cron")
    assert keys.queue_name(keys.queue("a:b").encode()) == "a:b"
    assert keys.worker_name(keys.worker("pod-1").encode()) == "pod-1"


def test_no_other_module_of_the_product_spells_a_key():
    found = [
        f"{path.relative_to(PRODUCT)}:{number}: {line.strip()}"
        for folder in ("common", "control", "scheduler", "worker", "cli")
        for path in (PRODUCT / folder).rglob("*.py")
        if path != PRODUCT / HOME
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SPELT.search(line)
    ]
    assert found == []

"""Writing to Redis does not mean running code: each forgery that somebody with a connection could try."""

import json
import pickle
import zlib

import pytest
from rq.queue import Queue
from rq.serializers import JSONSerializer
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, status, worker

KEY = b"the workers' key"


def sample(made, name, **labels):
    return made.registry.get_sample_value(name, labels)


def arguments(client, run):
    """RQ's (function, instance, args, kwargs) of a run, as it stands in Redis."""
    return json.loads(zlib.decompress(client.hget(KEYS.run(run), "data")))


def forge(client, run, *, function=None, args=None):
    parts = arguments(client, run)
    if function is not None:
        parts[0] = function
    if args is not None:
        parts[2] = args
    client.hset(KEYS.run(run), "data", zlib.compress(json.dumps(parts).encode()))


@pytest.fixture
def proof(tmp_path):
    return tmp_path / "proof"


@pytest.fixture
def signing_worker(redis_url, tmp_path):
    with worker(redis_url, tmp_path / "logs", signing_keys=[KEY]) as made:
        yield made


def quarantined(client):
    return [
        (fields[b"run"].decode(), json.loads(fields[b"note"])["reason"])
        for _, fields in client.xrange(KEYS.quarantine)
    ]


def refused(client, made, run, proof, reason):
    """The run is in quarantine for this reason, counted, and nothing of it has run; the worker goes on."""
    assert ended(client, run).is_failed
    assert quarantined(client) == [(run, reason)]
    assert sample(made, "cron_quarantined_total", reason=reason) == 1
    assert not proof.exists()
    assert ended(client, push(client, job("good"), signing_key=KEY)).is_finished


def push_held(client, name, **options):
    """A run whose record stands in Redis and whose id is in no queue yet."""
    run = push(client, job(name), signing_key=options.get("signing_key", KEY), queue="elsewhere")
    client.delete(KEYS.queue("elsewhere"))
    return run


def test_an_altered_command_is_refused(redis_client, signing_worker, proof):
    run = push_held(redis_client, "altered")
    body, signature = arguments(redis_client, run)[2]
    values = json.loads(body) | {"command": f"touch {proof}"}
    forge(redis_client, run, args=[json.dumps(values), signature])
    redis_client.rpush(KEYS.queue("default"), run)
    refused(redis_client, signing_worker, run, proof, "signature")


def test_an_unsigned_run_is_refused(redis_client, signing_worker, proof):
    run = push(redis_client, job("unsigned", f"touch {proof}"), signing_key=None)
    refused(redis_client, signing_worker, run, proof, "unsigned")


def test_a_run_signed_with_another_key_is_refused(redis_client, signing_worker, proof):
    run = push(redis_client, job("stranger", f"touch {proof}"), signing_key=b"another")
    refused(redis_client, signing_worker, run, proof, "signature")


def test_a_run_that_was_signed_for_other_workers_queue_is_refused(redis_client, signing_worker, proof):
    run = push(redis_client, job("elsewhere", f"touch {proof}", queue="private"), signing_key=KEY)
    redis_client.rpush(KEYS.queue("default"), run)
    refused(redis_client, signing_worker, run, proof, "signature")


def test_the_name_of_a_function_in_redis_is_never_looked_up(redis_client, signing_worker, proof):
    run = push_held(redis_client, "named")
    forge(redis_client, run, function="os.system")
    redis_client.rpush(KEYS.queue("default"), run)
    # What runs is the signed payload, whatever function stands beside it.
    assert ended(redis_client, run).latest_result().return_value["outcome"] == "success"
    assert not proof.exists()


def test_a_job_of_a_foreign_function_is_refused(redis_client, signing_worker, proof):
    queue = Queue("default", connection=redis_client, serializer=JSONSerializer)
    run = queue.enqueue("os.system", f"touch {proof}").id
    refused(redis_client, signing_worker, run, proof, "malformed")


def test_what_was_signed_for_one_run_is_refused_under_the_name_of_another(
    redis_client, signing_worker, proof
):
    signed = push(redis_client, job("signed", f"echo x >> {proof}"), signing_key=KEY)
    assert ended(redis_client, signed).is_finished
    proof.unlink()
    run = push_held(redis_client, "copied")
    redis_client.hset(KEYS.run(run), "data", redis_client.hget(KEYS.run(signed), "data"))
    redis_client.rpush(KEYS.queue("default"), run)
    refused(redis_client, signing_worker, run, proof, "signature")


def test_a_pickle_is_refused_unopened(redis_client, signing_worker, proof):
    class Trap:
        def __reduce__(self):
            return proof.touch, ()

    run = push_held(redis_client, "pickle")
    redis_client.hset(KEYS.run(run), "data", zlib.compress(pickle.dumps(("f", None, (Trap(),), {}))))
    redis_client.rpush(KEYS.queue("default"), run)
    refused(redis_client, signing_worker, run, proof, "malformed")


@pytest.mark.parametrize("also_status", [False, True])
def test_a_run_that_has_succeeded_is_not_run_by_pushing_it_again(
    redis_client, signing_worker, proof, also_status
):
    run = push(redis_client, job("once", f"echo x >> {proof}"), signing_key=KEY)
    assert ended(redis_client, run).is_finished
    if also_status:
        redis_client.hset(KEYS.run(run), "status", "queued")
    redis_client.rpush(KEYS.queue("default"), run)
    assert ended(redis_client, push(redis_client, job("good"), signing_key=KEY)).is_finished
    eventually(lambda: redis_client.llen(KEYS.queue("default")) == 0)
    assert proof.read_text() == "x\n"
    assert status(redis_client, run) == "finished"


def test_either_of_two_keys_is_accepted_during_a_rotation(redis_client, redis_url, tmp_path):
    runs = [
        push(redis_client, job(f"key{key!r}".replace("'", "")), signing_key=key) for key in (b"new", b"old")
    ]
    with worker(redis_url, tmp_path, signing_keys=[b"new", b"old"]):
        assert all(ended(redis_client, run).is_finished for run in runs)


def test_what_is_no_run_is_put_aside_and_the_worker_goes_on(redis_client, redis_url, tmp_path):
    redis_client.set(KEYS.run("text"), "not a hash")
    redis_client.hset(KEYS.run("empty"), "status", "queued")
    with worker(redis_url, tmp_path) as made:
        for name in ("text", "empty"):
            redis_client.rpush(KEYS.queue("default"), name)
        assert ended(redis_client, push(redis_client, job("good"))).is_finished
        eventually(lambda: sample(made, "cron_quarantined_total", reason="malformed") == 2)
    assert quarantined(redis_client) == [("text", "malformed"), ("empty", "malformed")]
    assert redis_client.get(KEYS.aside("text")) == b"not a hash"
    assert redis_client.ttl(KEYS.aside("text")) > 0


@pytest.mark.parametrize("newer", [{"version": 99}, {"a_field_of_tomorrow": None}])
def test_a_payload_of_a_newer_version_is_put_back_and_the_worker_claims_nothing_more(
    redis_client, redis_url, tmp_path, newer
):
    run = push_held(redis_client, "newer", signing_key=None)
    body, signature = arguments(redis_client, run)[2]
    forge(redis_client, run, args=[json.dumps(json.loads(body) | newer), signature])
    with worker(redis_url, tmp_path) as made:
        assert made.checks()["worker"]() == "ok"
        redis_client.rpush(KEYS.queue("default"), run)
        eventually(lambda: made.checks()["worker"]() != "ok")
        eventually(lambda: redis_client.lrange(KEYS.queue("default"), 0, -1) == [run.encode()])
        later = push(redis_client, job("later"))
        assert status(redis_client, run) == "queued"
        assert redis_client.hget(KEYS.run(run), "attempt") == b"0", "a returned claim is not an attempt"
        assert quarantined(redis_client) == []
    assert status(redis_client, later) == "queued"

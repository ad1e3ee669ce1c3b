"""What running commands have said so far, as Redis has it."""

import json
from base64 import b64decode

import pytest
from tests.support.clocks import SteppedClock
from tests.support.waiting import eventually
from tests.support.workers import KEYS, ended, job, push, worker

from kuber_cron.common.records.excerpt import Excerpt
from kuber_cron.common.redis_store import connections
from kuber_cron.worker.coordination.live_output import TTL_SECONDS, LiveOutput
from kuber_cron.worker.execution.launch import Launch, RunningCommand
from kuber_cron.worker.output.excerpt_buffer import ExcerptBuffer


class Commands:
    """Commands that run and say what a test lets them say; the follower that tells of them."""

    def __init__(self, client, count=1):
        self.clock, self.ends, self.held = SteppedClock(), {}, set()
        for number in range(count):
            self.ends[f"e{number}"] = ExcerptBuffer()
            self.held.add(f"e{number}")
        self.live_output = LiveOutput(
            client, KEYS, running=self.running, is_running=self.held.__contains__, clock=self.clock
        )

    def running(self):
        return [
            RunningCommand(
                launch=Launch(run_id="r", job="j", execution_id=execution, argv=("x",), env={}),
                pid=1,
                started_at=self.clock.now(),
                elapsed_seconds=1.0,
                ending=None,
                output_bytes=ends.excerpt().total_bytes,
                excerpt=ends.excerpt,
            )
            for execution, ends in self.ends.items()
        ]

    def publish(self, seconds=1.0):
        self.clock.advance(seconds)
        self.live_output.publish_changes()


def told(client, execution="e0"):
    document = client.get(KEYS.output(execution))
    return None if document is None else json.loads(document)


def result(client, run):
    """What RQ's result entry holds, which RQ itself tells of successes only."""
    ended(client, run)
    ((_, fields),) = client.xrevrange(f"rq:results:{run}", count=1)
    return json.loads(b64decode(fields[b"return_value"]))


def test_what_a_running_command_says_can_be_followed_until_its_result_is_there(
    redis_client, redis_url, tmp_path
):
    with worker(redis_url, tmp_path) as made:
        run = push(
            redis_client, job(command="echo one; read line; echo two >&2; exec sleep 60", stdin="go\n")
        )

        def said():
            execution = (redis_client.hget(KEYS.run(run), "execution") or b"").decode()
            document = told(redis_client, execution)
            return (execution, document) if document and document["total_bytes"] == 8 else None

        execution, document = eventually(said)
        assert (document["run"], document["job"], document["attempt"]) == (run, "job", 1)
        assert Excerpt.from_fields(document).since(0) == [("stdout", "one\n"), ("stderr", "two\n")]
        assert 0 < redis_client.ttl(KEYS.output(execution)) <= TTL_SECONDS
        made._supervisor.stop(execution, "stopped")
        value = result(redis_client, run)
        assert (value["head"], value["streams"]) == ("one\ntwo\n", [["stdout", 4], ["stderr", 4]])
        eventually(lambda: told(redis_client, execution) is None)


def test_of_a_worker_that_ends_nothing_is_left(redis_client, redis_url, tmp_path):
    with worker(redis_url, tmp_path, grace_seconds=1.0):
        push(redis_client, job(command="echo one; exec sleep 60"))
        eventually(lambda: redis_client.keys(KEYS.output("*")))
    assert redis_client.keys(KEYS.output("*")) == []


def test_what_has_not_changed_is_told_again_only_before_it_would_expire(redis_client):
    commands = Commands(redis_client)
    commands.publish()
    assert told(redis_client) is None  # it has said nothing
    commands.ends["e0"].write("stdout", b"one\n")
    commands.publish()
    assert told(redis_client)["head"] == "one\n"
    redis_client.flushall()
    commands.publish()
    assert told(redis_client) is None
    commands.publish(TTL_SECONDS / 2)
    assert told(redis_client)["head"] == "one\n"
    commands.held.clear()
    commands.publish()
    assert told(redis_client) is None


def test_sixty_four_that_flood_take_one_exchange_a_turn_and_bounded_room(redis_client):
    commands = Commands(redis_client, 64)
    for ends in commands.ends.values():
        ends.write("stdout", b"x" * 100_000)
    before = redis_client.info("stats")["total_net_input_bytes"]
    commands.publish()
    assert len(redis_client.keys(KEYS.output("*"))) == 64
    assert redis_client.info("stats")["total_net_input_bytes"] - before < 64 * 17_000


def test_what_does_not_fit_into_one_turn_is_told_in_the_next(redis_client):
    commands = Commands(redis_client, 300)
    for ends in commands.ends.values():
        ends.write("stdout", b"x" * 100_000)
    for turns in (1, 2, 3):
        commands.publish()
        assert len(redis_client.keys(KEYS.output("*"))) == min(300, turns * 126)


def test_a_redis_that_is_away_costs_nothing_and_is_told_later():
    commands = Commands(connections.open_client("redis://127.0.0.1:1", "deciding"))
    commands.ends["e0"].write("stdout", b"one\n")
    commands.publish()
    commands.publish()
    assert commands.live_output._published == {}


@pytest.mark.parametrize("output", ["echo it is hunter22", "printf 'it is hun'; printf x >&2; echo ter22"])
def test_a_named_secret_reaches_no_key_in_redis(redis_client, redis_url, tmp_path, output):
    with worker(redis_url, tmp_path, environ={"DB_PASSWORD": "hunter22"}, redact=("*PASSWORD",)):
        run = push(redis_client, job(command=f"{output}; read x; exit 3", stdin="go\n"))
        assert "***" in result(redis_client, run)["head"]
        assert "***" in ended(redis_client, run).latest_result().exc_string
        (log,) = (tmp_path / "job").iterdir()
        assert "hunter22" in log.read_text().replace("x", "")

"""Redis has lost acknowledged writes: noticed, counted, repaired by each job's policy (spec: reliability.md §8)."""

import contextlib
import os
import shutil
import signal
from contextlib import closing

import pytest
import redis
from tests.support.stepped import (
    KEYS,
    SteppedLeader,
    SteppedWorker,
    assert_sound,
    job,
    minute,
    stepped_leaders,
)

from kuber_cron.common.errors import FencedError, RedisUnreachableError, StateLostError, TermOverError

SKIPPING = [{"on_state_loss": "skip"}, {"execution": "at_most_once"}]
POLICIES = [{}, *SKIPPING]


@pytest.fixture
def make_leader(redis_client):
    with stepped_leaders(redis_client, counted=False) as make:
        yield make


class Snapshot:
    """What Redis held, to be put back."""

    def __init__(self, client):
        self._client = client
        self._kept = {key: client.dump(key) for key in client.scan_iter("*")}

    def restore(self):
        self._client.flushall()
        for key, value in self._kept.items():
            self._client.restore(key, 0, value)


def ten_minutes(make_leader, *jobs):
    """Ten minutes decided and run, and what Redis held after five of them."""
    made = make_leader(*jobs)
    made.minutes(0, 5)
    SteppedWorker(made.client).work()
    kept = Snapshot(made.client)
    made.minutes(6, 10)
    SteppedWorker(made.client).work()
    return made, kept


def after_the_loss(made, at):
    """The leader notices, and leads again."""
    with pytest.raises(StateLostError):
        made.decide(minute(at))
    made.lead(int(made.client.hget(KEYS.fence, "epoch") or made.term.epoch) + 1)
    made.decide(minute(at))


def test_a_restored_snapshot_is_noticed_counted_once_and_replayed(make_leader):
    made, kept = ten_minutes(make_leader, job())
    kept.restore()
    after_the_loss(made, 11)
    made.decide(minute(12))
    assert made.state_lost == 1
    assert made.words() == ["moved first seen", *["queued"] * 12]
    assert_sound(made.client)


@pytest.mark.parametrize("policy", SKIPPING)
def test_a_restored_snapshot_is_skipped_up_to_what_this_process_knows(make_leader, policy):
    made, kept = ten_minutes(make_leader, job(**policy))
    kept.restore()
    after_the_loss(made, 11)
    made.decide(minute(12))
    assert made.state_lost == 1
    assert made.words()[6:] == ["skipped state_lost", "queued", "queued"]
    skip = made.log()[6]
    assert (skip.first, skip.last, skip.count) == (minute(6), minute(10), 5)
    assert made.missed() == {"job|state_lost": 5}
    assert_sound(made.client)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_new_process_knows_of_the_loss_by_the_leases_record(make_leader, policy):
    made, kept = ten_minutes(make_leader, job(**policy))
    kept.restore()
    new = make_leader(job(**policy), holder="new")
    new.lead(2, through=10)
    new.decide(minute(10.5))
    new.decide(minute(11))
    assert new.state_lost == 1
    lost = ["skipped state_lost"] if policy else ["queued"] * 5
    assert new.words()[6:] == [*lost, "queued"]
    assert_sound(made.client)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_loss_that_nobody_can_know_of_is_repaired_as_any_gap(make_leader, policy):
    _, kept = ten_minutes(make_leader, job(**policy))
    kept.restore()
    new = make_leader(job(**policy), holder="new")
    new.lead(2)
    new.decide(minute(11))
    assert new.state_lost == 0
    assert new.words()[6:] == ["queued"] * 6


@pytest.mark.parametrize("policy", POLICIES)
def test_an_emptied_redis_is_noticed_and_nothing_that_ran_runs_again(make_leader, policy):
    made, _ = ten_minutes(make_leader, job(**policy))
    made.client.flushall()
    after_the_loss(made, 11)
    made.decide(minute(12))
    assert made.state_lost == 1
    assert made.words() == ["moved state lost", "queued", "queued"]
    assert made.log()[0].first == minute(10)


def test_an_emptied_redis_is_noticed_by_a_new_process_too(make_leader):
    made, _ = ten_minutes(make_leader, job())
    made.client.flushall()
    new = make_leader(job(), holder="new")
    new.lead(2, through=10)
    new.decide(minute(11))
    new.decide(minute(12))
    assert new.state_lost == 1
    assert new.words() == ["moved first seen", "queued"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_deleted_fence_is_noticed_and_no_instant_is_decided_twice(make_leader, policy):
    made, _ = ten_minutes(make_leader, job(**policy))
    made.client.delete(KEYS.fence)
    after_the_loss(made, 11)
    assert made.state_lost == 1
    assert made.words() == ["moved first seen", *["queued"] * 11]


def test_an_epoch_put_back_by_hand_is_counted(make_leader):
    made, _ = ten_minutes(make_leader, job())
    made.client.hset(KEYS.fence, "epoch", 0)
    after_the_loss(made, 11)
    assert made.state_lost == 1
    assert made.words() == ["moved first seen", *["queued"] * 11]


def test_a_count_of_decisions_put_back_by_hand_is_counted(make_leader):
    made, _ = ten_minutes(make_leader, job())
    made.client.hset(KEYS.fence, "through", 3)
    after_the_loss(made, 11)
    assert made.state_lost == 1
    assert made.words() == ["moved first seen", *["queued"] * 11]


def test_a_cursor_put_back_by_hand_runs_nothing_twice(make_leader):
    made, _ = ten_minutes(make_leader, job())
    made.client.hset(KEYS.cursors, "job", f"{int(minute(7).timestamp())}|UTC|* * * * *")
    after_the_loss(made, 11)
    assert made.state_lost == 1
    assert made.words()[11:] == ["known the run exists"] * 3 + ["queued"]
    assert made.queued() == [made.run(11)]


@pytest.mark.parametrize("policy", SKIPPING)
def test_a_cursor_put_back_by_hand_is_skipped_where_the_job_says_so(make_leader, policy):
    made, _ = ten_minutes(make_leader, job(**policy))
    made.client.hset(KEYS.cursors, "job", f"{int(minute(7).timestamp())}|UTC|* * * * *")
    after_the_loss(made, 11)
    assert made.words()[11:] == ["skipped state_lost", "queued"]


def test_a_deleted_cursor_is_set_again_to_where_it_was(make_leader):
    made, _ = ten_minutes(make_leader, job())
    made.client.hdel(KEYS.cursors, "job")
    after_the_loss(made, 11)
    assert made.state_lost == 1
    assert made.words()[11:] == ["moved state lost", "queued"]


def test_a_loss_while_this_process_did_not_look_is_noticed_when_it_leads_again(make_leader):
    made, kept = ten_minutes(make_leader, job(on_state_loss="skip"))
    made.decider.forget()  # Redis went away ...
    kept.restore()  # ... and came back older; the term is the same
    made.decide(minute(11))
    assert made.state_lost == 1
    assert made.words()[6:] == ["skipped state_lost", "queued"]


@pytest.mark.parametrize("error", [TermOverError("over"), RedisUnreachableError("gone")])
def test_a_repair_that_could_not_be_sent_is_made_all_the_same(make_leader, error):
    made, kept = ten_minutes(make_leader, job(on_state_loss="skip"))
    kept.restore()
    made.decider.forget()

    def raises():
        raise error

    made.leads = raises
    with pytest.raises(type(error)):
        made.decide(minute(11))
    made.leads = lambda: True
    made.decide(minute(11))
    assert made.state_lost == 1
    assert made.words()[6:] == ["skipped state_lost", "queued"]


def test_a_repair_that_failed_is_made_all_the_same(make_leader):
    made, kept = ten_minutes(make_leader, job(on_state_loss="skip"))
    kept.restore()
    made.client.rename(KEYS.log("job"), "aside")
    made.client.set(KEYS.log("job"), "not a stream")
    made.decider.forget()
    made.decide(minute(11))
    made.client.rename("aside", KEYS.log("job"))
    made.decide(minute(11.01))
    assert made.words()[6:] == ["skipped state_lost", "queued"]


@pytest.mark.parametrize("lookup", ["boot", "server"])
def test_a_loss_is_counted_also_where_redis_goes_away_before_all_has_been_read(
    make_leader, monkeypatch, lookup
):
    made, kept = ten_minutes(make_leader, job())
    kept.restore()
    made.decider.forget()
    away = [redis.ConnectionError("away")]

    def once_away(usual):
        def ask(*key):
            if key[-1].endswith(lookup) and away:
                raise away.pop()
            return usual(*key)

        return ask

    for name in ("get", "hget"):
        monkeypatch.setattr(made.client, name, once_away(getattr(made.client, name)))
    with pytest.raises(redis.ConnectionError):
        made.decide(minute(11))
    made.decide(minute(11))
    assert made.state_lost == 1


def test_a_run_that_stood_in_its_queue_then_comes_back_with_it_as_documented(make_leader):
    made = make_leader(job(execution="at_most_once"))
    worker = SteppedWorker(made.client)
    made.minutes(0, 1)
    kept = Snapshot(made.client)
    made.minutes(2, 3)
    assert worker.work() == [made.run(1), made.run(2), made.run(3)]
    kept.restore()
    after_the_loss(made, 4)
    assert worker.work() == [made.run(1), made.run(4)]
    assert made.words()[2:] == ["skipped state_lost", "queued"]


def test_a_repaired_loss_is_not_found_again_in_the_same_term(make_leader):
    made, _ = ten_minutes(make_leader, job(on_state_loss="skip"))
    made.client.flushall()
    made.lead(2, through=10)
    made.decide(minute(11))
    for number in (12, 13):
        made.decider.forget()  # Redis hiccups
        made.decide(minute(number))
    assert made.state_lost == 1
    assert made.words() == ["moved state lost", *["queued"] * 3]


def test_a_loss_that_another_leader_has_dealt_with_is_not_counted_again(make_leader):
    made, _ = ten_minutes(make_leader, job(on_state_loss="skip"))
    made.client.flushall()
    with pytest.raises(StateLostError):
        made.decide(minute(11))
    other = make_leader(job(on_state_loss="skip"), holder="other")
    other.lead(2, through=10)
    other.decide(minute(11))
    other.decide(minute(12))
    assert other.state_lost == 1
    made.lead(3, through=int(made.client.hget(KEYS.fence, "through")))
    made.decide(minute(14))
    assert made.state_lost == 0
    assert made.words() == ["moved first seen", *["queued"] * 3]


def decided(made, name):
    return [word for word in made.words(name) if not word.startswith(("released", "moved"))]


def test_chains_are_repaired_in_their_order(make_leader):
    jobs = [job("b", after=["a"]), job("a", on_state_loss="skip")]
    made, kept = ten_minutes(make_leader, *jobs)
    kept.restore()
    made.decider.forget()
    made.decide(minute(11))
    made.decide(minute(11.01))
    assert made.words("a")[6:] == ["skipped state_lost", "queued"]
    assert decided(made, "b")[5:] == [*["skipped predecessor"] * 5, "held"]
    assert_sound(made.client)


def test_a_dependent_is_not_decided_before_its_predecessor_is_repaired_and_caught_up(make_leader):
    jobs = [job("b", after=["a"]), job("a", on_state_loss="skip")]
    made, kept = ten_minutes(make_leader, *jobs)
    kept.restore()
    made.decider.forget()
    made.decide(minute(13))
    made.decide(minute(13.01))
    assert decided(made, "b")[5:] == [*["skipped predecessor"] * 5, *["held"] * 3]
    for number in (11, 12, 13):
        gates = made.client.hkeys(KEYS.gates(made.run(number, "b")))
        assert gates == [made.run(number, "a").encode()]


@pytest.mark.parametrize("policy", [{}, {"on_state_loss": "skip"}])
def test_an_older_append_only_file_put_back_under_a_killed_server(tmp_path, redis_server, policy):
    place, backup = tmp_path / "redis", tmp_path / "backup"
    server = redis_server(place, appendfsync="always")
    with closing(redis.Redis.from_url(server.url, protocol=2)) as client:
        made = SteppedLeader(client, job(**policy))
        made.minutes(0, 5)
        shutil.copytree(place, backup, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        made.minutes(6, 10)
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(60) is not None
        server.stop()
        shutil.rmtree(place)
        shutil.copytree(backup, place)
        again = redis_server(place, appendfsync="always")
        assert again.url == server.url
        with pytest.raises((StateLostError, RedisUnreachableError)):
            made.decide(minute(11))
        made.lead(2, through=10)
        made.decide(minute(11))
        assert made.state_lost == 1
        lost = ["skipped state_lost"] if policy else ["queued"] * 5
        assert made.words()[6:] == [*lost, "queued"]
        assert_sound(client)


# --- while nothing is due ------------------------------------------------------------------------------


def test_an_idle_leader_asks_once_a_second(make_leader):
    made, kept = ten_minutes(make_leader, job())
    assert not made.decider.is_in_doubt(made.term)
    kept.restore()
    made.clock.advance(0.9)
    assert not made.decider.is_in_doubt(made.term)
    made.clock.advance(0.1)
    with pytest.raises(StateLostError, match="counts 5 decisions"):
        made.decider.is_in_doubt(made.term)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_loss_found_while_nothing_is_due_is_repaired_like_one_found_by_a_decision(make_leader, policy):
    made, kept = ten_minutes(make_leader, job(**policy))
    kept.restore()
    made.clock.advance(1)
    with pytest.raises(StateLostError):
        made.decider.is_in_doubt(made.term)
    made.decider.forget()  # as the loop does; the next term begins
    made.lead(2)
    made.decide(minute(10.5))
    assert made.state_lost == 1
    assert made.words()[6:] == (["skipped state_lost"] if policy else ["queued"] * 5)
    assert_sound(made.client)


def test_an_epoch_that_is_not_ours_is_noticed_while_nothing_is_due(make_leader):
    made, _ = ten_minutes(make_leader, job())
    for epoch, error in [(2, FencedError), (0, StateLostError)]:
        made.client.hset(KEYS.fence, "epoch", epoch)
        made.clock.advance(1)
        with pytest.raises(error):
            made.decider.is_in_doubt(made.term)


def test_another_history_of_the_same_server_has_every_cursor_compared(redis_server, tmp_path):
    options = {"bind": "127.0.0.1", "protected-mode": "no"}
    with contextlib.ExitStack() as stack:
        server = redis_server(tmp_path / "ours", options=options)
        client = stack.enter_context(closing(redis.Redis.from_url(server.url, protocol=2)))
        made = SteppedLeader(client, job(), job("yearly", "@yearly"))
        made.minutes(0, 3)
        moved = made.cursor("yearly")
        made.clock.advance(1)
        assert not made.decider.is_in_doubt(made.term)
        client.hdel(KEYS.cursors, "yearly")  # no decision is counted less
        made.clock.advance(1)
        assert not made.decider.is_in_doubt(made.term)
        client.replicaof("127.0.0.1", "1")
        client.replicaof("NO", "ONE")  # promoted: a new history
        made.clock.advance(1)
        assert made.decider.is_in_doubt(made.term)
        made.turn()
        made.turn()
        assert made.state_lost == 1
        assert made.cursor("yearly") == moved


def test_where_info_is_closed_the_count_of_decisions_is_compared(redis_client, redis_url):
    everything = {"categories": ["+@all"], "keys": ["*"], "channels": ["*"]}
    redis_client.acl_setuser("closed", enabled=True, nopass=True, commands=["-info"], **everything)
    with closing(redis.Redis.from_url(redis_url, protocol=2, username="closed", password="x")) as client:
        made = SteppedLeader(client, job())
        made.minutes(0, 3)
        made.clock.advance(1)
        assert not made.decider.is_in_doubt(made.term)
        redis_client.hset(KEYS.fence, "through", 1)
        made.clock.advance(1)
        with pytest.raises(StateLostError):
            made.decider.is_in_doubt(made.term)
    redis_client.acl_deluser("closed")


def test_when_a_loss_was_found_stands_in_the_fence(make_leader):
    made, kept = ten_minutes(make_leader, job())
    assert not made.client.hexists(KEYS.fence, "lost_at")
    kept.restore()
    after_the_loss(made, 11)
    assert int(made.client.hget(KEYS.fence, "lost_at")) == int(minute(11).timestamp() * 1000)

"""Whose runs a leader takes away: only theirs whose heartbeats it has itself seen standing still."""

from datetime import UTC, datetime

import pytest
import redis
from tests.support.clients import clients
from tests.support.clocks import SteppedClock
from tests.support.stepped import KEYS, SteppedWorker, job

from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.election.term import Term
from kuber_cron.scheduler.maintenance.reaper import Reaper

TTL = 600.0  # the stepped worker's own


class Judge:
    """A leader's reaper, a second at a time by a clock that the test moves."""

    def __init__(self, leader):
        seconds, micro = leader.client.time()
        self.clock = SteppedClock(datetime.fromtimestamp(seconds + micro / 1e6, UTC))
        self.leader = leader
        self.reaper = Reaper(leader.store, self.clock, 1.0)
        # Redis' clock does not move as the test's does.
        self.reaper._notice_jump = lambda *_: None

    def round(self, term: Term | None = None):
        term = term or self.leader.term
        self.reaper.watch(term)
        taken = [each.what for each in self.reaper.reap(term, "default")]
        return taken + [each.what for each in self.reaper.return_claims(term)]

    def watches(self, seconds, term=None):
        """What is taken in so many seconds, looked at every second one."""
        taken = self.round(term)
        for _ in range(0, int(seconds), 2):
            self.clock.advance(2.0)
            taken += self.round(term)
        return taken


@pytest.fixture
def leader(make_leader):
    return make_leader(job())


@pytest.fixture
def worker(leader):
    made = SteppedWorker(leader.client)
    leader.minutes(0, 2)
    assert made.take()
    assert made.claim()
    return made


@pytest.fixture
def judge(leader):
    return Judge(leader)


def test_a_worker_whose_heartbeats_stand_still_loses_its_run_after_its_ttl(judge, worker):
    assert judge.watches(TTL - 2) == []
    judge.clock.advance(2.0)
    assert judge.round() == ["lost_again", "returned"]


def expire(client):
    for key in [*client.keys("rq:execution:*"), *client.keys(KEYS.alive("*"))]:
        client.delete(key)


def test_keys_that_have_expired_take_nothing_from_a_worker_that_is_heard(judge, worker):
    (run,) = worker.running
    for _ in range(4):
        expire(judge.leader.client)
        assert judge.watches(TTL / 2) == []
        worker.ledger.heartbeat([(run, worker.running[run])], datetime.now(UTC))
        assert judge.watches(0) == []


def test_keys_that_do_not_expire_keep_nothing_for_a_worker_that_is_silent(judge, worker):
    for key in judge.leader.client.keys("*"):
        judge.leader.client.persist(key)
    assert judge.watches(TTL) == ["lost_again", "returned"]


def test_a_leader_that_has_only_begun_takes_nothing_however_long_ago_it_was_made(judge, worker):
    worker.die()
    judge.clock.advance(24 * 3600.0)
    assert judge.watches(TTL - 2) == []


def test_another_term_watches_anew(judge, worker):
    assert judge.watches(TTL - 2) == []
    judge.leader.client.hincrby(KEYS.fence, "epoch", 1)
    following = Term(judge.leader.term.epoch + 1, "leader")
    assert judge.watches(TTL - 2, following) == []


@pytest.mark.parametrize("refusal", ["OOM", "MISCONF"])
def test_a_redis_that_has_refused_somebodys_write_is_watched_anew(judge, worker, refusal, monkeypatch):
    assert judge.watches(TTL - 2) == []
    info = judge.leader.client.info
    refused = {f"errorstat_{refusal}": {"count": 1}}
    monkeypatch.setattr(
        judge.leader.store.client,
        "info",
        lambda section: refused if section == "errorstats" else info(section),
    )
    assert judge.watches(TTL - 2) == []


@pytest.mark.parametrize("change", [{"run_id": "b"}, {"role": "slave"}, {"master_replid": "b"}])
def test_another_server_or_history_is_watched_anew(judge, worker, change, monkeypatch):
    assert judge.watches(TTL - 2) == []
    info = judge.leader.client.info
    monkeypatch.setattr(judge.leader.store.client, "info", lambda section: {**info(section), **change})
    assert judge.watches(TTL - 2) == []


def test_where_info_is_not_permitted_a_dead_workers_run_is_taken_all_the_same(judge, worker, monkeypatch):
    def refuse(_):
        raise redis.exceptions.NoPermissionError("no permissions to run the 'info' command")

    monkeypatch.setattr(judge.leader.store.client, "info", refuse)
    assert judge.watches(TTL) == ["lost_again", "returned"]


def test_a_clock_that_jumps_makes_it_watch_anew(judge, worker):
    assert judge.watches(TTL - 2) == []
    del judge.reaper._notice_jump
    judge.reaper._notice_jump(1000.0, 1000.1)
    judge.reaper._notice_jump(1060.0, 1060.1)
    judge.reaper._notice_jump = lambda *_: None
    assert judge.watches(TTL - 2) == []


def test_an_answer_that_takes_a_while_is_no_jump_of_a_clock(judge, worker):
    assert judge.watches(TTL - 2) == []
    del judge.reaper._notice_jump
    judge.reaper._notice_jump(1000.0, 1000.1)
    judge.reaper._notice_jump(998.5, 1000.1)
    judge.reaper._notice_jump(1000.0, 1000.1)
    judge.reaper._notice_jump = lambda *_: None
    judge.clock.advance(2.0)
    assert judge.round() == ["lost_again", "returned"]


def test_a_sleep_of_the_leader_counts_against_nobody(judge, worker):
    assert judge.watches(TTL - 4) == []
    judge.clock.advance(2 * TTL)
    assert judge.round() == []


def test_a_heartbeat_between_the_look_and_the_taking_keeps_run_and_claim(judge, worker):
    assert judge.watches(TTL - 2) == []
    judge.clock.advance(2.0)
    term = judge.leader.term
    judge.reaper.watch(term)
    worker.ledger.heartbeat([], datetime.now(UTC))
    assert list(judge.reaper.reap(term, "default")) == []
    assert list(judge.reaper.return_claims(term)) == []


def test_the_run_of_a_worker_that_redis_has_forgotten_is_taken_too(judge, worker):
    judge.leader.client.delete(KEYS.claimers, KEYS.seen(worker.name))
    taken = []
    for _ in range(4):  # the leader's own ttl holds, a second
        taken += judge.round()
        judge.clock.advance(1.0)
    assert taken == ["lost_again", "returned"]


def test_an_attempt_that_its_living_worker_does_not_run_is_taken(judge, worker):
    """As after Redis went back to a time before the attempt's end."""
    expire(judge.leader.client)
    taken = []
    for _ in range(4):
        worker.ledger.heartbeat([], datetime.now(UTC))
        taken += judge.watches(TTL / 3)
    assert taken == ["lost_again"]


def test_hundreds_of_runs_are_taken_in_calls_of_a_hundred(judge, leader, redis_client):
    worker = SteppedWorker(redis_client, "many")
    leader.minutes(3, 252)
    taken = [worker.take() for _ in range(249)]
    assert all(taken)
    most = []
    call = judge.leader.store.call

    def counted(script, *arguments):
        reply = call(script, *arguments)
        if script == "reap_lost_attempts":
            most.append(reply.count(b"lost_again"))
        return reply

    judge.leader.store.call = counted
    assert sorted(judge.watches(TTL)) == ["lost_again"] * 249
    assert most.count(100) == 2
    assert max(most) == 100


def test_a_right_that_is_withdrawn_leaves_the_run_where_it_is_found_again(judge, worker, redis_url):
    client = judge.leader.client
    client.acl_setuser("leader", enabled=True, nopass=True, keys=["rq:*"], channels=["*"], commands=["+@all"])
    with clients(redis_url.replace("unix://", "unix://leader:x@")) as opens:
        judge.reaper = Reaper(Store(opens(), KEYS), judge.clock, 1.0)
        judge.reaper._notice_jump = lambda *_: None
        assert judge.watches(TTL - 2) == []
        before = client.zrange("rq:wip:default", 0, -1)
        client.execute_command("ACL", "SETUSER", "leader", "-xadd")
        judge.clock.advance(2.0)
        with pytest.raises(redis.exceptions.NoPermissionError):
            judge.round()
        assert client.zrange("rq:wip:default", 0, -1) == before
        client.execute_command("ACL", "SETUSER", "leader", "+xadd")
        assert judge.round() == ["lost_again", "returned"]
    client.acl_deluser("leader")

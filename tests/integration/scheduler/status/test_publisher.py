"""What a scheduler leaves in Redis for people to read: its jobs' cards, and itself."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from tests.support.stepped import KEYS, SteppedClock, job, minute

from kuber_cron.common.errors import FencedError
from kuber_cron.common.records import processes
from kuber_cron.common.records.job_summary import JobSummary
from kuber_cron.common.redis_store.scripts import Store
from kuber_cron.scheduler.status import job_summaries
from kuber_cron.scheduler.status.job_summaries import JobSummaries
from kuber_cron.scheduler.status.publisher import StatusPublisher

CARDS = KEYS.job_summaries


def cards(client):
    return {
        name.decode(): JobSummary.from_text(text.decode()) for name, text in client.hgetall(CARDS).items()
    }


def entries(client):
    found = client.hgetall(KEYS.schedulers).values()
    return {
        entry.holder: entry for entry in (processes.SchedulerInfo.from_text(text.decode()) for text in found)
    }


def lay_all(made, leader):
    while not made.publish_some(leader.term, leader.catalog):
        pass


def test_each_job_has_a_card_that_says_what_people_ask(make_leader, redis_client):
    leader = make_leader(
        job("extract", "H 2 * * *", queue="night", jitter=60.0, group="db:2", deadline=90.0),
        job("report", "@after", after=["extract"], timezone="Europe/Berlin", priority="low"),
    )
    lay_all(JobSummaries(Store(redis_client, KEYS)), leader)
    found = cards(redis_client)
    assert found["extract"].queue == "night"
    assert found["extract"].delay == leader.catalog.entries["extract"].delay.total_seconds() > 0
    assert (found["extract"].group, found["extract"].deadline) == ("db:2", 90.0)
    assert found["report"].schedule == "@after"
    assert (found["report"].timed_by, found["report"].after) == ("extract", ("extract",))
    assert found["report"].delay == found["extract"].delay  # due no earlier than its predecessor
    assert found["report"].queue == "default-low"
    assert b"true" not in b"".join(redis_client.hvals(CARDS)), "a card holds no command"


def test_a_job_that_left_the_files_keeps_its_card_until_its_cursor_is_dropped(make_leader, redis_client):
    leader = make_leader(job("stays"), job("goes"))
    leader.decide(minute(1))
    made = JobSummaries(Store(redis_client, KEYS))
    lay_all(made, leader)
    leader.edit(job("stays"))
    lay_all(made, leader)
    assert cards(redis_client).keys() == {"stays", "goes"}
    leader.edit(job("stays"), settled_seconds=999.0)
    leader.decide(minute(2))
    for _ in range(job_summaries._AGAIN_ROUNDS + 2):
        made.publish_some(leader.term, leader.catalog)
    assert cards(redis_client).keys() == {"stays"}


def test_ten_thousand_cards_come_in_slices_and_an_edit_lays_them_anew(make_leader, redis_client, monkeypatch):
    monkeypatch.setattr(job_summaries, "_SLICE", 2)
    leader = make_leader(*(job(f"job-{number}") for number in range(5)))
    made = JobSummaries(Store(redis_client, KEYS))
    laid = []
    while not made.publish_some(leader.term, leader.catalog):
        laid.append(redis_client.hlen(CARDS))
    assert laid == [2, 4, 5]
    leader.edit(*(job(f"job-{number}", description="edited") for number in range(5)))
    lay_all(made, leader)
    assert {card.description for card in cards(redis_client).values()} == {"edited"}


def test_an_edit_lays_the_cards_of_what_it_changed_and_of_what_was_still_to_be_laid(
    make_leader, redis_client, monkeypatch
):
    monkeypatch.setattr(job_summaries, "_SLICE", 2)
    jobs = [job(f"job-{number}") for number in range(6)]
    leader = make_leader(*jobs)
    made, sent = JobSummaries(Store(redis_client, KEYS)), []
    send = made._send
    monkeypatch.setattr(
        made,
        "_send",
        lambda term, told, gone: sent.extend(name for name, _ in told) or send(term, told, gone),
    )
    lay_all(made, leader)
    sent.clear()
    jobs[4] = job("job-4", description="edited")
    leader.edit(*jobs)
    lay_all(made, leader)
    assert sent == ["job-4"]
    sent.clear()
    jobs[:4] = [job(f"job-{number}", description="edited") for number in range(4)]
    leader.edit(*jobs)
    made.publish_some(leader.term, leader.catalog)
    leader.edit(*jobs[:5])
    lay_all(made, leader)
    assert sorted(sent) == ["job-0", "job-1", "job-2", "job-3"]
    assert {card.description for name, card in cards(redis_client).items() if name != "job-5"} == {"edited"}
    sent.clear()
    leader.lead(9)
    lay_all(made, leader)
    assert len(sent) == 5


def test_a_leader_that_was_fenced_lays_no_card(make_leader, redis_client):
    leader = make_leader(job())
    redis_client.hincrby(KEYS.fence, "epoch", 1)
    with pytest.raises(FencedError):
        JobSummaries(Store(redis_client, KEYS)).publish_some(leader.term, leader.catalog)
    assert cards(redis_client) == {}


@pytest.fixture
def publisher(redis_client):
    clock = SteppedClock(datetime(2026, 3, 1, tzinfo=UTC))

    def make(holder):
        made = StatusPublisher(
            Store(redis_client, KEYS), holder, clock=clock, server_now=clock.now, elected_by="a test"
        )
        made.clock = clock
        return made

    return make


def test_leader_and_standby_tell_of_themselves_and_leave(make_leader, redis_client, publisher):
    leader = make_leader(job())
    one, two = publisher("one"), publisher("two")
    one.note_lateness(one.clock.now(), 0.25)
    one.publish(leader.term, leader.catalog)
    two.publish(None, leader.catalog)
    found = entries(redis_client)
    assert (found["one"].epoch, found["two"].epoch) == (1, None)
    assert (found["one"].late_seconds, found["two"].late_seconds) == (0.25, None)
    assert (found["one"].jobs, found["one"].elected_by) == (1, "a test")
    one.withdraw()
    assert entries(redis_client).keys() == {"two"}


def test_a_change_is_told_at_once_and_the_rest_every_few_seconds(make_leader, redis_client, publisher):
    leader = make_leader(job())
    made = publisher("one")
    made.publish(None, leader.catalog)
    made.clock.at += timedelta(seconds=1)
    made.publish(None, leader.catalog)
    assert entries(redis_client)["one"].seen_at == datetime(2026, 3, 1, tzinfo=UTC)
    made.publish(leader.term, leader.catalog)
    assert entries(redis_client)["one"].epoch == 1
    made.clock.at += timedelta(seconds=6)
    made.publish(leader.term, leader.catalog)
    assert entries(redis_client)["one"].seen_at == made.clock.at


def test_a_killed_replica_is_off_the_list_an_hour_later(make_leader, redis_client, publisher):
    leader = make_leader(job())
    publisher("killed").publish(None, leader.catalog)
    redis_client.hset(KEYS.schedulers, "strange", "no entry")
    other = publisher("other")
    other.clock.at += timedelta(minutes=59)
    other.publish(None, leader.catalog)
    assert entries(redis_client).keys() == {"killed", "other"}
    other.clock.at += timedelta(minutes=2)
    other.publish(None, leader.catalog)
    assert entries(redis_client).keys() == {"other"}


def test_what_redis_refuses_to_take_is_said_once_and_holds_up_nothing(make_leader, redis_client, publisher):
    leader = make_leader(job())
    redis_client.set(CARDS, "not ours")
    redis_client.set(KEYS.schedulers, "not ours")
    made = publisher("one")
    with capture_logs() as said:
        for _ in range(3):
            made.clock.at += timedelta(seconds=9)
            made.publish(leader.term, leader.catalog)
            made.publish_job_summaries(leader.term, leader.catalog)
    assert [line["what"] for line in said] == ["scheduler entry", "job summaries"]

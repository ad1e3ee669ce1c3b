"""Liveness and readiness, as interface.md writes them."""

from hypothesis import given
from hypothesis import strategies as st

from kuber_cron.common.observability.health import Health


def test_the_document_of_the_interface():
    health = Health("scheduler", leader=lambda: True, epoch=lambda: 7)
    for name in ("redis", "lease", "config"):
        health.add(name, lambda: "ok")
    assert health.ready().to_dict() == {
        "status": "ok",
        "tier": "scheduler",
        "leader": True,
        "epoch": 7,
        "checks": {"redis": "ok", "lease": "ok", "config": "ok"},
    }


def test_a_worker_has_neither_leader_nor_epoch():
    report = Health("worker").ready().to_dict()
    assert (report["leader"], report["epoch"]) == (None, None)


def test_redis_away_is_not_ready_and_no_reason_to_restart():
    health = Health("worker")
    health.add("redis", lambda: "Redis has not answered for 20 s")
    health.add("loop", lambda: "ok", live=True)
    assert not health.ready().healthy
    assert health.ready().to_dict()["status"] == "failing"
    assert health.live().healthy
    assert set(health.live().checks) == {"loop"}


def test_a_check_that_raises_is_failing_and_says_so():
    health = Health("worker")

    def check():
        raise KeyError("x")

    health.add("broken", check)
    assert "KeyError" in health.ready().checks["broken"]
    assert not health.ready().healthy


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.sampled_from(["ok", "no"]), st.booleans())))
def test_whoever_is_ready_is_alive(checks):
    health = Health("run")
    for name, (answer, live) in checks.items():
        health.add(name, lambda answer=answer: answer, live=live)
    assert health.live().healthy or not health.ready().healthy
    assert health.ready().healthy == all(answer == "ok" for answer, _ in checks.values())

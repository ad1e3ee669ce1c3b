import pytest

from kuber_cron.common.config import environment


def test_a_value_is_stripped_and_an_empty_or_missing_one_is_empty():
    variables = {"KUBER_CRON_REDIS_URL": " redis://here ", "KUBER_CRON_LOG_DIR": "  "}
    assert [environment.read(variables, field) for field in ("redis_url", "log_dir", "instance")] == [
        "redis://here",
        "",
        "",
    ]


def test_what_kubernetes_makes_of_a_service_is_no_value():
    link = {"KUBER_CRON_METRICS_PORT": "tcp://10.0.0.1:8000"}
    assert environment.read(link, "metrics_port") == ""
    assert environment.read({"KUBER_CRON_METRICS_PORT": "8000"}, "metrics_port") == "8000"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("kuber-cron", True), ("a", True), ("rq", False), ("Team A", False), ("-a", False), ("a" * 64, False)],
)
def test_an_instance_has_the_name_of_a_host_and_is_not_rq(name, is_one):
    assert environment.is_instance(name) is is_one
    assert environment.is_instance(f"{name}\n") is False

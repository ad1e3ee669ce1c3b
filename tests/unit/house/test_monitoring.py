"""Rules, dashboards, runbooks and their documentation name what there is, and nothing else."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
import yaml
from tests.support.monitoring_queries import DASHBOARDS, panels, shown
from tests.support.workers import job

from kuber_cron.cli.app import COMMANDS
from kuber_cron.common.clock import SystemClock
from kuber_cron.common.notifications.sender import NotificationSender
from kuber_cron.common.observability.job_metrics import JobMetrics
from kuber_cron.common.observability.process_metrics import make_registry
from kuber_cron.scheduler.decisions.catalog import Catalog, compile_entries
from kuber_cron.scheduler.election.metrics import LeaseMetrics
from kuber_cron.scheduler.maintenance.redis_observer import LastRun, QueueState, RedisObservation
from kuber_cron.scheduler.metrics import SchedulerMetrics
from kuber_cron.worker.metrics import WorkerMetrics

ROOT = Path(__file__).parents[3]
COMPONENT = ROOT / "k8s" / "components" / "monitoring"
COMPOSE = ROOT / "examples" / "compose" / "monitoring"
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = {
    path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("*.md") if path.stem != "README"
}
DOCS = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
GROUPS = yaml.safe_load((COMPONENT / "rules.yaml").read_text(encoding="utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
NAMES = {rule["alert"] for rule in ALERTS}
RECORDS = {rule["record"] for rule in RULES if "record" in rule}
SHOWN = shown(namespace="compose", cron_instance="kuber-cron", job="health-check")
# What a scrape adds to each series (docs/monitoring.md), and what Prometheus says of a target by itself.
TARGET = {"namespace", "cron_instance", "tier", "pod", "instance"}
# What a recorded series may have besides, by the level in its name.
OF_A_RECORD = {
    "cron_instance": {"reason"},
    "cron_queue": {"queue"},
    "cron_job": {"job", "queue", "team", "outcome", "reason"},
}
BY_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "False positives"]
SEVERITIES = ("critical", "warning", "info")


def each_alert():
    return pytest.mark.parametrize(
        "alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}"
    )


# --- what the code exports -----------------------------------------------------------------------------


@cache
def exported() -> dict[str, set[str]]:
    """Each sample's labels by its name, of a leader and a worker that have done everything once."""
    registry = make_registry()
    measures = JobMetrics(registry)
    scheduler = SchedulerMetrics(registry, measures)
    lease = LeaseMetrics(registry)
    WorkerMetrics(registry, slots=4, alone=False)
    NotificationSender(None, clock=SystemClock(), registry=registry)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    scheduler.update(
        epoch=1,
        catalog=Catalog(compile_entries([replace(job("a"), team="web")]), 1, True, now, ()),
        next_runs={"a": 1.0},
        gaps={"a": 1.0},
        expected={"a": 1.0},
        observation=RedisObservation(
            epoch=1,
            jobs={"a": LastRun(1.0, 1.0)},
            queues={"default": QueueState(1, 1.0, 1)},
            missed={("a", "catchup"): 1},
            ended={("a", "success"): 1},
        ),
    )
    measures.expect_runs_of(["default"])
    measures.expect_starts_from(["default"])
    measures.attempt_started("a", recovered=True)
    measures.retry_queued("a")
    measures.attempt_ended("a", "failed", duration=1.0, max_rss_bytes=1)
    lease.renewed(0.1)
    lease.failed("timeout")
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def buckets_of(name: str) -> set[str]:
    registry = make_registry()
    measures = JobMetrics(registry)
    measures.expect_runs_of(["default"])
    return {
        sample.labels["le"]
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


# --- PromQL, as far as it is needed --------------------------------------------------------------------

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")


def selectors(expr: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each metric of an expression and its matchers, label and value."""
    rest = _GROUPING.sub(" ", expr)
    for name, inside in _SELECTOR.findall(rest):
        yield name, re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', inside)
    rest = _SELECTOR.sub(" ", _STRING.sub('""', rest))
    for name in _NAME.findall(rest):
        if name.startswith(("cron_", "process_")) or ":" in name or name == "up":
            yield name, []


def grouped_by(expr: str) -> Iterator[list[str]]:
    for _, inside in _GROUPING.findall(expr):
        yield [label.strip() for label in inside.split(",") if label.strip()]


def labels_of(metric: str) -> set[str] | None:
    """None where there is no such metric."""
    if metric in BY_PROMETHEUS:
        return TARGET | BY_PROMETHEUS[metric]
    if metric in RECORDS:
        return {"namespace", "cron_instance"} | OF_A_RECORD[metric.partition(":")[0]]
    return None if metric not in exported() else exported()[metric] | TARGET


def expressions() -> list[tuple[str, str]]:
    found = [(str(rule.get("alert") or rule["record"]), rule["expr"]) for rule in RULES]
    return found + [(f"{one.dashboard}: {one.panel}", one.expr) for one in SHOWN]


@pytest.mark.parametrize(("where", "expr"), expressions())
def test_every_metric_and_label_of_an_expression_is_one_that_the_code_exports(where, expr):
    found = list(selectors(expr))
    assert found, "an expression without a metric"
    for metric, matchers in found:
        known = labels_of(metric)
        assert known is not None, f"{where}: there is no metric {metric}"
        assert {label for label, _ in matchers} <= known, f"{where}: {metric} has no such label"
        for label, value in matchers:
            if label == "le":
                assert value in buckets_of(metric)
    everything = set().union(*exported().values()) | TARGET
    for labels in grouped_by(expr):
        assert set(labels) <= everything, where


def test_the_words_that_rules_select_by_are_those_of_the_documentation():
    told = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    told += (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`(\w+)`", told))
    for where, expr in expressions():
        for _, matchers in selectors(expr):
            for label, value in matchers:
                if label in {"reason", "outcome", "kind"}:
                    assert set(value.split("|")) <= known, (where, value)


# --- rules ---------------------------------------------------------------------------------------------


def test_every_aggregation_keeps_installations_apart():
    for rule in RULES:
        for labels in grouped_by(rule["expr"]):
            # on () is for "whatever there is", group_left for what is added.
            if labels and labels[0] not in {"queue", "team"}:
                assert labels[:2] == ["namespace", "cron_instance"], rule["expr"]


def test_a_recorded_series_is_used_or_documented():
    used = {metric for _, expr in expressions() for metric, _ in selectors(expr)}
    prefixes = re.findall(r"`(cron_\w+:\w+:\w+?)(?:\w*)`", DOCS)
    assert {
        name for name in RECORDS - used if not any(name.startswith(one[:-2]) for one in prefixes)
    } == set()


@each_alert()
def test_an_alert_says_how_bad_what_and_where_to_read_on(alert):
    assert alert["labels"]["severity"] in SEVERITIES
    said = alert["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    assert said["summary"].endswith(".")
    assert said["description"].rstrip().endswith(".")
    assert "first" in said["description"] or alert["alert"] in {
        "KuberCronDecidingStuck",  # one thing to do
        "KuberCronJobsWithoutMetrics",
    }
    assert "$labels.cron_instance" in said["summary"]
    if "group_left (queue, team)" in alert["expr"] or "cron_job_missed" in alert["expr"]:
        assert "$labels.job" in said["summary"]


def test_alerts_and_runbooks_are_the_same():
    assert set(PAGES) == NAMES


def test_each_alert_is_tried_firing_and_not_firing_after_it():
    fires: dict[tuple[str, str], list[str]] = {}
    silent: dict[str, int] = {}
    for path in (ROOT / "tests" / "e2e" / "rules").glob("*.yaml"):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for check in test.get("alert_rule_test", []):
                for expected in check["exp_alerts"]:
                    fires.setdefault((check["alertname"], expected["exp_labels"]["severity"]), []).append(
                        expected["exp_annotations"]["summary"]
                    )
                if not check["exp_alerts"]:
                    silent[check["alertname"]] = silent.get(check["alertname"], 0) + 1
    assert set(fires) == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}
    assert all(silent.get(name, 0) >= 2 for name in NAMES), "before and after"


def test_the_table_of_alerts_is_the_rules():
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| (\S+) \|", DOCS, re.MULTILINE)
    assert all(name == page for name, page, _, _ in rows)
    assert sorted((name, severity, after) for name, _, severity, after in rows) == sorted(
        (alert["alert"], alert["labels"]["severity"], alert.get("for", "\N{EN DASH}")) for alert in ALERTS
    )


def test_what_is_made_is_as_it_would_be_made_now():
    sys.path.insert(0, str(COMPONENT))
    try:
        spec = importlib.util.spec_from_file_location("kuber_cron_monitoring", COMPONENT / "generate.py")
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        wanted = made.files()
    finally:
        sys.path.remove(str(COMPONENT))
        for name in ("fleet", "job", "panels", "queries"):
            sys.modules.pop(name, None)
    stale = [path.name for path, content in wanted.items() if path.read_text(encoding="utf-8") != content]
    assert stale == [], "run python k8s/components/monitoring/generate.py"


def test_the_prometheus_rule_holds_the_rules():
    made = yaml.safe_load((COMPONENT / "prometheusrule.yaml").read_text(encoding="utf-8"))
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"]["groups"] == GROUPS


# --- runbooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_runbook_has_every_section_and_names_what_there_is(name):
    page = PAGES[name]
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == SECTIONS
    severities = {alert["labels"]["severity"] for alert in ALERTS if alert["alert"] == name}
    said = page.split("\n## ", 1)[0]
    assert {word for word in SEVERITIES if word in said} == severities
    for metric in re.findall(r"\bcron_[a-z0-9_]+(?::[a-z0-9_:]+)?", page):
        families = {sample.removesuffix("_count") for sample in exported()} | {"cron_instance"}
        assert labels_of(metric) is not None or metric in families, metric
    for target in re.findall(r"\]\(([^)#]+)", page):
        assert (RUNBOOKS / target).exists(), target


def test_the_commands_of_the_runbooks_are_commands_that_there_are():
    commands = {command.name for command in COMMANDS}
    for name, page in {**PAGES, "README": (RUNBOOKS / "README.md").read_text(encoding="utf-8")}.items():
        for word in re.findall(r"(?:^|`|-- )kuber-cron ([a-z]+)", page, re.MULTILINE):
            assert word in commands, (name, word)
        for line in re.findall(r"\brq info[^`\n]*", page):
            assert "--serializer json" in line or "…" in line, (name, line)


def test_the_settings_of_the_runbooks_are_settings():
    known = set(
        re.findall(r"`(KUBER_CRON_\w+)`", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"))
    )
    for name, page in {**PAGES, "monitoring": DOCS}.items():
        for word in re.findall(r"\bKUBER_CRON_\w+", page):
            assert word in known, (name, word)


def test_the_patch_for_who_scales_to_zero_hits_the_warning_and_nothing_else():
    test, remove = re.findall(r"path: /spec/groups/(\d+)/rules/(\d+)", PAGES["KuberCronNoWorkers"])
    assert test == remove
    rule = GROUPS[int(test[0])]["rules"][int(test[1])]
    assert (rule["alert"], rule["labels"]["severity"]) == ("KuberCronNoWorkers", "warning")


# --- dashboards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_load(path):
    board = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    assert board["schemaVersion"] >= 39
    assert [one["name"] for one in board["templating"]["list"]][:3] == [
        "datasource",
        "namespace",
        "cron_instance",
    ]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
    for panel in panels(board):
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert '$namespace", cron_instance="$cron_instance"' in target["expr"], panel["title"]


def test_every_variable_of_a_query_is_filled_in():
    assert len({one.dashboard for one in SHOWN}) == 2
    assert [one for one in SHOWN if "$" in one.expr] == []


# --- wiring --------------------------------------------------------------------------------------------


def test_the_pod_monitor_selects_both_tiers_by_the_port_that_they_name():
    monitor = yaml.safe_load((COMPONENT / "podmonitor.yaml").read_text(encoding="utf-8"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    assert {one["targetLabel"] for one in endpoint["relabelings"]} == {"namespace", "cron_instance", "tier"}
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (component,) = monitor["spec"]["selector"]["matchExpressions"]
    for tier in component["values"]:
        text = (ROOT / "k8s" / "base" / tier / "deployment.yaml").read_text(encoding="utf-8")
        pod = yaml.safe_load(text)["spec"]["template"]
        assert wanted <= pod["metadata"]["labels"].items()
        assert pod["metadata"]["labels"][component["key"]] == tier
        ports = [port["name"] for one in pod["spec"]["containers"] for port in one.get("ports", ())]
        assert endpoint["port"] in ports


def test_composes_prometheus_scrapes_both_tiers_with_their_own_labels():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    config = yaml.safe_load((COMPOSE / "prometheus.yml").read_text(encoding="utf-8"))
    tiers = {one["job_name"]: one for one in config["scrape_configs"]}
    for tier in ("scheduler", "worker"):
        scrape = tiers[f"kuber-cron-{tier}"]
        assert scrape["honor_labels"] is True
        assert scrape["dns_sd_configs"][0]["names"] == [tier]
        assert tier in services
        labels = {one["target_label"]: one["replacement"] for one in scrape["relabel_configs"]}
        assert labels == {"namespace": "compose", "cron_instance": "kuber-cron", "tier": tier}
    (alertmanager,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert alertmanager.partition(":")[0] in services
    assert config["rule_files"] == ["/etc/prometheus/rules/*.yaml"]
    mounts = [volume.split(":")[:2] for volume in services["prometheus"]["volumes"]]
    assert ["./k8s/components/monitoring/rules.yaml", "/etc/prometheus/rules/kuber-cron.yaml"] in mounts


def test_alertmanager_inhibits_alerts_that_there_are():
    text = (COMPOSE / "alertmanager.yml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    for rule in config["inhibit_rules"]:
        assert rule["equal"][:2] == ["namespace", "cron_instance"] or rule["equal"][0] == "alertname"
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            if (found := re.fullmatch(r'alertname =~? "KuberCron\(?([\w|]+)\)?"', matcher)) is not None:
                assert {f"KuberCron{word}" for word in found[1].split("|")} <= NAMES, matcher
    # Nobody is told until somebody says whom.
    assert all(set(receiver) == {"name"} for receiver in config["receivers"])


def test_grafana_finds_datasource_and_dashboards_where_compose_puts_them():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    mounts = dict(reversed(volume.split(":")[:2]) for volume in services["grafana"]["volumes"])
    assert mounts["/etc/grafana/provisioning"] == "./examples/compose/monitoring/grafana"
    provider = yaml.safe_load(
        (COMPOSE / "grafana" / "dashboards" / "kuber-cron.yml").read_text(encoding="utf-8")
    )
    (one,) = provider["providers"]
    assert mounts[one["options"]["path"]] == "./k8s/components/monitoring/dashboards"
    source = yaml.safe_load(
        (COMPOSE / "grafana" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )
    assert source["datasources"][0]["url"].split("/")[2].partition(":")[0] in services

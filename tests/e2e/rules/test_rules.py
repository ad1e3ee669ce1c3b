"""The rules, and Compose's configuration, as Prometheus' and Alertmanager's own tools see them.

`promtool` and `amtool` are taken from PATH, else from the images that Compose uses.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[3]
RULES = ROOT / "k8s" / "components" / "monitoring" / "rules.yaml"
CONFIGURATION = ROOT / "examples" / "compose" / "monitoring"
TESTS = sorted(Path(__file__).parent.glob("*.yaml"))


def check(tool: str, service: str, *words: str, mounts: Sequence[str] = ()) -> str:
    """What the tool says of files of the repository; its complaint where there is one."""
    command = [tool, *words]
    if mounts or shutil.which(tool) is None:
        if shutil.which("docker") is None:
            pytest.skip(f"{tool} is not on PATH and there is no docker: install one of them")
        image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][service]["image"]
        volumes = [f"{ROOT}:{ROOT}:ro", *mounts]
        command = [
            *("docker", "run", "--rm", "--network", "none", "--user", str(os.getuid())),
            *(word for volume in volumes for word in ("--volume", volume)),
            *("--workdir", str(ROOT), "--entrypoint", tool, image, *words),
        ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_rules_can_be_read():
    assert "SUCCESS" in check("promtool", "prometheus", "check", "rules", "--lint-fatal", str(RULES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_when_it_should_and_ends(path):
    check("promtool", "prometheus", "test", "rules", str(path))


def test_composes_prometheus_configuration_can_be_read_with_the_rules_in_their_place():
    mounted = f"{RULES}:/etc/prometheus/rules/kuber-cron.yaml:ro"
    path = CONFIGURATION / "prometheus.yml"
    said = check("promtool", "prometheus", "check", "config", str(path), mounts=[mounted])
    assert "1 rule files found" in said


def test_the_documented_scrape_configuration_can_be_read(tmp_path):
    documented = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", documented, re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(block)
    tmp_path.chmod(0o755)
    check(
        *("promtool", "prometheus", "check", "config", "--syntax-only", "/config/prometheus.yml"),
        mounts=[f"{tmp_path}:/config:ro"],
    )


def test_composes_alertmanager_configuration_can_be_read():
    check("amtool", "alertmanager", "check-config", str(CONFIGURATION / "alertmanager.yml"))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=KuberCronNoLeader severity=critical", "page"),
        ("alertname=KuberCronJobFailing severity=warning team=storage job=backup", "chat"),
        ("alertname=KuberCronJobOverlaps severity=info job=backup", "nobody"),
    ],
)
def test_an_alert_goes_where_its_severity_says(labels, receiver):
    path = CONFIGURATION / "alertmanager.yml"
    said = check(
        "amtool", "alertmanager", "config", "routes", "test", "--config.file", str(path), *labels.split()
    )
    assert said.strip() == receiver

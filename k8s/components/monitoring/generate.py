"""Writes prometheusrule.yaml from rules.yaml, and the dashboards: `python k8s/components/monitoring/generate.py`."""  # noqa: INP001 - a script, no package

import json
import textwrap
from pathlib import Path

from fleet import fleet
from job import job

FOLDER = Path(__file__).parent
PROMETHEUS_RULE = """\
# Made from rules.yaml by generate.py: edit that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: kuber-cron
  labels:
    app.kubernetes.io/name: kuber-cron
    app.kubernetes.io/instance: kuber-cron
    app.kubernetes.io/part-of: kuber-cron
spec:
"""


def files() -> dict[Path, str]:
    """Return the generated files of this folder by path."""
    made = {
        FOLDER / "dashboards" / f"{name}.json": json.dumps(made, indent=2) + "\n"
        for name, made in (("fleet", fleet()), ("job", job()))
    }
    rules = (FOLDER / "rules.yaml").read_text(encoding="utf-8")
    made[FOLDER / "prometheusrule.yaml"] = PROMETHEUS_RULE + textwrap.indent(
        rules[rules.index("groups:") :], "  "
    )
    return made


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")

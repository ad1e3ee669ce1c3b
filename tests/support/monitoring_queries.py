"""What the dashboards ask Prometheus, as a person would who has chosen these variables.

Of the files themselves, so that what is tried is what is shipped.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[2] / "k8s" / "components" / "monitoring" / "dashboards"


@dataclass(frozen=True, slots=True)
class Shown:
    """One query of one panel, with every variable in its place."""

    dashboard: str
    panel: str
    expr: str


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel that asks something, those of folded rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def shown(*, namespace: str, cron_instance: str, job: str) -> list[Shown]:
    """Every query of every panel of every dashboard."""
    values = {"namespace": namespace, "cron_instance": cron_instance, "job": job}
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        found += [
            Shown(dashboard["title"], panel["title"], _filled_in(target["expr"], values))
            for panel in panels(dashboard)
            for target in panel["targets"]
        ]
    return found


def _filled_in(expr: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expr)

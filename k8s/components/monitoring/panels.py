"""The parts that the dashboards are made of: variables, rows and panels of Grafana 11 and later."""  # noqa: INP001 - a script's part, no package

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Grafana 11's; later versions migrate it silently.
SCHEMA_VERSION = 39
WIDTH = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What every query selects by.
HERE = 'namespace="$namespace", cron_instance="$cron_instance"'
OK, BAD, IDLE = "green", "red", "blue"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One expression of a panel. ``legend`` is Grafana's format, ``{{queue}}``."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel; the dashboard finds its place.

    Attributes:
        kind: Grafana's name of the panel's type.
        description: What it shows and what to make of it.
        unit: Grafana's name of the unit.
        steps: Colours by value, the first for everything below the second.
        words: Words in place of values, with colours.
        instant: The newest value alone.
        more: What only this panel has, merged into it.
    """

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: Sequence[tuple[float | None, str]] = ((None, OK),)
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    instant: bool = False
    defaults: Json = field(default_factory=dict)
    more: Json = field(default_factory=dict)

    def to_json(self, number: int, x: int, y: int) -> Json:
        """Return the panel as Grafana stores it."""
        defaults: Json = {
            "unit": self.unit,
            "thresholds": {
                "mode": "absolute",
                "steps": [{"value": value, "color": colour} for value, colour in self.steps],
            },
            **self.defaults,
        }
        if self.words:
            options = {
                str(value): {"text": word, "color": colour, "index": place}
                for place, (value, (word, colour)) in enumerate(self.words.items())
            }
            defaults["mappings"] = [{"type": "value", "options": options}]
        panel: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": DATASOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend,
                    "instant": self.instant,
                    "range": not self.instant,
                    **({"format": "table"} if self.kind == "table" else {}),
                }
                for place, query in enumerate(self.queries)
            ],
        }
        for name, value in self.more.items():
            panel[name] = {**panel.get(name, {}), **value} if isinstance(value, dict) else value
        return panel


@dataclass(frozen=True, slots=True)
class Row:
    """A heading, and the panels below it from left to right."""

    title: str
    panels: Sequence[Panel]


def stat(title: str, description: str, expr: str, **more: Any) -> Panel:
    """Return a panel of one number now."""
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel(
        **{"width": 4, "height": 4, **more},
        kind="stat",
        title=title,
        description=description,
        queries=[Query(expr=expr)],
        instant=True,
        more={"options": options},
    )


def lines(title: str, description: str, *queries: Query, stacked: bool = False, **more: Any) -> Panel:
    """Return a panel of values over time."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 10,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        queries=queries,
        defaults={"custom": custom, "min": more.pop("least", 0)},
        more={"options": options},
        **more,
    )


def states(
    title: str, description: str, *queries: Query, words: Mapping[int, tuple[str, str]], **more: Any
) -> Panel:
    """Return a panel of words over time, a line for each series."""
    options = {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel(
        kind="state-timeline",
        title=title,
        description=description,
        queries=queries,
        words=words,
        defaults={"custom": {"fillOpacity": 80, "lineWidth": 0}},
        more={"options": options},
        **more,
    )


def variable(name: str, label: str, query: str) -> Json:
    """Return a variable that is chosen from a label's values."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,  # whenever the time changes: jobs come and go
        "sort": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "options": [],
        "current": {},
    }


def dashboard(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Iterable[Json],
    links: Iterable[Json],
    rows: Iterable[Row],
) -> Json:
    """Return the whole, its panels laid out from left to right and row by row."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.to_json(len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "options": [],
        "current": {},
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["kuber-cron"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [source, *variables]},
        "annotations": {
            "list": [
                {
                    "name": "Changes of the leader",
                    "datasource": DATASOURCE,
                    "enable": True,
                    "hide": False,
                    "iconColor": "purple",
                    "expr": f"changes(cron_instance:cron_leader_epoch:max{{{HERE}}}[1m]) > 0",
                    "titleFormat": "The leader changed",
                }
            ]
        },
        "links": list(links),
        "panels": panels,
    }

"""Which metrics the alert rules, the dashboard and the document speak of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "dashboards" / "quorate.json"
DOCUMENT: Final = ROOT / "docs" / "METRICS.md"
RUNBOOKS: Final = ROOT / "docs" / "RUNBOOKS.md"

# Not what a rule has recorded: there, a colon stands before or behind.
_METRIC: Final = re.compile(r"(?<![:\w])(?:quorate_(?:node|router)|process)_\w+(?!\w|:)")


def in_text(text: str) -> set[str]:
    """Return the names of metrics in a text."""
    return set(_METRIC.findall(text))


def in_rules() -> set[str]:
    """Return the metrics that rules depend on."""
    return in_text("\n".join(rule_expressions()))


def alerts() -> list[str]:
    """Return the names of all alerts."""
    return [rule["alert"] for rule in rules() if "alert" in rule]


def rules() -> list[dict[str, Any]]:
    """Return all rules, alerts and recorded ones."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> list[str]:
    """Return the names of what is recorded."""
    return [rule["record"] for rule in rules() if "record" in rule]


def rule_expressions() -> list[str]:
    """Return what the rules ask."""
    return [rule["expr"] for rule in rules()]


def dashboard() -> dict[str, Any]:
    """Return the dashboard's document."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (panel's title, expression) of the dashboard."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def marks() -> Iterator[tuple[str, str]]:
    """Yield (name, expression) of what the dashboard marks in all panels."""
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def in_dashboard() -> set[str]:
    """Return the metrics that panels and annotations show."""
    asked = (*expressions(), *marks())
    return {name for _, expression in asked for name in in_text(expression)}


def in_document() -> set[str]:
    """Return the metrics that have a row in docs/METRICS.md."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `quorate_")]
    return {name for row in rows for name in in_text(row.split("|")[1])}

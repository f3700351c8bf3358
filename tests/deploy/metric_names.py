"""Which metrics the alert rules, the dashboard and the document speak of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "dashboards" / "quorate.json"
DOCUMENT: Final = ROOT / "docs" / "METRICS.md"
RUNBOOKS: Final = ROOT / "docs" / "RUNBOOKS.md"

_METRIC: Final = re.compile(r"\b(?:quorate_(?:node|router)|process)_\w+")


def in_text(text: str) -> set[str]:
    """Return the names of metrics in a text."""
    return set(_METRIC.findall(text))


def in_rules() -> set[str]:
    """Return the metrics that alerts depend on."""
    return in_text(RULES.read_text())


def alerts() -> list[str]:
    """Return the names of all alerts."""
    return re.findall(r"^ *- alert: (\w+)$", RULES.read_text(), re.MULTILINE)


def dashboard() -> dict[str, Any]:
    """Return the dashboard's document."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (panel's title, expression) of the dashboard."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def in_dashboard() -> set[str]:
    """Return the metrics that panels show."""
    return {name for _, expression in expressions() for name in in_text(expression)}


def in_document() -> set[str]:
    """Return the metrics that have a row in docs/METRICS.md."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `quorate_")]
    return {name for row in rows for name in in_text(row.split("|")[1])}

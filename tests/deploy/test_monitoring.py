"""Alert rules, runbooks and the dashboard, as far as they can be checked without a cluster.

That the metrics they name exist is shown by `tests/processes/test_metrics.py`.
"""

from __future__ import annotations

import re

from tests.deploy.metric_names import (
    ROOT,
    RULES,
    RUNBOOKS,
    alerts,
    dashboard,
    expressions,
    in_dashboard,
    in_document,
    in_rules,
    in_text,
)
from tests.prometheus_programs import program, run

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULE_STORIES = ROOT / "tests" / "deploy" / "rules_test.yaml"


def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    run(program("promtool"), "check", "config", PROMETHEUS / "prometheus.yaml")
    run(program("promtool"), "check", "rules", "--lint-fatal", RULES)


def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    run(program("promtool"), "test", "rules", RULE_STORIES)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    links = re.findall(r"runbook: docs/RUNBOOKS\.md#(\w+)$", RULES.read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(alerts())
    assert links == [name.lower() for name in alerts()]
    assert len(set(alerts())) == len(alerts())


def test_every_alert_says_how_urgent_it_is() -> None:
    severities = re.findall(r"severity: (\w+)", RULES.read_text())

    assert len(severities) == len(alerts())
    assert set(severities) == {"critical", "warning"}


def test_runbooks_speak_of_metrics_that_are_documented() -> None:
    assert in_text(RUNBOOKS.read_text()) <= in_document()


def test_rules_and_dashboard_show_what_is_documented_and_of_processes_what_is_usual() -> None:
    """A histogram is one row, and three names in an expression."""
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in in_rules() | in_dashboard()}

    assert {name for name in used if name.startswith("quorate_")} <= in_document()


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)
    assert all(expression.strip() for _, expression in expressions())


def test_panels_ask_the_data_source_that_is_provisioned() -> None:
    sources = {
        target["datasource"]["uid"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }
    provisioned = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"

    assert sources == set(re.findall(r"uid: (\w+)", provisioned.read_text()))

"""Alert rules, runbooks and the dashboard, as far as they can be checked without a cluster.

That the metrics they name exist is shown by `tests/processes/test_metrics.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

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
    recorded,
    rule_expressions,
)
from tests.prometheus_programs import program, run

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULE_STORIES = sorted((ROOT / "tests" / "deploy").glob("rules*_test.yaml"))


def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    run(program("promtool"), "check", "config", PROMETHEUS / "prometheus.yaml")
    run(program("promtool"), "check", "rules", "--lint-fatal", RULES)


@pytest.mark.parametrize("stories", RULE_STORIES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(stories: Path) -> None:
    run(program("promtool"), "test", "rules", stories)


def test_every_alert_fires_in_a_story_and_keeps_silent_in_one() -> None:
    checks = [
        check
        for path in RULE_STORIES
        for story in yaml.safe_load(path.read_text())["tests"]
        for check in story.get("alert_rule_test", ())
    ]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    silent = {check["alertname"] for check in checks if not check["exp_alerts"]}

    assert sorted(fires) == sorted(alerts())
    assert sorted(silent) == sorted(alerts())


def test_whatever_is_aggregated_is_so_within_a_cluster() -> None:
    """Reason: a group without a leader must not be hidden by the same group of another cluster."""
    asked = [*rule_expressions(), *(expression for _, expression in expressions())]
    for expression in asked:
        for clause in re.findall(r"\bby \(([^)]*)\)", expression):
            labels = set(clause.split(", "))
            assert "cluster" in labels or labels == {"job", "instance"}, expression


def test_every_recorded_rule_is_used() -> None:
    text = "\n".join([*rule_expressions(), *(expression for _, expression in expressions())])

    assert [name for name in recorded() if name not in text] == []


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    links = re.findall(r"runbook_url: docs/RUNBOOKS\.md#(\w+)$", RULES.read_text(), re.MULTILINE)

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


def test_panels_show_one_cluster_and_use_the_variables_that_there_are() -> None:
    variables = [variable["name"] for variable in dashboard()["templating"]["list"]]
    used = set()
    for title, expression in expressions():
        assert 'cluster="$cluster"' in expression, title
        used |= set(re.findall(r"\$(\w+)", expression))

    assert variables == ["cluster", "az", "node", "table"]
    assert used == {*variables, "__rate_interval"}


def test_panels_ask_the_data_source_that_is_provisioned() -> None:
    sources = {
        target["datasource"]["uid"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }
    provisioned = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"

    assert sources == set(re.findall(r"uid: (\w+)", provisioned.read_text()))

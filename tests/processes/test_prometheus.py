"""A real Prometheus with our rules and our dashboard's questions, beside a cluster that runs."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate.local.background import BackgroundCluster, free_ports, wait_until
from quorate.local.topology import HOST
from tests.deploy.metric_names import RULES, alerts, expressions, marks, recorded
from tests.processes.metrics_page import write
from tests.prometheus_programs import program

SCRAPE = "500ms"
VARIABLES = {"$__rate_interval": "3s", "$az": ".*", "$node": ".*", "$table": ".*"}
"""What Grafana would put in their place: some scrapes, and all."""

OUTAGE = "cluster:quorate_outage:known"
"""What is recorded while there is one."""

EMPTY_WHEN_ALL_IS_WELL = {"Errors", "Throttled", "Snapshot progress"}


def configuration(cluster: BackgroundCluster) -> dict[str, Any]:
    """Return what is in deploy, with this cluster's addresses and short intervals."""
    document: dict[str, Any] = yaml.safe_load((RULES.parent / "prometheus.yaml").read_text())
    document["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
    document["rule_files"] = [str(RULES.parent / name) for name in document["rule_files"]]
    processes = cluster.processes().values()
    for job in document["scrape_configs"]:
        addresses = [
            f"{HOST}:{process.ports['admin']}"
            for process in processes
            if job["job_name"] == f"quorate-{process.kind}s"
        ]
        job["static_configs"] = [{"targets": addresses}]
    return document


class Prometheus:
    """One that runs; asked over its API."""

    def __init__(self, port: int, cluster: str) -> None:
        self._url = f"http://{HOST}:{port}"
        self._variables = {**VARIABLES, "$cluster": cluster}

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def ask(self, expression: str) -> list[Any]:
        """Return the samples that an expression has now."""
        for variable, value in self._variables.items():
            expression = expression.replace(variable, value)
        found: list[Any] = self.get("/api/v1/query", query=expression)["result"]
        return found

    def raised(self, severity: str = "") -> set[str]:
        """Return the names of the alerts that fire, or will if it goes on."""
        return {
            alert["labels"]["alertname"]
            for alert in self.get("/api/v1/alerts")["alerts"]
            if severity in ("", alert["labels"]["severity"])
        }

    def is_up(self, count: int) -> bool:
        """Whether it answers and has scraped so many processes."""
        try:
            return len(self.ask("up == 1")) == count
        except OSError:
            return False


@pytest.fixture
def prometheus(cluster: BackgroundCluster, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that has seen all processes of the cluster."""
    written = tmp_path / "prometheus.yaml"
    written.write_text(yaml.safe_dump(configuration(cluster)))
    (port,) = free_ports(1)
    command = (
        program("prometheus"),
        f"--config.file={written}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=error",
    )
    process = subprocess.Popen(command)
    try:
        running = Prometheus(port, str(cluster.status()["cluster_id"]))
        processes = len(cluster.processes())
        wait_until(
            lambda: running.is_up(processes),
            what="all processes are scraped",
            timeout_seconds=30,
        )
        yield running
    finally:
        process.kill()
        process.wait()


def test_every_panel_shows_something_and_no_alert_is_raised(
    cluster: BackgroundCluster, prometheus: Prometheus
) -> None:
    asked = [pair for pair in expressions() if pair[0] not in EMPTY_WHEN_ALL_IS_WELL]
    assert len({title for title, _ in expressions()} & EMPTY_WHEN_ALL_IS_WELL) == 3

    def without_data() -> list[tuple[str, str]]:
        write(cluster, 20)
        return [(title, asks) for title, asks in asked if not prometheus.ask(asks)]

    wait_until(
        lambda: not without_data(), what="every panel has something to show", timeout_seconds=30
    )
    assert prometheus.ask(dict(marks())["Restarts"])
    # A busy machine may let scrapes fail, as an outage does, until they are tried again.
    wait_until(
        lambda: [name for name in recorded() if not prometheus.ask(name)] == [OUTAGE],
        what="all rules but the outage's record something",
        timeout_seconds=30,
    )
    for title, asks in expressions():
        if title in EMPTY_WHEN_ALL_IS_WELL:
            prometheus.ask(asks)  # is understood
    # Two nodes are not scraped at one moment: a leadership on its way may be seen at neither.
    wait_until(lambda: not prometheus.raised(), what="no alert is raised", timeout_seconds=30)


def test_the_cluster_that_is_gone_raises_one_critical_alert(
    cluster: BackgroundCluster, prometheus: Prometheus
) -> None:
    """An outage pages, and once: of what follows from it nothing is critical."""
    for name in ("a1", "b1", "c1", "r1"):
        cluster.kill(name)

    wait_until(
        lambda: prometheus.raised("critical") == {"QuorateMajorityDown"},
        what="one alert is raised",
        timeout_seconds=30,
    )


def test_a_dead_node_raises_alerts_and_its_return_ends_them(
    cluster: BackgroundCluster, prometheus: Prometheus
) -> None:
    expected = {"QuorateNodeDown", "QuorateQuorumAtRisk", "QuoratePeerStreamDown"}
    assert expected <= set(alerts())

    cluster.kill("b1")
    wait_until(
        lambda: expected <= prometheus.raised(), what="alerts are raised", timeout_seconds=30
    )
    assert prometheus.ask(dict(marks())["Elections"]), "of the groups that it has led"

    cluster.restart("b1")
    wait_until(
        lambda: not expected & prometheus.raised(), what="alerts have ended", timeout_seconds=60
    )

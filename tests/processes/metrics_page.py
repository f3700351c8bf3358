"""What processes show to Prometheus."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from quorate.local import admin_http
from quorate.local.background import BackgroundCluster
from quorate.local.topology import HOST
from tests.processes.conftest import TABLE, dynamodb


def page(cluster: BackgroundCluster, name: str, path: str) -> tuple[int, str]:
    """Return (status, text) of a process's admin page."""
    port = cluster.processes()[name].ports["admin"]
    status, body = admin_http.get(f"{HOST}:{port}", path)
    return status, body.decode()


def scrape(cluster: BackgroundCluster, name: str) -> dict[str, Metric]:
    """Return what a process shows, by family, without the labels that all its samples have."""
    status, text = page(cluster, name, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for family in families.values():
        for sample in family.samples:
            assert sample.labels.pop("name") == name
            assert sample.labels.pop("cluster")
            assert sample.labels.pop("az")
    return families


def value(cluster: BackgroundCluster, name: str, metric: str, **labels: str) -> float:
    """Return one sample of a process."""
    samples = [
        sample.value
        for family in scrape(cluster, name).values()
        for sample in family.samples
        if sample.name == metric and sample.labels == labels
    ]
    (found,) = samples
    return found


def write(cluster: BackgroundCluster, count: int) -> None:
    """Put so many items, so that there is something to show."""
    client = dynamodb(cluster.http_url)
    try:
        for number in range(count):
            item = {"group": {"S": f"metrics-{number}"}, "id": {"S": "x"}}
            client.put_item(TableName=TABLE, Item=item)
    finally:
        client.close()

"""What a router tells Prometheus, and what that is bounded by."""

from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from model.tables import load_table
from quorate.buckets import Buckets
from router.admission import tables
from router.admission.report import CapacityCollector
from router.admission.tables import OTHER_TABLES, TableAdmission
from tests.admission.test_tables import definition
from tests.router.world import World, tell


def test_buckets_count_as_prometheus_does() -> None:
    """An upper bound is inclusive; buckets are cumulative."""
    buckets = Buckets((1, 5))
    for value, count in ((0.5, 2), (1, 1), (5, 1), (9, 3)):
        buckets.observe(value, count)

    assert buckets.read() == ([("1.0", 3.0), ("5.0", 4.0), ("+Inf", 7.0)], 34.0)
    assert buckets.count == 7


def test_a_write_shows_in_each_stage_and_a_refused_one_in_none() -> None:
    async def story(world: World) -> None:
        assert (await world.put("a"))[0] == 200
        assert (await world.http("PutItem", {"TableName": "Music", "Item": {}}))[0] == 400
        (text,) = await asyncio.gather(world.router._scrape())
        families = {one.name: one for one in text_string_to_metric_families(text.decode())}
        stages = {
            sample.labels["stage"]: sample.value
            for sample in families["quorate_router_request_stage_duration_seconds"].samples
            if sample.name.endswith("_count") and sample.labels["operation"] == "PutItem"
        }
        calls = {
            sample.labels["code"]: sample.value
            for sample in families["quorate_router_requests"].samples
            if sample.labels["operation"] == "PutItem"
        }
        (whole,) = (
            sample.value
            for sample in families["quorate_router_request_duration_seconds"].samples
            if sample.name.endswith("_sum") and sample.labels["operation"] == "PutItem"
        )
        parts = sum(
            sample.value
            for sample in families["quorate_router_request_stage_duration_seconds"].samples
            if sample.name.endswith("_sum") and sample.labels["operation"] == "PutItem"
        )

        assert stages == {"decode": 1, "admission": 1, "dispatch": 1}
        assert calls == {"OK": 1, "ValidationException": 1}
        assert 0 < parts <= whole  # the refused one is in the whole only

    tell(story)


def test_more_tables_than_are_told_apart_are_counted_together() -> None:
    """Reason: a label for each of ten thousand tables would be a dozen series for each."""
    count = tables.TABLES_COUNTED_MAX + 25
    admission = TableAdmission(lambda: 0.0)
    for number in range(1, count + 1):
        one = load_table(number, f"table-{number}", definition(None), 0)
        admission.admit(one, 1.0, reads=False)
        admission.settle(one, "PutItem", 2.0, 0.0, reads=False)

    (requests,) = (
        family
        for family in CapacityCollector(admission).collect()
        if family.name == "quorate_router_table_requests"
    )
    by_table = {sample.labels["table"]: sample.value for sample in requests.samples}

    assert len(by_table) == tables.TABLES_COUNTED_MAX + 1
    assert by_table[OTHER_TABLES] == 25
    assert sum(by_table.values()) == count

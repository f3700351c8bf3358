"""The operations that answer in pages: query and scan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from quorate.client.answers import Item, Page
from quorate.client.caller import Caller


class PageOperations(Caller):
    """Query and scan, by page or item by item."""

    async def query(
        self,
        table_name: str,
        *,
        key_condition_expression: str,
        expression_attribute_values: Mapping[str, object],
        expression_attribute_names: Mapping[str, str] | None = None,
        filter_expression: str | None = None,
        projection_expression: str | None = None,
        select: str | None = None,
        limit: int | None = None,
        consistent_read: bool = False,
        scan_index_forward: bool = True,
        exclusive_start_key: Mapping[str, object] | None = None,
        return_consumed_capacity: str | None = None,
        deadline_seconds: float | None = None,
    ) -> Page:
        """Return one page of the items of one partition key, in sort-key order.

        A page ends at `limit` items looked at, or at 1 MB. `query_items` goes on by itself.
        """
        body: dict[str, Any] = {
            "TableName": table_name,
            "KeyConditionExpression": key_condition_expression,
        }
        if not scan_index_forward:
            body["ScanIndexForward"] = False
        self.add_names_and_values(body, expression_attribute_names, expression_attribute_values)
        self._add_page_options(
            body,
            filter_expression=filter_expression,
            projection_expression=projection_expression,
            select=select,
            limit=limit,
            consistent_read=consistent_read,
            exclusive_start_key=exclusive_start_key,
            return_consumed_capacity=return_consumed_capacity,
        )
        return self._page(await self.call("Query", body, deadline_seconds))

    async def query_items(
        self,
        table_name: str,
        *,
        key_condition_expression: str,
        expression_attribute_values: Mapping[str, object],
        expression_attribute_names: Mapping[str, str] | None = None,
        filter_expression: str | None = None,
        projection_expression: str | None = None,
        page_limit: int | None = None,
        consistent_read: bool = False,
        scan_index_forward: bool = True,
    ) -> AsyncIterator[Item]:
        """Yield all items of a query, page after page; `page_limit` is each page's `limit`."""
        start: Item | None = None
        while True:
            page = await self.query(
                table_name,
                key_condition_expression=key_condition_expression,
                expression_attribute_values=expression_attribute_values,
                expression_attribute_names=expression_attribute_names,
                filter_expression=filter_expression,
                projection_expression=projection_expression,
                limit=page_limit,
                consistent_read=consistent_read,
                scan_index_forward=scan_index_forward,
                exclusive_start_key=start,
            )
            for item in page.items:
                yield item
            start = page.last_evaluated_key
            if start is None:
                return

    async def scan(
        self,
        table_name: str,
        *,
        filter_expression: str | None = None,
        projection_expression: str | None = None,
        expression_attribute_names: Mapping[str, str] | None = None,
        expression_attribute_values: Mapping[str, object] | None = None,
        select: str | None = None,
        limit: int | None = None,
        consistent_read: bool = False,
        segment: int | None = None,
        total_segments: int | None = None,
        exclusive_start_key: Mapping[str, object] | None = None,
        return_consumed_capacity: str | None = None,
        deadline_seconds: float | None = None,
    ) -> Page:
        """Return one page of a table's items, in no order that means anything.

        With `segment` of `total_segments` only a part of the table, so that several scans can
        share the work. A page ends at `limit` items looked at, or at 1 MB. `scan_items` goes on
        by itself.
        """
        body: dict[str, Any] = {"TableName": table_name}
        if segment is not None:
            body["Segment"] = segment
        if total_segments is not None:
            body["TotalSegments"] = total_segments
        self.add_names_and_values(body, expression_attribute_names, expression_attribute_values)
        self._add_page_options(
            body,
            filter_expression=filter_expression,
            projection_expression=projection_expression,
            select=select,
            limit=limit,
            consistent_read=consistent_read,
            exclusive_start_key=exclusive_start_key,
            return_consumed_capacity=return_consumed_capacity,
        )
        return self._page(await self.call("Scan", body, deadline_seconds))

    async def scan_items(
        self,
        table_name: str,
        *,
        filter_expression: str | None = None,
        projection_expression: str | None = None,
        expression_attribute_names: Mapping[str, str] | None = None,
        expression_attribute_values: Mapping[str, object] | None = None,
        page_limit: int | None = None,
        consistent_read: bool = False,
        segment: int | None = None,
        total_segments: int | None = None,
    ) -> AsyncIterator[Item]:
        """Yield all items of a table, page after page; `page_limit` is each page's `limit`."""
        start: Item | None = None
        while True:
            page = await self.scan(
                table_name,
                filter_expression=filter_expression,
                projection_expression=projection_expression,
                expression_attribute_names=expression_attribute_names,
                expression_attribute_values=expression_attribute_values,
                limit=page_limit,
                consistent_read=consistent_read,
                segment=segment,
                total_segments=total_segments,
                exclusive_start_key=start,
            )
            for item in page.items:
                yield item
            start = page.last_evaluated_key
            if start is None:
                return

    def _add_page_options(
        self,
        body: dict[str, Any],
        *,
        filter_expression: str | None,
        projection_expression: str | None,
        select: str | None,
        limit: int | None,
        consistent_read: bool,
        exclusive_start_key: Mapping[str, object] | None,
        return_consumed_capacity: str | None,
    ) -> None:
        optional = {
            "FilterExpression": filter_expression,
            "ProjectionExpression": projection_expression,
            "Select": select,
            "Limit": limit,
            "ReturnConsumedCapacity": return_consumed_capacity,
        }
        body.update({name: value for name, value in optional.items() if value is not None})
        if consistent_read:
            body["ConsistentRead"] = True
        if exclusive_start_key is not None:
            body["ExclusiveStartKey"] = self.encode(exclusive_start_key, "exclusive_start_key")

    def _page(self, response: bytes) -> Page:
        document = orjson.loads(response)
        last = document.get("LastEvaluatedKey")
        return Page(
            items=[self.decode(item) for item in document.get("Items", ())],
            count=document.get("Count", 0),
            scanned_count=document.get("ScannedCount", 0),
            last_evaluated_key=None if last is None else self.decode(last),
            consumed_capacity=document.get("ConsumedCapacity"),
        )

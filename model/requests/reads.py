"""GetItem, Query, Scan: which storage keys to read, and how to answer.

The rows of a Query or Scan are collected by `model.requests.pages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from model.capacity import consumed_capacity, read_units
from model.errors import Sentence, ValidationError, invalid
from model.expressions import (
    Condition,
    Projection,
    SortCondition,
    check_unused,
    compile_condition,
    compile_key_condition,
    compile_projection,
)
from model.expressions.tree import Path, post_order
from model.image import decode_image, image_json, image_size_bytes
from model.keys import (
    COLLECTION_BYTES,
    KeySchema,
    SortRange,
    collection_prefix,
    sort_key_bytes,
    sort_range,
    storage_key,
    token_bound,
    token_of,
)
from model.limits import SEGMENTS_MAX
from model.members import (
    CONDITIONAL_OPERATOR,
    RETURN_CONSUMED_CAPACITY,
    TABLE_NAME,
    Body,
    Member,
    boolean,
    check_members,
    first_fault,
    integer,
    map_of,
    name_map,
    optional_map_of,
    string,
    structure,
    table_name_of,
    text_of,
    unsupported,
)
from model.requests.legacy import check_condition_map, check_names, without_legacy
from model.requests.pages import RangePlan
from model.requests.placeholders import Placeholders, placeholders_of
from model.shapes import LIST, STRING, check_attribute_map
from model.tables import Table
from model.values import measure_item, measure_start_key

TOKENS: Final = 1 << 64

ITEMS_MAX: Final = (1 << 31) - 1
"""Largest Limit that is told apart; no page has that many rows. Ours."""

ATTRIBUTES_TO_GET: Final = Member(shape=LIST, check_inside=check_names)

GET_ITEM: Final[Mapping[str, Member]] = {
    "Key": structure(check_attribute_map, required=True),
    "TableName": TABLE_NAME,
    "ConsistentRead": boolean(),
    "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    "ProjectionExpression": string(),
    "ExpressionAttributeNames": name_map(),
    "AttributesToGet": ATTRIBUTES_TO_GET,
}

_EVERY_RANGE: Final[dict[str, Member]] = {
    "TableName": TABLE_NAME,
    "Select": string("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
    "Limit": integer(1),
    "ConsistentRead": boolean(),
    "ExclusiveStartKey": structure(check_attribute_map),
    "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    "ProjectionExpression": string(),
    "FilterExpression": string(),
    "ExpressionAttributeNames": name_map(),
    "ExpressionAttributeValues": structure(check_attribute_map),
    "IndexName": unsupported(STRING),
    "AttributesToGet": ATTRIBUTES_TO_GET,
    "ConditionalOperator": CONDITIONAL_OPERATOR,
}
QUERY: Final[Mapping[str, Member]] = {
    **_EVERY_RANGE,
    "ScanIndexForward": boolean(),
    "KeyConditionExpression": string(),
    "KeyConditions": structure(check_condition_map),
    "QueryFilter": structure(check_condition_map),
}
SCAN: Final[Mapping[str, Member]] = {
    **_EVERY_RANGE,
    "Segment": integer(0, SEGMENTS_MAX - 1),
    "TotalSegments": integer(1, SEGMENTS_MAX),
    "ScanFilter": structure(check_condition_map),
}


@dataclass(slots=True, kw_only=True)
class GetItem:
    """A checked GetItem."""

    table_name: str
    consistent: bool
    key: dict[str, object]
    projection: Projection | None
    capacity_mode: str | None

    def bind(self, table: Table) -> bytes:
        """Return the storage key; raises ValidationError if the key does not fit."""
        return storage_key(table.id, table.schema, self.key)

    def response(self, table: Table, image: bytes) -> bytes:
        """Return the JSON response; `image` is empty if there is no such item."""
        document: dict[str, object] = {}
        if image:
            document["Item"] = project_image(image, self.projection)
        units = read_units(image_size_bytes(image), consistent=self.consistent)
        capacity = consumed_capacity(table.name, units, self.capacity_mode)
        if capacity is not None:
            document["ConsumedCapacity"] = capacity
        return orjson.dumps(document)


@dataclass(slots=True, kw_only=True)
class RangeRequest:
    """What Query and Scan have in common."""

    table_name: str
    consistent: bool
    items_max: int  # Limit; 0 = none
    count_only: bool
    start_key: dict[str, object] | None
    placeholders: Placeholders
    condition: Condition | None
    projection: Projection | None
    capacity_mode: str | None

    def plan(
        self,
        table: Table,
        bounds: tuple[bytes, bytes],
        collection: bytes,
        sort_range: SortRange,
        *,
        backwards: bool = False,
    ) -> RangePlan:
        """Return the plan to read the storage keys in `bounds`."""
        return RangePlan(
            table=table,
            low=bounds[0],
            high=bounds[1],
            backwards=backwards,
            items_max=self.items_max,
            collection=collection,
            sort_range=sort_range,
            consistent=self.consistent,
            count_only=self.count_only,
            condition=self.condition,
            values=self.placeholders.values or {},
            projection=self.projection,
            capacity_mode=self.capacity_mode,
        )


@dataclass(slots=True)
class Query:
    """A checked Query; its key condition is looked at in `bind`, as it depends on the schema."""

    request: RangeRequest
    key_condition_text: str
    backwards: bool

    @property
    def table_name(self) -> str:
        """Name of the table."""
        return self.request.table_name

    @property
    def consistent(self) -> bool:
        """Whether the read must see all acknowledged writes."""
        return self.request.consistent

    def bind(self, table: Table) -> RangePlan:
        """Return what to read: a range of one collection.

        Raises ValidationError if key condition, filter or start key do not fit the table.
        """
        request, schema = self.request, table.schema
        names, values = request.placeholders.names, request.placeholders.values
        key_condition = compile_key_condition(self.key_condition_text, names, values, schema)
        check_unused(names, values, (key_condition, request.condition, request.projection))
        _check_filter(request.condition, schema)
        collection = collection_prefix(table.id, schema, key_condition.partition_value)
        wanted = _sort_range(schema, key_condition.sort)
        if request.start_key is not None:
            wanted = self._after_start_key(table, collection, wanted, request.start_key)
        bounds = wanted.bounds(collection)
        return request.plan(table, bounds, collection, wanted, backwards=self.backwards)

    def _after_start_key(
        self, table: Table, collection: bytes, wanted: SortRange, start_key: dict[str, object]
    ) -> SortRange:
        """Return the part of the range that comes after ExclusiveStartKey."""
        schema = table.schema
        if _start_storage_key(table, start_key)[:COLLECTION_BYTES] != collection:
            raise invalid(Sentence.START_KEY_OUTSIDE_RANGE)
        if schema.sort_name is None:
            return SortRange(b"\x00")  # the one item there can be has been read
        start = sort_key_bytes(schema, start_key[schema.sort_name])
        if not wanted.holds(start):
            raise invalid(Sentence.START_KEY_OUTSIDE_SORT_RANGE)
        return wanted.before(start) if self.backwards else wanted.after(start)


@dataclass(slots=True)
class Scan:
    """A checked Scan of one segment of the table."""

    request: RangeRequest
    segment: int
    segments: int

    @property
    def table_name(self) -> str:
        """Name of the table."""
        return self.request.table_name

    @property
    def consistent(self) -> bool:
        """Whether the read must see all acknowledged writes."""
        return self.request.consistent

    def bind(self, table: Table) -> RangePlan:
        """Return what to read: the storage keys of a range of tokens.

        Raises ValidationError if the start key does not fit the table or the segment.
        """
        request = self.request
        low_token = self.segment * TOKENS // self.segments
        high_token = (self.segment + 1) * TOKENS // self.segments
        low, high = token_bound(table.id, low_token), token_bound(table.id, high_token)
        if request.start_key is None:
            return request.plan(table, (low, high), b"", SortRange())
        start = _start_storage_key(table, request.start_key)
        if not low_token <= token_of(start) < high_token:
            raise invalid(
                Sentence.START_KEY_OUTSIDE_SEGMENT, total=self.segments, segment=self.segment
            )
        collection, rest = start[:COLLECTION_BYTES], SortRange(b"\x00")
        sort_name = table.schema.sort_name
        if sort_name is not None:
            rest = SortRange().after(sort_key_bytes(table.schema, request.start_key[sort_name]))
        return request.plan(table, (rest.bounds(collection)[0], high), collection, rest)


def project_image(image: bytes, projection: Projection | None) -> object:
    """Return what orjson can dump as the item, passing the stored JSON through if it can."""
    if projection is None:
        return orjson.Fragment(image_json(image))
    return projection.project(decode_image(image))


def parse_get_item(body: object) -> GetItem:
    """Check a GetItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, GET_ITEM)
    try:
        key = map_of(checked, "Key")
        measure_item(key)
        projection = projection_of(without_legacy(checked))
    except ValidationError as fault:
        raise first_fault(checked, GET_ITEM, fault) from None
    return GetItem(
        table_name=table_name_of(text_of(checked, "TableName") or ""),
        consistent=checked.get("ConsistentRead") is True,
        key=key,
        projection=projection,
        capacity_mode=text_of(checked, "ReturnConsumedCapacity"),
    )


def parse_query(body: object) -> Query:
    """Check a Query body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, QUERY)
    try:
        translated = without_legacy(checked)
        text = text_of(translated, "KeyConditionExpression")
        request = _range_request(translated, {"KeyConditionExpression": text})
        if text is None:
            raise invalid(Sentence.NO_KEY_CONDITION)
    except ValidationError as fault:
        raise first_fault(checked, QUERY, fault) from None
    return Query(request, text, checked.get("ScanIndexForward") is False)


def parse_scan(body: object) -> Scan:
    """Check a Scan body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, SCAN)
    try:
        segment, segments = _segments(checked)
        request = _range_request(without_legacy(checked), {})
        given = request.placeholders
        check_unused(given.names, given.values, (request.condition, request.projection))
    except ValidationError as fault:
        raise first_fault(checked, SCAN, fault) from None
    return Scan(request, segment, segments)


def _range_request(body: Body, other_texts: Mapping[str, str | None]) -> RangeRequest:
    """Check what Query and Scan have in common."""
    filter_text = text_of(body, "FilterExpression")
    projection_text = text_of(body, "ProjectionExpression")
    texts = {
        "ProjectionExpression": projection_text,
        "FilterExpression": filter_text,
        **other_texts,
    }
    start_key = optional_map_of(body, "ExclusiveStartKey")
    if start_key is not None:
        measure_start_key(start_key)
    select = text_of(body, "Select")
    _check_select(select, projection_text)
    placeholders = placeholders_of(body, texts)
    condition = projection = None
    if filter_text is not None:
        names, values = placeholders.names, placeholders.values
        condition = compile_condition(filter_text, names, values, "FilterExpression")
    if projection_text is not None:
        projection = compile_projection(projection_text, placeholders.names)
    limit = body.get("Limit")
    return RangeRequest(
        table_name=table_name_of(text_of(body, "TableName") or ""),
        consistent=body.get("ConsistentRead") is True,
        items_max=min(limit, ITEMS_MAX) if isinstance(limit, int) else 0,
        count_only=select == "COUNT",
        start_key=start_key,
        placeholders=placeholders,
        condition=condition,
        projection=projection,
        capacity_mode=text_of(body, "ReturnConsumedCapacity"),
    )


def projection_of(body: Body) -> Projection | None:
    """Compile the projection of a GetItem, or of one table of a BatchGetItem."""
    text = text_of(body, "ProjectionExpression")
    names = placeholders_of(body, {"ProjectionExpression": text}).names
    if text is None:
        return None
    projection = compile_projection(text, names)
    check_unused(names, None, (projection,))
    return projection


def _check_select(select: str | None, projection_text: str | None) -> None:
    if select == "ALL_PROJECTED_ATTRIBUTES":
        raise invalid(Sentence.SELECT_NEEDS_INDEX)
    if select == "SPECIFIC_ATTRIBUTES" and projection_text is None:
        raise invalid(Sentence.SELECT_NEEDS_PROJECTION)
    if select in {"ALL_ATTRIBUTES", "COUNT"} and projection_text is not None:
        raise invalid(
            Sentence.SELECT_FORBIDS_PROJECTION, parameter="ProjectionExpression", select=select
        )


def _segments(body: Body) -> tuple[int, int]:
    """Return (Segment, TotalSegments) of a Scan: (0, 1) if it is not parallel."""
    segment, segments = body.get("Segment"), body.get("TotalSegments")
    if segment is None and segments is None:
        return 0, 1
    if segments is None:
        raise invalid(Sentence.SEGMENT_WITHOUT_TOTAL)
    if segment is None:
        raise invalid(Sentence.TOTAL_WITHOUT_SEGMENT)
    assert isinstance(segment, int)
    assert isinstance(segments, int)
    if segment >= segments:
        raise invalid(Sentence.SEGMENT_TOO_LARGE, segment=segment, total=segments)
    return segment, segments


def _check_filter(condition: Condition | None, schema: KeySchema) -> None:
    """Refuse a Query's filter on a key attribute: that belongs in the key condition."""
    if condition is None:
        return
    for node in post_order(condition.root):
        if isinstance(node, Path) and node.elements[0] in schema.names:
            raise invalid(Sentence.FILTER_ON_KEY, name=node.elements[0])


def _sort_range(schema: KeySchema, condition: SortCondition | None) -> SortRange:
    if condition is None:
        return SortRange()
    operands = (sort_key_bytes(schema, value) for value in condition.values)
    return sort_range(condition.operator, *operands)


def _start_storage_key(table: Table, start_key: dict[str, object]) -> bytes:
    try:
        return storage_key(table.id, table.schema, start_key)
    except ValidationError as error:
        raise invalid(Sentence.START_KEY_INVALID_BECAUSE, reason=error.message) from None

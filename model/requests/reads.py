"""GetItem, Query, Scan: which storage keys to read, and how to answer.

The rows of a Query or Scan are collected by `model.requests.pages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from model.capacity import consumed_capacity, read_units
from model.errors import ValidationError, invalid
from model.expressions import (
    Condition,
    KeyConditionShape,
    Projection,
    SortCondition,
    check_key_paths,
    check_unused,
    compile_condition,
    compile_key_condition,
    compile_projection,
)
from model.image import decode_image, image_json, image_size_bytes
from model.keys import (
    COLLECTION_BYTES,
    KeySchema,
    SortRange,
    collection_prefix,
    has_key,
    sort_key_bytes,
    sort_range,
    storage_key,
    token_bound,
    token_of,
)
from model.limits import SEGMENTS_MAX, TABLE_NAME_LENGTH_MAX, TABLE_NAME_LENGTH_MIN
from model.members import (
    CONDITIONAL_OPERATOR,
    RETURN_CONSUMED_CAPACITY,
    TABLE_NAME,
    TABLE_NAME_PATTERN,
    Body,
    Member,
    Members,
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
)
from model.requests import parameters
from model.requests.legacy import CONDITIONS, check_names, key_condition_of, without_legacy
from model.requests.pages import RangePlan
from model.requests.parameters import check_together
from model.requests.placeholders import Placeholders, Values, placeholders_of
from model.sentences import Sentence
from model.shapes import LIST, STRING, check_attribute_map
from model.tables import Table
from model.values import measure_item, measure_start_key

TOKENS: Final = 1 << 64

ITEMS_MAX: Final = (1 << 31) - 1
"""Largest Limit that is told apart; no page has that many rows. Ours."""

ATTRIBUTES_TO_GET: Final = Member(shape=LIST, length_min=1, check_inside=check_names)
INDEX_NAME: Final = Member(
    shape=STRING,
    length_min=TABLE_NAME_LENGTH_MIN,
    length_max=TABLE_NAME_LENGTH_MAX,
    pattern=TABLE_NAME_PATTERN,
)

GET_ITEM: Final = Members(
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "AttributesToGet": ATTRIBUTES_TO_GET,
        "TableName": TABLE_NAME,
        "Key": structure(check_attribute_map, required=True),
        "ConsistentRead": boolean(),
        "ProjectionExpression": string(),
        "ExpressionAttributeNames": name_map(),
    }
)

_EVERY_RANGE: Final[dict[str, Member]] = {
    "Limit": integer(1),
    "ExclusiveStartKey": structure(check_attribute_map),
    "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    "AttributesToGet": ATTRIBUTES_TO_GET,
    "Select": string("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
    "ConditionalOperator": CONDITIONAL_OPERATOR,
    "TableName": TABLE_NAME,
    "ConsistentRead": boolean(),
    "IndexName": INDEX_NAME,
    "FilterExpression": string(),
    "ProjectionExpression": string(),
    "ExpressionAttributeNames": name_map(),
    "ExpressionAttributeValues": structure(check_attribute_map),
}
QUERY: Final = Members(
    {
        "QueryFilter": CONDITIONS,
        "KeyConditions": CONDITIONS,
        **_EVERY_RANGE,
        "ScanIndexForward": boolean(),
        "KeyConditionExpression": string(),
    }
)
SCAN: Final = Members(
    {
        "ScanFilter": CONDITIONS,
        **_EVERY_RANGE,
        "Segment": integer(0, SEGMENTS_MAX - 1),
        "TotalSegments": integer(1, SEGMENTS_MAX),
    }
)


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
        key = storage_key(table.id, table.schema, self.key)
        check_key_paths((self.projection,), table.schema.names)
        return key

    def response(self, table: Table, image: bytes) -> bytes:
        """Return the JSON response; `image` is empty if there is no such item."""
        document: dict[str, object] = {}
        if image:
            document["Item"] = orjson.Fragment(project_image(image, self.projection))
        units = read_units(image_size_bytes(image), consistent=self.consistent)
        capacity = consumed_capacity(table.name, units, self.capacity_mode)
        if capacity is not None:
            document["ConsumedCapacity"] = capacity
        return orjson.dumps(document)


@dataclass(slots=True, kw_only=True)
class RangeRequest:
    """What Query and Scan have in common."""

    table_name: str
    index_name: str | None
    consistent: bool
    items_max: int  # Limit; 0 = none
    count_only: bool
    start_key: dict[str, object] | None
    placeholders: Placeholders
    filter_parameter: str  # the filter's name in a message
    condition: Condition | None
    projection: Projection | None
    capacity_mode: str | None

    def check_index(self) -> None:
        """Raise ValidationError if the request is for an index: no table has one."""
        if self.index_name is not None:
            raise invalid(Sentence.INDEX_NOT_FOUND, name=self.index_name)

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
    """A checked Query; whether its key condition fits the table's schema, `bind` finds out."""

    request: RangeRequest
    key_condition: KeyConditionShape
    key_values: Values
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
        request.check_index()
        if request.start_key is not None:
            _check_start_key(request.start_key, schema)
        key_condition = self.key_condition.bind(schema, self.key_values)
        collection = collection_prefix(table.id, schema, key_condition.partition_value)
        wanted = _sort_range(schema, key_condition.sort)
        if request.start_key is not None:
            has_sort = key_condition.sort is not None
            wanted = self._after_start_key(
                table, collection, wanted, request.start_key, has_sort=has_sort
            )
        check_key_paths((request.projection,), schema.names)
        _check_filter(request, schema)
        bounds = wanted.bounds(collection)
        return request.plan(table, bounds, collection, wanted, backwards=self.backwards)

    def _after_start_key(
        self,
        table: Table,
        collection: bytes,
        wanted: SortRange,
        start_key: dict[str, object],
        *,
        has_sort: bool,
    ) -> SortRange:
        """Return the part of the range that comes after ExclusiveStartKey."""
        schema = table.schema
        is_inside = _start_storage_key(table, start_key)[:COLLECTION_BYTES] == collection
        if not is_inside and not has_sort:
            raise invalid(Sentence.START_KEY_OUTSIDE_RANGE)
        if schema.sort_name is None:
            return SortRange(b"\x00")  # the one item there can be has been read
        start = sort_key_bytes(schema, start_key[schema.sort_name])
        if not wanted.holds(start):
            raise invalid(Sentence.START_KEY_OUTSIDE_SORT_RANGE)
        if not is_inside:
            raise invalid(Sentence.START_KEY_OF_ONE_ROW)
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
        request.check_index()
        low_token = self.segment * TOKENS // self.segments
        high_token = (self.segment + 1) * TOKENS // self.segments
        low, high = token_bound(table.id, low_token), token_bound(table.id, high_token)
        check_key_paths((request.projection, request.condition), table.schema.names)
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


def project_image(image: bytes, projection: Projection | None) -> bytes:
    """Return the item's JSON, the stored one as it is if all of it is wanted."""
    if projection is None:
        return image_json(image)
    return orjson.dumps(projection.project(decode_image(image)))


def parse_get_item(body: object) -> GetItem:
    """Check a GetItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, GET_ITEM)
    try:
        check_together(checked, parameters.GET)
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
        check_together(checked, parameters.QUERY)
        translated = without_legacy(checked)
        _check_start_values(checked)
        text = text_of(checked, "KeyConditionExpression")
        conditions = checked.get("KeyConditions")
        if text is None and conditions is None:
            raise invalid(Sentence.NO_KEY_CONDITION)
        placeholders = placeholders_of(translated)
        names, values = placeholders.names, placeholders.values
        expression = None if text is None else compile_key_condition(text, names, values)
        request = _range_request(checked, translated, placeholders, expression)
        if expression is None:
            legacy = key_condition_of(conditions)
            shape, key_values = legacy.shape, legacy.values
        else:
            shape, key_values = expression, values or {}
    except ValidationError as fault:
        raise first_fault(checked, QUERY, fault) from None
    return Query(request, shape, key_values, checked.get("ScanIndexForward") is False)


def parse_scan(body: object) -> Scan:
    """Check a Scan body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, SCAN)
    try:
        check_together(checked, parameters.SCAN)
        translated = without_legacy(checked)
        _check_start_values(checked)
        segment, segments = _segments(checked)
        request = _range_request(checked, translated, placeholders_of(translated), None)
    except ValidationError as fault:
        raise first_fault(checked, SCAN, fault) from None
    return Scan(request, segment, segments)


def _check_start_values(body: Body) -> None:
    start_key = optional_map_of(body, "ExclusiveStartKey")
    if start_key is not None:
        measure_start_key(start_key)


def _range_request(
    checked: Body,
    translated: Body,
    placeholders: Placeholders,
    key_condition: KeyConditionShape | None,
) -> RangeRequest:
    """Check the expressions of a Query or Scan; `key_condition` has been."""
    select = text_of(checked, "Select")
    _check_select(select, checked)
    filter_text = text_of(translated, "FilterExpression")
    projection_text = text_of(translated, "ProjectionExpression")
    names, values = placeholders.names, placeholders.values
    condition = projection = None
    if filter_text is not None:
        condition = compile_condition(filter_text, names, values, "FilterExpression")
    if projection_text is not None:
        projection = compile_projection(projection_text, names)
    check_unused(names, values, (key_condition, condition, projection))
    limit = checked.get("Limit")
    return RangeRequest(
        table_name=table_name_of(text_of(checked, "TableName") or ""),
        index_name=text_of(checked, "IndexName"),
        consistent=checked.get("ConsistentRead") is True,
        items_max=min(limit, ITEMS_MAX) if isinstance(limit, int) else 0,
        count_only=select == "COUNT",
        start_key=optional_map_of(checked, "ExclusiveStartKey"),
        placeholders=placeholders,
        filter_parameter="QueryFilter" if "QueryFilter" in checked else "Filter Expression",
        condition=condition,
        projection=projection,
        capacity_mode=text_of(checked, "ReturnConsumedCapacity"),
    )


def projection_of(body: Body) -> Projection | None:
    """Compile the projection of a GetItem, or of one table of a BatchGetItem."""
    text = text_of(body, "ProjectionExpression")
    if text is None:
        return None
    names = placeholders_of(body).names
    projection = compile_projection(text, names)
    check_unused(names, None, (projection,))
    return projection


_SELECTED: Final = {"COUNT": "only the Count"}
"""What AWS's messages call a value of Select, where it is not its name."""


def _check_select(select: str | None, body: Body) -> None:
    parameter = next(
        (
            name
            for name in ("ProjectionExpression", "AttributesToGet")
            if body.get(name) is not None
        ),
        None,
    )
    if select == "SPECIFIC_ATTRIBUTES" and parameter is None:
        raise invalid(Sentence.SELECT_NEEDS_PROJECTION)
    if select not in {None, "SPECIFIC_ATTRIBUTES"} and parameter is not None:
        shown = _SELECTED.get(str(select), select)
        raise invalid(Sentence.SELECT_FORBIDS_PROJECTION, parameter=parameter, select=shown)
    if select == "ALL_PROJECTED_ATTRIBUTES" and body.get("IndexName") is None:
        raise invalid(Sentence.SELECT_NEEDS_INDEX)


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


def _check_filter(request: RangeRequest, schema: KeySchema) -> None:
    """Refuse a Query's filter on a key attribute: that belongs in the key condition."""
    if request.condition is None:
        return
    filtered = {path.name for path in request.condition.paths}
    for name in schema.names:
        if name in filtered:
            raise invalid(Sentence.FILTER_ON_KEY, parameter=request.filter_parameter, name=name)


def _check_start_key(start_key: dict[str, object], schema: KeySchema) -> None:
    """Check that a Query's ExclusiveStartKey has the key attributes, of the right types."""
    if len(start_key) != len(schema.names) or not has_key(schema, start_key):
        raise invalid(Sentence.START_KEY_INVALID)


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

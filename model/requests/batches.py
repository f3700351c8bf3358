"""BatchWriteItem and BatchGetItem: many independent puts, deletes or gets in one request.

A batch is refused as a whole for what can be known from the request. What then fails one by one
(throttled, no leader, timed out) comes back as unprocessed.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from model.capacity import consumed_capacities, read_units
from model.errors import ValidationError, invalid
from model.expressions import Projection, check_key_paths
from model.image import image_json, image_size_bytes
from model.keys import has_key, item_storage_key, storage_key
from model.limits import (
    BATCH_GET_ITEMS_MAX,
    BATCH_SIZE_BYTES_MAX,
    BATCH_WRITE_ITEMS_MAX,
    TABLE_NAME_LENGTH_MAX,
    TABLE_NAME_LENGTH_MIN,
)
from model.members import (
    RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS,
    TABLE_NAME_PATTERN,
    Body,
    Member,
    Members,
    Violation,
    boolean,
    check_members,
    first_fault,
    is_table_name,
    length_violations,
    map_of,
    member_violations,
    missing,
    name_map,
    path_of,
    string,
    table_name_of,
    text_of,
    violation,
)
from model.requests import parameters
from model.requests.legacy import without_legacy
from model.requests.parameters import check_all_together
from model.requests.reads import ATTRIBUTES_TO_GET, project_image, projection_of
from model.requests.writes import Write
from model.sentences import Sentence
from model.shapes import (
    ELEMENT,
    LIST,
    STRUCTURE,
    check_attribute_map,
    check_list,
    check_map,
    check_type,
)
from model.tables import Table
from model.values import check_item_size, measure_item

KEYS_AND_ATTRIBUTES: Final = Members(
    {
        "AttributesToGet": ATTRIBUTES_TO_GET,
        "ConsistentRead": boolean(),
        "ProjectionExpression": string(),
        "ExpressionAttributeNames": name_map(),
    }
)
_KEYS: Final = Member(shape=LIST, required=True, length_min=1, length_max=BATCH_GET_ITEMS_MAX)


def _write_outline(value: object) -> list[object]:
    """Check the JSON types in RequestItems of a BatchWriteItem; return the items and keys."""
    inside: list[object] = []
    for requests in check_map(value, LIST).values():
        for request in check_list(requests, ELEMENT):
            assert isinstance(request, dict)
            for action, name in (("PutRequest", "Item"), ("DeleteRequest", "Key")):
                given = request.get(action)
                if given is not None:
                    check_type(given, STRUCTURE)
                    content = given.get(name)
                    check_type(content, STRUCTURE)
                    inside.append(content)
    return inside


def _check_write_requests(value: object) -> None:
    for attributes in _write_outline(value):
        check_attribute_map(attributes)


def _get_outline(value: object) -> list[object]:
    """Check the JSON types in RequestItems of a BatchGetItem; return the keys."""
    keys: list[object] = []
    for given in check_map(value, STRUCTURE).values():
        assert isinstance(given, dict)
        keys.extend(check_list(given.get("Keys"), STRUCTURE))
        for name, member in KEYS_AND_ATTRIBUTES.items():
            check_type(given.get(name), member.shape)
            if member.check_inside is not None:
                member.check_inside(given.get(name))
    return keys


def _check_keys_and_attributes(value: object) -> None:
    for key in _get_outline(value):
        check_attribute_map(key)


def _write_violations(path: str, value: object) -> list[Violation]:
    assert isinstance(value, dict)
    if not value:
        return []  # AWS has a sentence of its own for it
    violations = _map_violations(path, value, BATCH_WRITE_ITEMS_MAX)
    for requests in list(value.values())[:BATCH_WRITE_ITEMS_MAX]:
        if not isinstance(requests, list) or not 1 <= len(requests) <= BATCH_WRITE_ITEMS_MAX:
            constraint = Sentence.MAP_VALUES_MUST
            limits = {"length_min": 1, "length_max": BATCH_WRITE_ITEMS_MAX}
            violations.append(violation(path, value, constraint, **limits))
    for name, requests in value.items():
        if violations or not isinstance(requests, list):
            break
        for position, request in enumerate(requests, start=1):
            given = request if isinstance(request, dict) else {}
            for action, inside in (("PutRequest", "Item"), ("DeleteRequest", "Key")):
                content = given.get(action)
                if isinstance(content, dict) and content.get(inside) is None:
                    member = f"{path_of(action)}.{path_of(inside)}"
                    violations.append(missing(f"{path}.{name}.member.{position}.member.{member}"))
    return violations


def _get_violations(path: str, value: object) -> list[Violation]:
    assert isinstance(value, dict)
    violations = _map_violations(path, value, BATCH_GET_ITEMS_MAX)
    for name, given in list(value.items())[:BATCH_GET_ITEMS_MAX]:
        inside = given if isinstance(given, dict) else {}
        for member_name, member in (("Keys", _KEYS), ("AttributesToGet", ATTRIBUTES_TO_GET)):
            member_path = f"{path}.{name}.member.{path_of(member_name)}"
            violations += member_violations(member_path, inside.get(member_name), member)
    return violations


def _map_violations(path: str, tables: dict[str, object], count_max: int) -> list[Violation]:
    """Check the number of tables, and their names."""
    violations = length_violations(path, tables, 1, count_max)
    if not all(map(is_table_name, tables)):
        violations.append(
            violation(
                path,
                tables,
                Sentence.MAP_KEYS_MUST,
                length_min=TABLE_NAME_LENGTH_MIN,
                length_max=TABLE_NAME_LENGTH_MAX,
                pattern=TABLE_NAME_PATTERN,
            )
        )
    return violations


BATCH_WRITE_ITEM: Final = Members(
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        "RequestItems": Member(
            shape=STRUCTURE,
            required=True,
            check_inside=_check_write_requests,
            check_outline=_write_outline,
            violations_inside=_write_violations,
        ),
    }
)
BATCH_GET_ITEM: Final = Members(
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "RequestItems": Member(
            shape=STRUCTURE,
            required=True,
            check_inside=_check_keys_and_attributes,
            check_outline=_get_outline,
            violations_inside=_get_violations,
        ),
    }
)


@dataclass(slots=True)
class BatchWrite:
    """One put or delete of a batch: what to send, and where it came from."""

    write: Write
    table: Table
    given_name: str  # the table's name or ARN, as in the request
    request: dict[str, object]  # {"PutRequest": ...} or {"DeleteRequest": ...}

    def pack(self) -> dict[str, object] | None:
        """Make the image now, and keep nothing else of the item, which is returned."""
        item = self.write.pack()
        if item is not None:
            self.request = {"PutRequest": {"Item": orjson.Fragment(image_json(self.write.image))}}
        return item


@dataclass(slots=True)
class _Action:
    """One put or delete, checked; `size_bytes` is None for a delete."""

    given_name: str
    attributes: dict[str, object]
    size_bytes: int | None
    request: dict[str, object]


@dataclass(slots=True)
class BatchWriteItem:
    """A checked BatchWriteItem."""

    actions: list[_Action]
    capacity_mode: str | None

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of all tables, each once."""
        return tuple(dict.fromkeys(table_name_of(action.given_name) for action in self.actions))

    def bind(self, tables: Mapping[str, Table]) -> list[BatchWrite]:
        """Return what to send, in the order of the request.

        Raises ValidationError if a key does not fit its table, or two actions are on one item.
        """
        writes = [_bind_action(action, tables) for action in self.actions]
        _check_distinct([bound.write.key for bound in writes])
        return writes

    def pack(self) -> None:
        """Forget what was bound."""
        self.actions = []

    def response(self, writes: Sequence[BatchWrite], units: Sequence[int | None]) -> bytes:
        """Return the JSON response; `units[i]` is None where `writes[i]` was not processed.

        If none was, the caller raises the reason instead.
        """
        unprocessed: dict[str, list[object]] = {}
        units_by_table: dict[str, float] = {}
        for bound, consumed in zip(writes, units, strict=True):
            if consumed is None:
                unprocessed.setdefault(bound.given_name, []).append(bound.request)
            else:
                name = bound.table.name
                units_by_table[name] = units_by_table.get(name, 0) + consumed
        document: dict[str, object] = {"UnprocessedItems": unprocessed}
        capacities = consumed_capacities(units_by_table.items(), self.capacity_mode)
        if capacities is not None:
            document["ConsumedCapacity"] = capacities
        return orjson.dumps(document)


@dataclass(slots=True)
class _KeyGroup:
    """What a BatchGetItem asks of one table."""

    given_name: str
    keys: list[dict[str, object]]
    consistent: bool
    projection: Projection | None
    options: dict[str, object]  # the other members, as given, for UnprocessedKeys


@dataclass(slots=True)
class BatchGet:
    """One get of a batch: the storage key, and where it came from."""

    key: bytes
    table: Table
    consistent: bool
    group: _KeyGroup
    request_key: dict[str, object]


@dataclass(slots=True)
class BatchGetItem:
    """A checked BatchGetItem."""

    groups: list[_KeyGroup]
    capacity_mode: str | None

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of all tables, each once."""
        return tuple(dict.fromkeys(table_name_of(group.given_name) for group in self.groups))

    def bind(self, tables: Mapping[str, Table]) -> list[BatchGet]:
        """Return what to read, in the order of the request.

        Raises ValidationError if a key does not fit its table.
        """
        gets: list[BatchGet] = []
        for group in self.groups:
            table = tables[table_name_of(group.given_name)]
            for request_key in group.keys:
                key = storage_key(table.id, table.schema, request_key)
                gets.append(BatchGet(key, table, group.consistent, group, request_key))
            check_key_paths((group.projection,), table.schema.names)
        return gets

    def response(
        self,
        gets: Sequence[BatchGet],
        images: Sequence[bytes | None],
        json_bytes_max: int = sys.maxsize,
    ) -> bytes:
        """Return the JSON response.

        `images[i]` is what `gets[i]` found: empty for no item, None if it was not processed. Items
        beyond 16 MB in all are unprocessed too, and so are those with which the response would be
        longer than `json_bytes_max`; but never all that were found: the shortest one fits.
        """
        items = [
            project_image(image, get.group.projection) if image else b""
            for get, image in zip(gets, images, strict=True)
        ]
        room = json_bytes_max - len(orjson.dumps(self._asked()))  # all may come back unprocessed
        room = max(room, min((len(item) for item in items if item), default=0))
        found: dict[str, list[object]] = {group.given_name: [] for group in self.groups}
        unprocessed: dict[str, dict[str, object]] = {}
        units_by_table: dict[str, float] = {}
        size_bytes = 0
        for get, image, item in zip(gets, images, items, strict=True):
            group = get.group
            item_bytes = 0 if image is None else image_size_bytes(image)
            is_too_much = size_bytes + item_bytes > BATCH_SIZE_BYTES_MAX or len(item) > room
            if image is None or is_too_much:
                rest = unprocessed.setdefault(group.given_name, {"Keys": [], **group.options})
                keys = rest["Keys"]
                assert isinstance(keys, list)
                keys.append(get.request_key)
                continue
            size_bytes += item_bytes
            room -= len(item) + len(b",")
            units = read_units(item_bytes, consistent=group.consistent)
            units_by_table[get.table.name] = units_by_table.get(get.table.name, 0) + units
            if image:
                found[group.given_name].append(orjson.Fragment(item))
        document: dict[str, object] = {"Responses": found, "UnprocessedKeys": unprocessed}
        capacities = consumed_capacities(units_by_table.items(), self.capacity_mode)
        if capacities is not None:
            document["ConsumedCapacity"] = capacities
        return orjson.dumps(document)

    def _asked(self) -> dict[str, object]:
        """Return the keys as they were asked for, by table."""
        return {group.given_name: {"Keys": group.keys, **group.options} for group in self.groups}


def parse_batch_write_item(body: object) -> BatchWriteItem:
    """Check a BatchWriteItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, BATCH_WRITE_ITEM)
    try:
        request_items = map_of(checked, "RequestItems")
        if not request_items:
            raise invalid(Sentence.BATCH_EMPTY, operation="BatchWriteItem")
        actions = _actions(request_items)
    except ValidationError as fault:
        raise first_fault(checked, BATCH_WRITE_ITEM, fault) from None
    return BatchWriteItem(actions, text_of(checked, "ReturnConsumedCapacity"))


def parse_batch_get_item(body: object) -> BatchGetItem:
    """Check a BatchGetItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, BATCH_GET_ITEM)
    try:
        request_items = map_of(checked, "RequestItems")
        bodies = [given for given in request_items.values() if isinstance(given, dict)]
        check_all_together(bodies, parameters.GET)
        groups = [_key_group(name, given) for name, given in request_items.items()]
        _check_keys_distinct(groups)
        if sum(len(group.keys) for group in groups) > BATCH_GET_ITEMS_MAX:
            raise invalid(Sentence.BATCH_GET_COUNT)
    except ValidationError as fault:
        raise first_fault(checked, BATCH_GET_ITEM, fault) from None
    return BatchGetItem(groups, text_of(checked, "ReturnConsumedCapacity"))


def _actions(request_items: dict[str, object]) -> list[_Action]:
    given = [
        (name, request)
        for name, requests in request_items.items()
        if isinstance(requests, list)
        for request in requests
    ]
    if len(given) > BATCH_WRITE_ITEMS_MAX:
        raise invalid(Sentence.BATCH_WRITE_COUNT)
    return [_action(name, request) for name, request in given]


def _action(given_name: str, request: object) -> _Action:
    given = request if isinstance(request, dict) else {}
    put, delete = given.get("PutRequest"), given.get("DeleteRequest")
    if (put is None) is (delete is None):
        raise invalid(Sentence.VALUE_AMBIGUOUS)  # AWS says the same of a request that is empty
    if isinstance(put, dict):
        item = map_of(put, "Item")
        size_bytes = measure_item(item)
        check_item_size(size_bytes)
        return _Action(given_name, item, size_bytes, given)
    assert isinstance(delete, dict)
    key = map_of(delete, "Key")
    measure_item(key)
    return _Action(given_name, key, None, given)


def _bind_action(action: _Action, tables: Mapping[str, Table]) -> BatchWrite:
    table = tables[table_name_of(action.given_name)]
    attributes, size_bytes = action.attributes, action.size_bytes
    if size_bytes is None:
        write = Write(storage_key(table.id, table.schema, attributes))
    else:
        # Less is said of an item's key than PutItem says of it (dynoxide issue 97).
        if not has_key(table.schema, attributes):
            raise invalid(Sentence.KEY_MISMATCH)
        key = item_storage_key(table.id, table.schema, attributes)
        write = Write(key, item=attributes, size_bytes=size_bytes)
    return BatchWrite(write, table, action.given_name, action.request)


def _key_group(given_name: str, given: object) -> _KeyGroup:
    """Check what a BatchGetItem asks of one table."""
    assert isinstance(given, dict)
    options: Body = {
        name: given[name] for name in KEYS_AND_ATTRIBUTES if given.get(name) is not None
    }
    projection = projection_of(without_legacy(given))
    keys = [key for key in given["Keys"] if isinstance(key, dict)]
    if len(keys) != len(given["Keys"]):
        raise invalid(Sentence.KEY_MISMATCH)
    for key in keys:
        measure_item(key)
    consistent = given.get("ConsistentRead") is True
    return _KeyGroup(given_name, keys, consistent, projection, options)


def _check_keys_distinct(groups: Sequence[_KeyGroup]) -> None:
    """Refuse a key that is asked for twice, before anybody looks for the table."""
    _check_distinct(
        [
            (table_name_of(group.given_name), orjson.dumps(key, option=orjson.OPT_SORT_KEYS))
            for group in groups
            for key in group.keys
        ]
    )


def _check_distinct(keys: Sequence[Hashable]) -> None:
    if len(set(keys)) != len(keys):
        raise invalid(Sentence.BATCH_DUPLICATES)

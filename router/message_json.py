"""Between the public API's messages and DynamoDB's JSON values, driven by the descriptors.

One rule for all messages, so that a new field needs no code here:
- a field `table_name` is the member `TableName`;
- an enum's value `RETURN_VALUES_ALL_OLD` is `"ALL_OLD"`; unspecified is absence;
- a message whose only field is `values` stands for that list or map itself;
- `AttributeValue` is DynamoDB's: one member named after the type, binaries in base64;
- what has its default value and no presence of its own is absent.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor import FieldDescriptor as PythonFieldDescriptor
from google.protobuf.message import Message

from quorate.v1 import api_pb2

Json = Any
"""A JSON value: its shape is known only where it is validated, in the model."""

AnyMessage = Any
"""A message of a type known only by its descriptor: fields are found by name."""

FieldDescriptor = Any
"""A field's descriptor: its two implementations have no type in common."""

Encode = Callable[[Json], Json]

WRAPPED_FIELD: Final = "values"
FOUND_FIELD: Final = "found"
"""The one field without a member of its own: `GetItemResponse.found` says that `Item` is there."""


def to_document(message: Message) -> dict[str, object]:
    """Return the JSON document of a request message."""
    document = _reader(message.DESCRIPTOR)(message)
    assert isinstance(document, dict)
    return document


def to_message(document: Mapping[str, object], message: Message) -> None:
    """Fill a response message from the JSON document; members it has no field for are dropped."""
    _writer(message.DESCRIPTOR)(document, message)


def member_name(field_name: str) -> str:
    """Return DynamoDB's name of a field: `table_name` -> `TableName`."""
    return "".join(word.capitalize() for word in field_name.split("_"))


# Messages to JSON


@cache
def _reader(descriptor: Descriptor) -> Callable[[AnyMessage], Json]:
    """Return the function that turns messages of this type into JSON values."""
    if descriptor is api_pb2.AttributeValue.DESCRIPTOR:
        return _read_attribute
    if [field.name for field in descriptor.fields] == [WRAPPED_FIELD]:
        return _value_reader(descriptor.fields[0])
    fields = [
        (member_name(field.name), _presence(field), _value_reader(field))
        for field in descriptor.fields
    ]

    def read(message: AnyMessage) -> Json:
        document = {}
        for name, is_present, read_value in fields:
            if is_present(message):
                document[name] = read_value(message)
        return document

    return read


def _presence(field: FieldDescriptor) -> Callable[[AnyMessage], bool]:
    name = field.name
    if field.has_presence:
        return lambda message: bool(message.HasField(name))
    return lambda message: bool(getattr(message, name))


def _value_reader(field: FieldDescriptor) -> Callable[[AnyMessage], Json]:
    """Return the function that takes a field's JSON value out of its message."""
    name = field.name
    if _is_map(field):
        read_one = _element_reader(_map_value(field))
        return lambda message: {
            key: read_one(value) for key, value in getattr(message, name).items()
        }
    read_one = _element_reader(field)
    if field.is_repeated:
        return lambda message: [read_one(value) for value in getattr(message, name)]
    return lambda message: read_one(getattr(message, name))


def _element_reader(field: FieldDescriptor) -> Encode:
    if field.message_type is not None:
        descriptor = field.message_type
        return lambda value: _reader(descriptor)(value)  # noqa: PLW0108 (AttributeValue holds itself)
    if field.enum_type is not None:
        names = _enum_names(field.enum_type)
        # An unknown number reaches validation as a text that no enum has.
        return lambda value: names.get(value, str(value))
    if field.type == PythonFieldDescriptor.TYPE_BYTES:
        return lambda value: b64encode(value).decode()
    return lambda value: value


def _read_attribute(message: api_pb2.AttributeValue) -> Json:
    kind = message.WhichOneof("value")
    return {} if kind is None else {kind.upper(): _attribute_readers()[kind](message)}


@cache
def _attribute_readers() -> dict[str, Callable[[AnyMessage], Json]]:
    fields = api_pb2.AttributeValue.DESCRIPTOR.fields
    return {field.name: _value_reader(field) for field in fields}


# JSON to messages


@cache
def _writer(descriptor: Descriptor) -> Callable[[Json, AnyMessage], None]:
    """Return the function that fills messages of this type from JSON values."""
    if descriptor is api_pb2.AttributeValue.DESCRIPTOR:
        return _write_attribute
    if [field.name for field in descriptor.fields] == [WRAPPED_FIELD]:
        return _value_writer(descriptor.fields[0])
    writers = {member_name(field.name): _value_writer(field) for field in descriptor.fields}
    has_found = FOUND_FIELD in descriptor.fields_by_name

    def write(document: Json, message: AnyMessage) -> None:
        for name, value in document.items():
            write_value = writers.get(name)
            if write_value is not None and value is not None:
                write_value(value, message)
        if has_found:
            message.found = "Item" in document

    return write


def _value_writer(field: FieldDescriptor) -> Callable[[Json, AnyMessage], None]:
    """Return the function that puts a JSON value into a field of a message."""
    if _is_map(field):
        return _map_writer(field)
    name = field.name
    if field.message_type is not None:
        descriptor = field.message_type
        if field.is_repeated:
            return lambda value, message: _write_each(
                value, getattr(message, name), _writer(descriptor)
            )

        def write_message(value: Json, message: AnyMessage) -> None:
            inner = getattr(message, name)
            inner.SetInParent()
            _writer(descriptor)(value, inner)

        return write_message
    decode = _scalar_decoder(field)
    if field.is_repeated:
        return lambda value, message: getattr(message, name).extend(map(decode, value))
    return lambda value, message: setattr(message, name, decode(value))


def _map_writer(field: FieldDescriptor) -> Callable[[Json, AnyMessage], None]:
    name = field.name
    value_field = _map_value(field)
    descriptor = value_field.message_type
    if descriptor is None:
        decode = _scalar_decoder(value_field)

        def write_scalars(value: Json, message: AnyMessage) -> None:
            getattr(message, name).update({key: decode(each) for key, each in value.items()})

        return write_scalars

    def write_messages(value: Json, message: AnyMessage) -> None:
        entries = getattr(message, name)
        write = _writer(descriptor)
        for key, each in value.items():
            write(each, entries[key])

    return write_messages


def _write_each(
    values: Json, entries: AnyMessage, write: Callable[[Json, AnyMessage], None]
) -> None:
    for value in values:
        write(value, entries.add())


def _scalar_decoder(field: FieldDescriptor) -> Encode:
    if field.enum_type is not None:
        numbers = {name: number for number, name in _enum_names(field.enum_type).items()}
        return lambda value: numbers.get(value, 0)
    if field.type == PythonFieldDescriptor.TYPE_BYTES:
        return b64decode
    return lambda value: value


def _write_attribute(value: Json, message: api_pb2.AttributeValue) -> None:
    for kind, content in value.items():
        _attribute_writers()[kind](content, message)


@cache
def _attribute_writers() -> dict[str, Callable[[Json, AnyMessage], None]]:
    fields = api_pb2.AttributeValue.DESCRIPTOR.fields
    return {field.name.upper(): _value_writer(field) for field in fields}


# Descriptors


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _map_value(field: FieldDescriptor) -> FieldDescriptor:
    return field.message_type.fields_by_name["value"]


@cache
def _enum_names(enum: EnumDescriptor) -> dict[int, str]:
    """Return DynamoDB's name of each number but 0, which is "unspecified"."""
    unspecified = enum.values_by_number[0].name
    prefix = unspecified.removesuffix("UNSPECIFIED")
    assert prefix != unspecified
    return {value.number: value.name.removeprefix(prefix) for value in enum.values if value.number}

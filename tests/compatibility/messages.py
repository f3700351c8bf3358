"""Messages with every field set, made from nothing but their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

NAMES: Final = ("api", "catalog", "cluster", "log", "node", "users")
DEPTH_MAX: Final = 3
"""How deep messages that contain themselves are filled. Ours."""

Types = FieldDescriptor


def files() -> list[FileDescriptor]:
    """Return the definitions of this release."""
    return [import_module(f"quorate.v1.{name}_pb2").DESCRIPTOR for name in NAMES]


def kinds() -> Iterator[Descriptor]:
    """Yield every kind of message, also those inside others, but for maps' entries."""

    def within(descriptors: Any) -> Iterator[Descriptor]:
        for descriptor in descriptors:
            if not descriptor.GetOptions().map_entry:
                yield descriptor
                yield from within(descriptor.nested_types)

    for file in files():
        yield from within(file.message_types_by_name.values())


def filled(descriptor: Descriptor, depth: int = 0) -> Message:
    """Return a message whose every field has a value of its own; of a oneof the last field."""
    message: Message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        kind = field.message_type
        if kind is None:
            _fill_scalar(message, field)
        elif depth < DEPTH_MAX:
            _fill_message(message, field, kind, depth)
    return message


def _fill_scalar(message: Message, field: FieldDescriptor) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend([_scalar(field, 0), _scalar(field, 1)])
    else:
        setattr(message, field.name, _scalar(field, 0))


def _fill_message(message: Message, field: FieldDescriptor, kind: Descriptor, depth: int) -> None:
    place = getattr(message, field.name)
    if kind.GetOptions().map_entry:
        value = kind.fields_by_name["value"]
        if value.message_type is None:
            place[f"{field.name} key"] = _scalar(value, 0)
        else:
            place[f"{field.name} key"].CopyFrom(filled(value.message_type, depth + 1))
    elif field.is_repeated:
        place.add().CopyFrom(filled(kind, depth + 1))
    else:
        place.CopyFrom(filled(kind, depth + 1))


def _scalar(field: FieldDescriptor, place: int) -> object:
    """Return a value that tells which field it is in, and is not the default."""
    number = field.number * 10 + place + 1
    match field.cpp_type:
        case Types.CPPTYPE_BOOL:
            return True
        case Types.CPPTYPE_STRING:
            text = f"{field.name} {number}"
            return text.encode() if field.type == Types.TYPE_BYTES else text
        case Types.CPPTYPE_ENUM:
            assert field.enum_type is not None
            return field.enum_type.values[-1].number
        case Types.CPPTYPE_DOUBLE | Types.CPPTYPE_FLOAT:
            return number + 0.5
        case _:
            return number

"""What a change of the definitions must not do: the rules of `buf breaking` for bytes and names.

A field's number keeps its name, type and cardinality for ever; one that is removed leaves its
number reserved. Messages, enums and their values, services and their methods stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)


def breaking_changes(before: FileDescriptorSet, after: FileDescriptorSet) -> list[str]:
    """Return a sentence for each change that a process of the other release cannot bear."""
    messages, enums, services = _by_name(after)
    old_messages, old_enums, old_services = _by_name(before)
    found = list(_gone(old_messages, messages))
    found += _gone(old_enums, enums)
    found += _gone(old_services, services)
    for name, old in old_messages.items():
        if name in messages:
            found += _message(name, old, messages[name])
    for name, enum in old_enums.items():
        if name in enums:
            found += _enum(name, enum, enums[name])
    for name, service in old_services.items():
        if name in services:
            found += _service(name, service, services[name])
    return found


def _by_name(
    files: FileDescriptorSet,
) -> tuple[
    dict[str, DescriptorProto], dict[str, EnumDescriptorProto], dict[str, ServiceDescriptorProto]
]:
    messages: dict[str, DescriptorProto] = {}
    enums: dict[str, EnumDescriptorProto] = {}
    services: dict[str, ServiceDescriptorProto] = {}

    def take(prefix: str, found: Any) -> None:
        for message in found:
            name = f"{prefix}.{message.name}"
            messages[name] = message
            enums.update({f"{name}.{enum.name}": enum for enum in message.enum_type})
            take(name, message.nested_type)

    for file in files.file:
        take(file.package, file.message_type)
        enums.update({f"{file.package}.{enum.name}": enum for enum in file.enum_type})
        services.update({f"{file.package}.{service.name}": service for service in file.service})
    return messages, enums, services


def _gone(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in before.keys() - after.keys():
        yield f"{name} is gone"


def _message(name: str, before: DescriptorProto, after: DescriptorProto) -> Iterator[str]:
    fields = {field.number: field for field in after.field}
    old_names = {field.name: field.number for field in before.field}
    for old in before.field:
        new = fields.get(old.number)
        place = f"{name}.{old.name} = {old.number}"
        if new is None:
            if not any(r.start <= old.number < r.end for r in after.reserved_range):
                yield f"{place} is gone, and its number is not reserved"
        elif _shape(old, before) != _shape(new, after):
            yield f"{place}: its number is now that of another field, {new.name}"
    for new in after.field:
        if old_names.get(new.name, new.number) != new.number:
            yield f"{name}.{new.name} has moved from {old_names[new.name]} to {new.number}"
        if any(r.start <= new.number < r.end for r in before.reserved_range):
            yield f"{name}.{new.name} = {new.number} takes a number that is reserved"


def _shape(field: FieldDescriptorProto, message: DescriptorProto) -> tuple[object, ...]:
    one_of = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return field.name, field.type, field.label, field.type_name, one_of


def _enum(name: str, before: EnumDescriptorProto, after: EnumDescriptorProto) -> Iterator[str]:
    values = {value.number: value.name for value in after.value}
    for old in before.value:
        if values.get(old.number) != old.name:
            yield f"{name}: {old.number} no longer means {old.name}"


def _service(
    name: str, before: ServiceDescriptorProto, after: ServiceDescriptorProto
) -> Iterator[str]:
    methods = {method.name: method for method in after.method}
    for old in before.method:
        if methods.get(old.name) != old:
            yield f"{name}.{old.name} is gone, or takes, returns or streams something else"

"""Top-level members of a request: JSON types, then the service model's constraints.

AWS checks in this order, and so do all `parse_` functions: JSON types of the whole body, then all
constraints at once ("2 validation errors detected: ..."), then the rules of the operation. To read
a good request only once, the types inside members are checked by the rules' own walk; only when
something is refused are they looked at again on their own (`first_fault`), as a wrong type
anywhere outranks every other fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from model.errors import ModelError, Sentence, ValidationError, invalid
from model.limits import (
    ECHO_LENGTH_MAX,
    TABLE_ARN_LENGTH_MAX,
    TABLE_NAME_LENGTH_MAX,
    TABLE_NAME_LENGTH_MIN,
)
from model.shapes import (
    BOOLEAN,
    INTEGER,
    LIST,
    STRING,
    STRUCTURE,
    check_map,
    check_type,
    wrong_type,
)

Body: TypeAlias = dict[str, object]
"""A request's JSON object."""

_TABLE_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
TABLE_NAME_PATTERN: Final = "[a-zA-Z0-9_.-]+"
_TABLE_ARN: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:dynamodb:[^:/]*:[0-9]*:table/([a-zA-Z0-9_.-]{3,255})"
)
VIOLATIONS_MAX: Final = 10
"""Most violations that one message lists. Source: AWS's messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What may stand in one top-level member of a request."""

    shape: str  # model.shapes
    required: bool = False
    values: Sequence[str] = ()  # of an enum
    value_min: int | None = None
    value_max: int | None = None
    length_min: int | None = None
    length_max: int | None = None
    pattern: str | None = None
    check_inside: Callable[[object], object] | None = None  # raises SerializationFailed
    # Constraints on what is inside, given its path, and the JSON types that it relies on.
    check_outline: Callable[[object], object] | None = None
    violations_inside: Callable[[str, object], list[str]] | None = None
    is_supported: Callable[[object], bool] | None = None  # None: every value is


def string(*values: str) -> Member:
    """Return a string member, or an enum if values are given."""
    return Member(shape=STRING, values=values)


def boolean() -> Member:
    """Return a boolean member."""
    return Member(shape=BOOLEAN)


def integer(value_min: int | None = None, value_max: int | None = None) -> Member:
    """Return an integer member with its range."""
    return Member(shape=INTEGER, value_min=value_min, value_max=value_max)


def structure(check_inside: Callable[[object], object], *, required: bool = False) -> Member:
    """Return a member that is a map or structure."""
    return Member(shape=STRUCTURE, check_inside=check_inside, required=required)


def unsupported(
    shape: str = STRUCTURE, is_supported: Callable[[object], bool] | None = None
) -> Member:
    """Return a member that AWS knows and this server does not, save for harmless values."""
    return Member(shape=shape, is_supported=is_supported or _never)


def is_empty(value: object) -> bool:
    """Whether an unsupported member asks for nothing."""
    return not value


def _never(_: object) -> bool:
    return False


def name_map() -> Member:
    """Return the member ExpressionAttributeNames."""
    return structure(lambda value: check_map(value, STRING))


TABLE_NAME: Final = Member(shape=STRING, required=True)
"""The member TableName: a name or an ARN; see `table_name_of`."""

CONDITIONAL_OPERATOR: Final = string("OR", "AND")
RETURN_CONSUMED_CAPACITY: Final = string("INDEXES", "TOTAL", "NONE")
RETURN_ITEM_COLLECTION_METRICS: Final = string("SIZE", "NONE")
RETURN_VALUES: Final = string("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
RETURN_ON_FAILURE: Final = string("ALL_OLD", "NONE")


def check_members(body: object, members: Mapping[str, Member]) -> Body:
    """Check types, constraints and supportedness of a request's members; return its body.

    Members nobody knows are ignored, as AWS does. Raises SerializationFailed or ValidationError.
    """
    if type(body) is not dict:
        raise wrong_type(body, STRUCTURE)
    violations: list[str] = []
    refused = ""
    for name, value in body.items():
        member = members.get(name)
        if member is None or value is None:
            continue
        check_type(value, member.shape)
        if member.is_supported is not None and not member.is_supported(value):
            refused = refused or name
        if member.violations_inside is not None and member.check_outline is not None:
            member.check_outline(value)
            violations.extend(member.violations_inside(_path(name), value))
        elif member.shape is not STRUCTURE and member is not TABLE_NAME:
            _check_constraints(_path(name), value, member, violations)
    violations.extend(_always_violations(body, members))
    if violations:
        raise first_fault(body, members, constraints_broken(violations))
    if refused:
        raise first_fault(body, members, invalid(Sentence.PARAMETER_UNSUPPORTED, name=refused))
    return body


def _always_violations(body: Body, members: Mapping[str, Member]) -> list[str]:
    """Return the constraints broken by what is absent, and by the table's name."""
    violations = [
        missing(_path(name))
        for name, member in members.items()
        if member.required and body.get(name) is None
    ]
    if members.get("TableName") is TABLE_NAME:
        table_name = body.get("TableName")
        if type(table_name) is str and not _TABLE_NAME.fullmatch(table_name):
            violations.extend(table_name_violations("tableName", table_name))
    return violations


def first_fault(body: Body, members: Mapping[str, Member], fault: ModelError) -> ModelError:
    """Return what AWS would say first of a body with this fault: wrong JSON types come first."""
    if isinstance(fault, ValidationError):
        try:
            for name, value in body.items():
                member = members.get(name)
                if value is not None and member is not None and member.check_inside is not None:
                    member.check_inside(value)
        except ModelError as earlier:
            return earlier
    return fault


def constraints_broken(violations: Sequence[str]) -> ValidationError:
    """Return the error that lists all broken constraints."""
    return invalid(
        Sentence.CONSTRAINTS,
        count=len(violations),
        plural="" if len(violations) == 1 else "s",
        violations="; ".join(violations[:VIOLATIONS_MAX]),
    )


def violation(path: str, value: object, constraint: Sentence, **fields: object) -> str:
    """Return the sentence about one broken constraint."""
    return Sentence.VIOLATION.format(
        value=_echo(value), path=path, constraint=constraint.format(**fields)
    )


def missing(path: str) -> str:
    """Return the sentence about a required member that is absent."""
    return violation(path, None, Sentence.MUST_NOT_BE_NULL)


def _echo(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | dict):  # Java's text of it; only the amount is ever wrong
        return "'[]'" if not value else "'[...]'"
    return f"'{str(value)[:ECHO_LENGTH_MAX]}'"


def member_violations(path: str, value: object, member: Member) -> list[str]:
    """Return the broken constraints of a member inside another; null is checked as absent."""
    if value is None:
        return [missing(path)] if member.required else []
    violations: list[str] = []
    _check_constraints(path, value, member, violations)
    return violations


def _path(name: str) -> str:
    return name[0].lower() + name[1:]


def _check_constraints(path: str, value: object, member: Member, violations: list[str]) -> None:
    if member.values and value not in member.values:
        shown = ", ".join(member.values)
        violations.append(violation(path, value, Sentence.MUST_BE_IN, values=shown))
    if isinstance(value, int) and member.shape is INTEGER:
        if member.value_min is not None and value < member.value_min:
            limit = member.value_min
            violations.append(violation(path, value, Sentence.VALUE_AT_LEAST, limit=limit))
        if member.value_max is not None and value > member.value_max:
            limit = member.value_max
            violations.append(violation(path, value, Sentence.VALUE_AT_MOST, limit=limit))
    if isinstance(value, str | list) and member.shape in {STRING, LIST}:
        violations.extend(length_violations(path, value, member.length_min, member.length_max))
        if member.pattern is not None and not re.fullmatch(member.pattern, str(value)):
            violations.append(violation(path, value, Sentence.MUST_MATCH, pattern=member.pattern))


def length_violations(
    path: str,
    value: str | list[object] | dict[str, object],
    length_min: int | None,
    length_max: int | None,
) -> list[str]:
    """Return the broken length constraints of a value, none or one."""
    if length_min is not None and len(value) < length_min:
        return [violation(path, value, Sentence.LENGTH_AT_LEAST, limit=length_min)]
    if length_max is not None and len(value) > length_max:
        return [violation(path, value, Sentence.LENGTH_AT_MOST, limit=length_max)]
    return []


def table_name_violations(path: str, text: str) -> list[str]:
    """Return the broken constraints of a table's name or ARN."""
    if _TABLE_NAME.fullmatch(text) or table_name_of(text) != text:
        return []
    if len(text) > TABLE_ARN_LENGTH_MAX:
        return length_violations(path, text, None, TABLE_ARN_LENGTH_MAX)
    violations = length_violations(path, text, TABLE_NAME_LENGTH_MIN, TABLE_NAME_LENGTH_MAX)
    if not re.fullmatch(TABLE_NAME_PATTERN, text):
        violations.append(violation(path, text, Sentence.MUST_MATCH, pattern=TABLE_NAME_PATTERN))
    return violations


def table_name_of(text: str) -> str:
    """Return the table's name in a name or an ARN."""
    if text.startswith("arn:") and len(text) <= TABLE_ARN_LENGTH_MAX:
        match = _TABLE_ARN.fullmatch(text)
        if match is not None:
            return match[1]
    return text


def text_of(body: Body, name: str) -> str | None:
    """Return a string member of a checked body."""
    value = body.get(name)
    assert value is None or isinstance(value, str)
    return value


def map_of(body: Body, name: str) -> dict[str, object]:
    """Return a required map member of a checked body."""
    value = body[name]
    assert isinstance(value, dict)
    return value


def optional_map_of(body: Body, name: str) -> dict[str, object] | None:
    """Return a map member of a checked body."""
    value = body.get(name)
    assert value is None or isinstance(value, dict)
    return value

"""Top-level members of a request: JSON types, then the service model's constraints.

AWS checks in this order, and so do all `parse_` functions: JSON types of the whole body, then all
constraints at once ("2 validation errors detected: ..."), then the rules of the operation. To read
a good request only once, the types inside members are checked by the rules' own walk; only when
something is refused are they looked at again on their own (`first_fault`), as a wrong type
anywhere outranks every other fault.

The order of the values of an enum is AWS's own, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from model.errors import ModelError, ValidationError, invalid
from model.limits import (
    ECHO_LENGTH_MAX,
    TABLE_ARN_LENGTH_MAX,
    TABLE_NAME_LENGTH_MAX,
    TABLE_NAME_LENGTH_MIN,
)
from model.sentences import Sentence
from model.shapes import (
    BOOLEAN,
    INTEGER,
    LIST,
    LONG,
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

ECHO_ELEMENTS_MAX: Final = 25
"""Most elements of a list that a message repeats. Ours."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken constraint of the member at a path; without a path the constraint says all."""

    path: str
    value: object
    constraint: str
    is_bound: bool = False  # of a length or a number

    def sentence(self, *, control: bool) -> str:
        """Return what AWS says; about bounds the control plane has another wording."""
        if not self.path:
            return self.constraint
        if not self.is_bound or control:
            return Sentence.VIOLATION.format(
                value=_echo(self.value), path=self.path, constraint=self.constraint
            )
        above, dot, name = self.path.rpartition(".")
        return Sentence.BOUND_VIOLATION.format(
            path=f"{above}{dot}{name[:1].upper()}{name[1:]}", constraint=self.constraint
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What may stand in one top-level member of a request."""

    shape: str  # model.shapes
    required: bool = False
    values: Sequence[str] = ()  # of an enum
    values_must: Sentence | None = None  # what is said of another value, if AWS has its own words
    value_min: int | None = None
    value_max: int | None = None
    length_min: int | None = None
    length_max: int | None = None
    pattern: str | None = None
    is_table_name: bool = False
    alone: bool = False  # what is wrong with it is all that is said
    check_inside: Callable[[object], object] | None = None  # raises SerializationFailed
    # Constraints on what is inside, given its path, and the JSON types that it relies on.
    check_outline: Callable[[object], object] | None = None
    violations_inside: Callable[[str, object], list[Violation]] | None = None
    is_supported: Callable[[object], bool] | None = None  # None: every value is
    is_free: bool = field(init=False)  # any value of the shape will do, for now

    def __post_init__(self) -> None:
        """Note what is asked for every member of every request."""
        bound = self.values or self.pattern or self.is_table_name or self.violations_inside
        limits = (self.value_min, self.value_max, self.length_min, self.length_max)
        is_free = not bound and self.is_supported is None and limits == (None,) * len(limits)
        object.__setattr__(self, "is_free", is_free)


class Members(dict[str, Member]):
    """What a request may have, in the order in which AWS lists what is wrong with it."""

    def __init__(self, members: Mapping[str, Member], *, control: bool = False) -> None:
        """Take the members by name; `control` is for requests of the control plane."""
        super().__init__(members)
        self.control: Final = control
        self.required: Final = tuple(name for name, member in members.items() if member.required)


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


TABLE_NAME: Final = Member(shape=STRING, required=True, is_table_name=True)
"""The member TableName: a name or an ARN; see `table_name_of`."""

TABLE_NAME_ALONE: Final = replace(TABLE_NAME, alone=True)
"""The same, where AWS speaks of nothing else if it is wrong (dynoxide, change log of 0.11.2)."""

CONDITIONAL_OPERATOR: Final = string("OR", "AND")
RETURN_CONSUMED_CAPACITY: Final = string("INDEXES", "TOTAL", "NONE")
RETURN_ITEM_COLLECTION_METRICS: Final = string("SIZE", "NONE")
RETURN_VALUES: Final = replace(
    string("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"),
    values_must=Sentence.RETURN_VALUES_MUST,
)
RETURN_ON_FAILURE: Final = string("ALL_OLD", "NONE")


def check_members(body: object, members: Members) -> Body:
    """Check types, constraints and supportedness of a request's members; return its body.

    Members nobody knows are ignored, as AWS does. Raises SerializationFailed or ValidationError.
    """
    if type(body) is not dict:
        raise wrong_type(body, STRUCTURE)
    violations: dict[str, Sequence[Violation]] = {}
    refused = ""
    for name, value in body.items():
        member = members.get(name)
        if member is None or value is None:
            continue
        check_type(value, member.shape)
        if member.is_free:
            continue
        if member.is_supported is not None and not member.is_supported(value):
            refused = refused or name
        found = _violations_of(name, value, member)
        if found:
            violations[name] = found
    for name in members.required:
        if body.get(name) is None:
            if members.control:
                fault = invalid(Sentence.PARAMETER_MISSING, name=name)
                raise first_fault(body, members, fault)
            violations[name] = (missing(path_of(name)),)
    if violations:
        raise first_fault(body, members, _all_broken(violations, members))
    if refused:
        raise first_fault(body, members, invalid(Sentence.PARAMETER_UNSUPPORTED, name=refused))
    return body


_NONE: Final[Sequence[Violation]] = ()


def _violations_of(name: str, value: object, member: Member) -> Sequence[Violation]:
    """Return the constraints that a member breaks."""
    if member.violations_inside is not None:
        if member.check_outline is not None:
            member.check_outline(value)
        return member.violations_inside(path_of(name), value)
    if member.is_table_name:
        assert isinstance(value, str)
        return _NONE if _TABLE_NAME.fullmatch(value) else table_name_violations("tableName", value)
    return _constraint_violations(path_of(name), value, member)


def _all_broken(violations: Mapping[str, Sequence[Violation]], members: Members) -> ValidationError:
    for name, member in members.items():
        if member.alone and name in violations:
            return _constraints_broken(violations[name][:1], members)
    return _constraints_broken(
        [violation for name in members for violation in violations.get(name, ())], members
    )


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


def _constraints_broken(violations: Sequence[Violation], members: Members) -> ValidationError:
    """Return the error that lists all broken constraints."""
    shown = violations[:VIOLATIONS_MAX]
    return invalid(
        Sentence.CONSTRAINTS,
        count=len(shown),
        plural="" if len(shown) == 1 else "s",
        violations="; ".join(each.sentence(control=members.control) for each in shown),
    )


def violation(path: str, value: object, constraint: Sentence, **fields: object) -> Violation:
    """Return one broken constraint."""
    return Violation(
        path[:ECHO_LENGTH_MAX], value, constraint.format(**fields), constraint in _BOUNDS
    )


_BOUNDS: Final = frozenset(
    {
        Sentence.LENGTH_AT_LEAST,
        Sentence.LENGTH_AT_MOST,
        Sentence.VALUE_AT_LEAST,
        Sentence.VALUE_AT_MOST,
    }
)


def missing(path: str) -> Violation:
    """Return the constraint that an absent required member breaks."""
    return violation(path, None, Sentence.MUST_NOT_BE_NULL)


def _echo(value: object) -> str:
    if value is None:
        return "null"
    return f"'{_java_text(value)[:ECHO_LENGTH_MAX]}'"


def _java_text(value: object) -> str:
    """Return what Java prints for a value; AWS's text of a whole batch cannot be had."""
    if isinstance(value, list):
        return f"[{', '.join(map(_java_text, value[:ECHO_ELEMENTS_MAX]))}]"
    if isinstance(value, dict):
        members = [
            f"{path_of(name)}={str(value.get(name))[:ECHO_LENGTH_MAX]}"
            for name in ("AttributeName", "KeyType")
        ]
        return f"KeySchemaElement({', '.join(members)})" if "KeyType" in value else "{}"
    return str(value)


def member_violations(path: str, value: object, member: Member) -> list[Violation]:
    """Return the broken constraints of a member inside another; null is checked as absent."""
    if value is None:
        return [missing(path)] if member.required else []
    return list(_constraint_violations(path, value, member))


def path_of(name: str) -> str:
    """Return a member's name as AWS's messages have it: `TableName` is `tableName`."""
    return name[0].lower() + name[1:]


def _constraint_violations(path: str, value: object, member: Member) -> Sequence[Violation]:
    if member.values:
        if value in member.values:
            return _NONE
        if member.values_must is not None:
            return [violation("", value, member.values_must)]
        shown = ", ".join(member.values)
        return [violation(path, value, Sentence.MUST_BE_IN, values=shown)]
    violations: list[Violation] = []
    if isinstance(value, int) and member.shape in {INTEGER, LONG}:
        if member.value_min is not None and value < member.value_min:
            limit = member.value_min
            violations.append(violation(path, value, Sentence.VALUE_AT_LEAST, limit=limit))
        if member.value_max is not None and value > member.value_max:
            limit = member.value_max
            violations.append(violation(path, value, Sentence.VALUE_AT_MOST, limit=limit))
    if isinstance(value, str | list) and member.shape in {STRING, LIST}:
        if member.pattern is not None and not re.fullmatch(member.pattern, str(value)):
            violations.append(violation(path, value, Sentence.MUST_MATCH, pattern=member.pattern))
        violations.extend(length_violations(path, value, member.length_min, member.length_max))
    return violations


def length_violations(
    path: str,
    value: str | list[object] | dict[str, object],
    length_min: int | None,
    length_max: int | None,
) -> list[Violation]:
    """Return the broken length constraints of a value, none or one."""
    if length_min is not None and len(value) < length_min:
        return [violation(path, value, Sentence.LENGTH_AT_LEAST, limit=length_min)]
    if length_max is not None and len(value) > length_max:
        return [violation(path, value, Sentence.LENGTH_AT_MOST, limit=length_max)]
    return []


def table_name_violations(path: str, text: str) -> list[Violation]:
    """Return the broken constraints of a table's name or ARN."""
    if is_table_name(text):
        return []
    if not text:
        return length_violations(path, text, 1, None)
    if len(text) > TABLE_ARN_LENGTH_MAX:
        return length_violations(path, text, None, TABLE_ARN_LENGTH_MAX)
    violations: list[Violation] = []
    if not re.fullmatch(TABLE_NAME_PATTERN, text):
        violations.append(violation(path, text, Sentence.MUST_MATCH, pattern=TABLE_NAME_PATTERN))
    return violations + length_violations(path, text, TABLE_NAME_LENGTH_MIN, TABLE_NAME_LENGTH_MAX)


def is_table_name(text: str) -> bool:
    """Whether a text is a table's name or ARN, by its form."""
    return _TABLE_NAME.fullmatch(text) is not None or table_name_of(text) != text


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

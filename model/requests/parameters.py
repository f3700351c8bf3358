"""How a request's parameters go together: expressions, what they refer to, and legacy parameters.

These are the first rules that AWS checks, before any value. Their names are in the order in which
AWS lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from model.errors import invalid
from model.members import Body
from model.sentences import Sentence

NAMES: Final = "ExpressionAttributeNames"
VALUES: Final = "ExpressionAttributeValues"

_WITHOUT_VALUES: Final = "ProjectionExpression"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one operation that must not be mixed freely."""

    expressions: tuple[str, ...]
    legacy: tuple[str, ...]
    writes: bool = False
    taking_values: tuple[str, ...] = field(init=False)
    old: frozenset[str] = field(init=False)  # `legacy`, to be looked at fast
    touchy: frozenset[str] = field(init=False)  # without any of these there is nothing to check

    def __post_init__(self) -> None:
        """Note what follows from the names."""
        taking_values = tuple(name for name in self.expressions if name != _WITHOUT_VALUES)
        object.__setattr__(self, "taking_values", taking_values)
        object.__setattr__(self, "old", frozenset(self.legacy))
        object.__setattr__(self, "touchy", frozenset({*self.legacy, NAMES, VALUES}))


PUT: Final = Parameters(("ConditionExpression",), ("Expected", "ConditionalOperator"), writes=True)
DELETE: Final = PUT
UPDATE: Final = Parameters(
    ("UpdateExpression", "ConditionExpression"),
    ("AttributeUpdates", "Expected", "ConditionalOperator"),
    writes=True,
)
GET: Final = Parameters(("ProjectionExpression",), ("AttributesToGet",))
QUERY: Final = Parameters(
    ("ProjectionExpression", "FilterExpression", "KeyConditionExpression"),
    ("AttributesToGet", "QueryFilter", "ConditionalOperator", "KeyConditions"),
)
SCAN: Final = Parameters(
    ("ProjectionExpression", "FilterExpression"),
    ("AttributesToGet", "ScanFilter", "ConditionalOperator"),
)


def check_together(body: Body, parameters: Parameters) -> None:
    """Raise ValidationError if a request mixes what it must not, or lacks an expression."""
    if parameters.touchy.isdisjoint(body):
        return
    if parameters.old.isdisjoint(body):
        for name in parameters.taking_values:
            if body.get(name) is not None:
                return  # as nearly always: names and values for an expression
    check_all_together((body,), parameters)


def check_all_together(bodies: Sequence[Body], parameters: Parameters) -> None:
    """The same for the tables of a BatchGetItem, which may not be mixed between them either."""
    expressions = _given(bodies, parameters.expressions)
    if expressions:
        legacy = _given(bodies, parameters.legacy)
        # KeyConditions go with the other expressions of a Query, in place of its own.
        if "KeyConditions" in legacy and "KeyConditionExpression" not in expressions:
            legacy.remove("KeyConditions")
        if legacy:
            raise invalid(
                Sentence.MIXED_PARAMETERS,
                legacy=", ".join(legacy),
                expressions=", ".join(expressions),
            )
    for body in bodies:
        if body.get(NAMES) is not None and not _given((body,), parameters.expressions):
            raise invalid(Sentence.NAMES_WITHOUT_EXPRESSION)
        taking = parameters.taking_values
        if taking and body.get(VALUES) is not None and not _given((body,), taking):
            if parameters.writes:
                raise invalid(Sentence.VALUES_WITHOUT_CONDITION)
            verb = "is" if len(taking) == 1 else "are"
            listed = " and ".join(taking)
            raise invalid(Sentence.VALUES_WITHOUT_EXPRESSION, expressions=f"{listed} {verb}")


def _given(bodies: Sequence[Body], names: Sequence[str]) -> list[str]:
    """Return those parameters that any of the bodies has."""
    return [name for name in names if any(body.get(name) is not None for body in bodies)]

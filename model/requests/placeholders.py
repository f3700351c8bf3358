"""ExpressionAttributeNames and ExpressionAttributeValues: what `#n` and `:v` stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from model.errors import invalid
from model.expressions import check_placeholders
from model.limits import SUBSTITUTIONS_BYTES_MAX
from model.members import Body, optional_map_of
from model.requests.parameters import NAMES, VALUES
from model.sentences import Sentence
from model.shapes import STRING, check_map
from model.values import measure_values

Values: TypeAlias = dict[str, dict[str, object]]
"""Attribute values by placeholder."""


@dataclass(slots=True)
class Placeholders:
    """The names and values of one request, checked; None where it has no such member."""

    names: dict[str, str] | None
    values: Values | None


def placeholders_of(body: Body) -> Placeholders:
    """Check and return the names and values that the request's expressions may use.

    Raises SerializationFailed or ValidationError; values are normalised.
    """
    names = _names(optional_map_of(body, NAMES))
    values = optional_map_of(body, VALUES)
    check_placeholders(names, values)
    if values is not None and measure_values(values) > SUBSTITUTIONS_BYTES_MAX:
        raise invalid(Sentence.VALUES_TOO_LARGE, limit=SUBSTITUTIONS_BYTES_MAX)
    return Placeholders(names, _as_values(values))


def _names(given: dict[str, object] | None) -> dict[str, str] | None:
    """Return the names; one that is null counts as empty, which is refused."""
    if given is None:
        return None
    found = check_map(given, STRING)
    return {key: str(found.get(key, "")) for key in given}


def _as_values(values: dict[str, object] | None) -> Values | None:
    """Return measured values with the type that measuring has proved."""
    if values is None:
        return None
    return {key: value for key, value in values.items() if isinstance(value, dict)}

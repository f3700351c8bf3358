"""ExpressionAttributeNames and ExpressionAttributeValues: what `#n` and `:v` stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from model.errors import Sentence, invalid
from model.limits import ECHO_LENGTH_MAX, SUBSTITUTION_LENGTH_MAX, SUBSTITUTIONS_BYTES_MAX
from model.members import Body, optional_map_of
from model.shapes import STRING, check_map
from model.values import measure_values

NAMES: Final = "ExpressionAttributeNames"
VALUES: Final = "ExpressionAttributeValues"

Values: TypeAlias = dict[str, dict[str, object]]
"""Attribute values by placeholder."""

_NAME_KEY: Final = re.compile(r"#[a-zA-Z0-9_]+")
_VALUE_KEY: Final = re.compile(r":[a-zA-Z0-9_]+")


@dataclass(slots=True)
class Placeholders:
    """The names and values of one request, checked; None where it has no such member."""

    names: dict[str, str] | None
    values: Values | None


def placeholders_of(body: Body, texts: Mapping[str, str | None]) -> Placeholders:
    """Check and return the names and values that the request's expressions may use.

    `texts` are all expressions that the operation takes, by parameter, None where absent.
    Raises SerializationFailed or ValidationError; values are normalised.
    """
    names = optional_map_of(body, NAMES)
    values = optional_map_of(body, VALUES)
    if names is None and values is None:
        return Placeholders(None, None)
    _check_needed(names, values, texts)
    found_names: dict[str, str] | None = None
    if names is not None:
        _check_keys(NAMES, names, _NAME_KEY)
        found_names = _name_texts(names)
    if values is not None:
        _check_keys(VALUES, values, _VALUE_KEY)
        if measure_values(values) > SUBSTITUTIONS_BYTES_MAX:
            raise invalid(Sentence.VALUES_TOO_LARGE, limit=SUBSTITUTIONS_BYTES_MAX)
    return Placeholders(found_names, _as_values(values))


def _check_needed(
    names: dict[str, object] | None,
    values: dict[str, object] | None,
    texts: Mapping[str, str | None],
) -> None:
    """Refuse placeholders in a request without an expression that could use them."""
    if names is not None and all(text is None for text in texts.values()):
        raise invalid(Sentence.NAMES_WITHOUT_EXPRESSION)
    takers = [name for name in texts if name != "ProjectionExpression"]
    if values is not None and all(texts[name] is None for name in takers):
        verb = "is" if len(takers) == 1 else "are"
        parameters = f"{' and '.join(takers)} {verb}"
        raise invalid(Sentence.VALUES_WITHOUT_EXPRESSION, parameters=parameters)


def _check_keys(parameter: str, given: dict[str, object], pattern: re.Pattern[str]) -> None:
    if not given:
        raise invalid(Sentence.PLACEHOLDERS_EMPTY, parameter=parameter)
    for key in given:
        if len(key) > SUBSTITUTION_LENGTH_MAX:
            raise invalid(Sentence.PLACEHOLDER_TOO_LONG, parameter=parameter, size=len(key))
        if not pattern.fullmatch(key):
            shown = key[:ECHO_LENGTH_MAX]
            raise invalid(Sentence.PLACEHOLDER_SYNTAX, parameter=parameter, key=shown)


def _name_texts(names: dict[str, object]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, text in check_map(names, STRING).items():
        if not isinstance(text, str) or not text:
            raise invalid(Sentence.NAME_VALUE_EMPTY, key=key)
        texts[key] = text
    return texts


def _as_values(values: dict[str, object] | None) -> Values | None:
    """Return measured values with the type that measuring has proved."""
    if values is None:
        return None
    return {key: value for key, value in values.items() if isinstance(value, dict)}

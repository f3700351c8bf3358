"""Check the `#names` and `:values` a request brings, before any expression is looked at."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from model.errors import ValidationError, invalid
from model.expressions.sentences import (
    NAME_EMPTY,
    PARAMETER_EMPTY,
    PLACEHOLDER_SYNTAX,
    PLACEHOLDER_TOO_LONG,
)
from model.limits import ATTRIBUTE_NAME_BYTES_MAX, ECHO_LENGTH_MAX, SUBSTITUTION_LENGTH_MAX
from model.sentences import Sentence

NAMES: Final = "ExpressionAttributeNames"
VALUES: Final = "ExpressionAttributeValues"

_NAME: Final = re.compile(r"#[A-Za-z0-9_]+")
_VALUE: Final = re.compile(r":[A-Za-z0-9_]+")


def check_placeholders(
    names: Mapping[str, str] | None, values: Mapping[str, object] | None
) -> None:
    """Raise ValidationError if names or values are empty or misspelt.

    The values themselves are checked elsewhere (model.values).
    """
    if names is not None:
        _check_keys(NAMES, names, _NAME)
        for key, name in names.items():
            if not name:
                raise ValidationError(NAME_EMPTY.format(key=key))
            if len(name.encode()) > ATTRIBUTE_NAME_BYTES_MAX:
                raise invalid(Sentence.NAME_TOO_LONG)
    if values is not None:
        _check_keys(VALUES, values, _VALUE)


def _check_keys(parameter: str, given: Iterable[str], pattern: re.Pattern[str]) -> None:
    is_empty = True
    for key in given:
        is_empty = False
        if len(key) > SUBSTITUTION_LENGTH_MAX:
            raise ValidationError(PLACEHOLDER_TOO_LONG.format(parameter=parameter, size=len(key)))
        if pattern.fullmatch(key) is None:
            raise ValidationError(
                PLACEHOLDER_SYNTAX.format(parameter=parameter, key=key[:ECHO_LENGTH_MAX])
            )
    if is_empty:
        raise ValidationError(PARAMETER_EMPTY.format(parameter=parameter))

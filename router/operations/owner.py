"""The part that owners of routed requests share."""

from __future__ import annotations

from collections.abc import Sequence

from model.errors import ModelError
from router.routed import Routed


class RoutedOwner:
    """Answers that an owner does not expect are bugs; it overrides those that it does."""

    __slots__ = ()

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        """Take the answer of a write or get."""
        raise NotImplementedError

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        """Take the answer of a range read."""
        raise NotImplementedError

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Take the error that ended the request."""
        raise NotImplementedError

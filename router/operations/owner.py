"""The part that owners of routed requests share."""

# ruff: noqa: ARG002 - these defaults only say that they are never called

from __future__ import annotations

from collections.abc import Sequence

from model.errors import ModelError
from router.routed import Routed


class RoutedOwner:
    """Answers that an owner does not expect are bugs; it overrides those that it does."""

    __slots__ = ()

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        """Take the answer of a write or get."""
        raise AssertionError(f"{type(self).__name__} sent no write or get")

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        """Take the answer of a range read."""
        raise AssertionError(f"{type(self).__name__} sent no range read")

    def throttled(self, routed: Routed) -> ModelError:
        """Return the error for a partition that is over its capacity."""
        raise AssertionError(f"{type(self).__name__} is not metered")

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Take the error that ended the request."""
        raise AssertionError(f"{type(self).__name__} takes no errors")

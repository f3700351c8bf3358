"""Planted bugs by name, and how one is put into the code and taken out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

Change = tuple[object, str, object]
"""(owner, attribute, what it is instead)."""

Plant = Callable[[], Sequence[Change]]
PLANTS: dict[str, Plant] = {}


def plant(make: Plant) -> Plant:
    """Register a plant under its function's name."""
    PLANTS[make.__name__] = make
    return make


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Change the code for as long as the context lasts; None changes nothing."""
    with ExitStack() as undo:
        for owner, attribute, value in PLANTS[name]() if name else ():
            kept = vars(owner)[attribute]
            undo.callback(setattr, owner, attribute, kept)
            setattr(owner, attribute, value)
        yield

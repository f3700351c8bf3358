"""Exit codes of `quorate node`; process managers may rely on them."""

from __future__ import annotations

from typing import Final

HURRIED_EXIT: Final = 1
"""Told twice to stop, or stopping took too long: leaderships may not have been handed over. Nothing
that was acknowledged is lost by that."""

REFUSED_EXIT: Final = 2
"""Wrong options, or an address that is taken."""

STORAGE_ERROR_EXIT: Final = 3
"""The disk or the log failed."""

IDENTITY_EXIT: Final = 4
"""This directory must not take part: it is empty, old, replaced or not this node's. Another start
changes nothing."""

IN_USE_EXIT: Final = 5
"""Another process holds the directory."""

BUG_EXIT: Final = 70
"""An assertion failed: a bug of ours (sysexits.h, EX_SOFTWARE)."""

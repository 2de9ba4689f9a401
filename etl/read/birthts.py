"""The birth times of `users`: its epoch-ms field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.read.types.epoch_ms import hint_for as _hint_for
from etl.read.types.epoch_ms import read_milliseconds as read_birthts
from etl.read.types.epoch_range import Range, last_millisecond_of, milliseconds_of
from etl.read.types.epoch_range import range_hint as _range_hint

if TYPE_CHECKING:
    from datetime import date

__all__ = [
    "hint_for",
    "last_millisecond_of",
    "milliseconds_of",
    "range_hint",
    "read_birthts",
]


def hint_for(value: str) -> str:
    """How to correct an invalid text."""
    return _hint_for(value, "birthts")


def range_hint(value: str, first: date, today: date) -> str:
    """How to correct a birth time outside the range."""
    return _range_hint(value, Range(first, today, is_birthdate=True), "birthts")

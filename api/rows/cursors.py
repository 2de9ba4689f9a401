"""Texts that identify a row: in `after`, in the Link header and in paths.

A single key is written as it is, the parts of a composite key percent-encoded and joined by commas,
and the place of a row without a key as LINE:KEY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from api.rows.values import WrongValue, parse
from etl.db.dataset_names import PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.rows.shapes import RowShape

_MOST_DIGITS = 10


def text(shape: RowShape, values: Sequence[str]) -> str:
    """The text of the row that these values identify."""
    if shape.identity == PLACE:
        key, line = values
        return f"{line}:{key}"
    if len(values) == 1:
        return values[0]
    return ",".join(quote(one, safe="") for one in values)


def parsed(shape: RowShape, given: str) -> tuple[object, ...]:
    """The values that the text names, with the types of their columns.

    Raises:  WrongValue.
    """
    if shape.identity == PLACE:
        return _place(given)
    if len(shape.identity) == 1:
        return typed(shape, [given])
    return typed(shape, [_decoded(part) for part in given.split(",")])


def of_path(shape: RowShape, raw: str) -> tuple[object, ...]:
    """The values of the key in a percent-encoded path.

    Commas that join the parts of a composite key may be encoded, too, if the parts are encoded
    once more.

    Raises:  WrongValue.
    """
    if len(shape.identity) == 1:
        return typed(shape, [_decoded(raw)])
    parts = raw.split(",")
    if len(parts) == 1:
        parts = _decoded(raw).split(",")
    return typed(shape, [_decoded(part) for part in parts])


def typed(shape: RowShape, parts: Sequence[str]) -> tuple[object, ...]:
    """The values of the columns that identify a row.

    Raises:  WrongValue.
    """
    if len(parts) != len(shape.identity):
        raise WrongValue(
            f"has {len(parts)} parts; the key is {','.join(shape.identity)},"
            " with each part percent-encoded"
        )
    return tuple(
        _typed(shape, name, part) for name, part in zip(shape.identity, parts, strict=True)
    )


def _typed(shape: RowShape, name: str, part: str) -> object:
    try:
        return parse(part, shape.columns[name].type)
    except WrongValue as error:
        raise WrongValue(f"has a wrong part: {name} {error}") from error


def _place(given: str) -> tuple[str, int]:
    line, colon, key = given.partition(":")
    is_line = line.isascii() and line.isdecimal() and len(line) <= _MOST_DIGITS
    if not (colon and key and is_line) or "\0" in key:
        raise WrongValue("must be LINE:KEY, as in the Link header")
    return key, int(line)


def _decoded(part: str) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise WrongValue("is not UTF-8 after percent-decoding") from error

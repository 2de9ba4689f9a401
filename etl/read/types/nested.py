"""JSON texts of nested cells: lists, structs and maps, column by column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.read.types.column import TEXT, mask_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Texts: TypeAlias = Callable[[pa.Array], pa.Array]

_COMMA = ", "
_ESCAPED = r'["\\\x00-\x1f]'


def is_nested(type_: pa.DataType) -> bool:
    """Whether values of the type consist of others."""
    return bool(pa.types.is_nested(type_)) and not pa.types.is_dictionary(type_)


def json_texts(cells: pa.Array, texts_of: Texts) -> pa.Array:
    """The cells as JSON; null where the cell is. `texts_of` gives the texts of other types.

    Numbers and booleans are those of JSON, all others are strings; so are NaN and infinity.
    """
    type_ = cells.type
    if pa.types.is_struct(type_):
        return _of_structs(cells, texts_of)
    if pa.types.is_map(type_):
        return _of_maps(cells, texts_of)
    if is_nested(type_):
        return _of_lists(cells, texts_of)
    texts = texts_of(cells)
    if not _is_bare(type_):
        return json_strings(texts)
    if pa.types.is_floating(type_):
        is_special = mask_of(pc.match_substring_regex(texts, "[NI]").fill_null(fill_value=False))
        if is_special.any():
            return pc.if_else(pa.array(is_special), json_strings(texts), texts)
    return texts


def json_strings(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Texts as JSON strings; null where the text is."""
    needs_escape = pc.match_substring_regex(texts, _ESCAPED)
    if pc.any(needs_escape).as_py():
        found = [None if text is None else quote(text) for text in texts.to_pylist()]
        return pa.array(found, TEXT)
    return _join(_text('"'), texts, _text('"'))


def quote(text: str) -> str:
    """A text as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def place_in_jsonb(name: str) -> tuple[int, bytes]:
    """The order of the names in PostgreSQL's jsonb: shorter ones first."""
    encoded = name.encode()
    return len(encoded), encoded


def _is_bare(type_: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(applies(type_) for applies in kinds)


def _members(cells: pa.Array, texts_of: Texts) -> pa.Array:
    return json_texts(cells, texts_of).fill_null("null")


def _of_structs(cells: pa.Array, texts_of: Texts) -> pa.Array:
    names = [field.name for field in cells.type]
    members = dict(zip(range(len(names)), cells.flatten(), strict=True))
    order = sorted(members, key=lambda place: place_in_jsonb(names[place]))
    parts: list[pa.Array | pa.Scalar] = []
    for place in order:
        before = _COMMA if parts else "{"
        parts += [_text(f"{before}{quote(names[place])}: "), _members(members[place], texts_of)]
    if not parts:
        return _where_valid(cells, pa.repeat(_text("{}"), len(cells)))
    return _where_valid(cells, _join(*parts, _text("}")))


def _of_maps(cells: pa.Array, texts_of: Texts) -> pa.Array:
    keys = json_strings(texts_of(cells.keys))
    entries = _join(keys, _text(": "), _members(cells.items, texts_of))
    return _listed(cells, cells.offsets, entries, "{}")


def _of_lists(cells: pa.Array, texts_of: Texts) -> pa.Array:
    type_ = cells.type
    if not (pa.types.is_list(type_) or pa.types.is_large_list(type_)):
        cells = cells.cast(pa.large_list(type_.value_type))
    return _listed(cells, cells.offsets, _members(cells.values, texts_of), "[]")


def _listed(cells: pa.Array, offsets: pa.Array, members: pa.Array, brackets: str) -> pa.Array:
    ends = offsets.to_numpy().astype(np.int64, copy=False)
    lists = pa.LargeListArray.from_arrays(pa.array(ends), members)
    inner = pc.binary_join(lists, _text(_COMMA))
    return _where_valid(cells, _join(_text(brackets[0]), inner, _text(brackets[1])))


def _where_valid(cells: pa.Array, texts: pa.Array) -> pa.Array:
    if not cells.null_count:
        return texts
    return pc.if_else(cells.is_valid(), texts, pa.scalar(None, TEXT))


def _join(*parts: pa.Array | pa.Scalar) -> pa.Array:
    return pc.binary_join_element_wise(*parts, _text(""))


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, TEXT)

"""The columns of a Parquet file as cells of a block: texts, JSON, or values of a type.

Arrow does not check that texts are UTF-8, so this is done here. Binary columns are read as texts
too, apart from UUIDs.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.values import ProblemCode
from etl.read.types.column import TEXT
from etl.read.types.nested import is_nested, json_texts
from etl.read.types.typed_texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MOST_NESTED_BYTES = 64 << 20  # of JSON that is made at once

_VALUE_BYTES = 24  # of JSON around a value, or of a number
_UUID_BYTES = 16
_NO_FAULTS: Mapping[ProblemCode, NDArray[np.bool_]] = MappingProxyType({})
_UUID_PARTS = (8, 4, 4, 4, 12)
_TYPED = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_duration,
)
_BINARY = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


class Cells(NamedTuple):
    """The cells of a column: large_string, or a type of `texts_of` that is not nested.

    Shapes:  faults, by code (n,): the cells that cannot be read. Those that are not UTF-8 are
             hexadecimal.
    """

    values: pa.Array
    is_json: bool = False
    faults: Mapping[ProblemCode, NDArray[np.bool_]] = _NO_FAULTS


def is_readable(type_: pa.DataType) -> bool:
    """Whether columns of the type can be read."""
    if isinstance(type_, pa.BaseExtensionType):
        return is_readable(type_.storage_type)
    if pa.types.is_dictionary(type_) or _is_list(type_):
        return is_readable(type_.value_type)
    if pa.types.is_struct(type_):
        return all(is_readable(field.type) for field in type_.fields)
    if pa.types.is_map(type_):
        return is_readable(type_.key_type) and is_readable(type_.item_type)
    return any(applies(type_) for applies in (*_TYPED, *_BINARY))


def to_cells(column: pa.Array, *, is_uuid: bool = False) -> Cells:
    """The cells of a column. `is_uuid`: 16 bytes are a UUID even if the file does not say so."""
    type_ = column.type
    if isinstance(type_, pa.BaseExtensionType):
        return to_cells(column.storage, is_uuid=isinstance(type_, pa.UuidType))
    if pa.types.is_dictionary(type_):
        return to_cells(column.dictionary_decode(), is_uuid=is_uuid)
    if is_nested(type_):
        return _nested(column)
    if not _is_binary(type_):
        return Cells(column)
    if is_uuid and pa.types.is_fixed_size_binary(type_) and type_.byte_width == _UUID_BYTES:
        return Cells(_uuids(column))
    return _decoded(column)


def _is_list(type_: pa.DataType) -> bool:
    return any(applies(type_) for applies in _LISTS)


def _is_binary(type_: pa.DataType) -> bool:
    return any(applies(type_) for applies in _BINARY)


def _decoded(column: pa.Array) -> Cells:
    """The texts of bytes that should be UTF-8."""
    texts = column.cast(pa.large_binary()).view(TEXT)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return _partly_decoded(texts.view(pa.large_binary()))
    return Cells(texts)


def _partly_decoded(data: pa.Array) -> Cells:
    found: list[str | None] = []
    undecodable = np.zeros(len(data), np.bool_)
    for row, value in enumerate(data):
        content = value.as_py()
        try:
            found.append(None if content is None else content.decode())
        except UnicodeDecodeError:
            found.append(f"\\x{content.hex()}")
            undecodable[row] = True
    return Cells(pa.array(found, TEXT), faults={ProblemCode.UNDECODABLE: undecodable})


def _uuids(column: pa.Array) -> pa.Array:
    digits = pa.array([None if one is None else one.hex() for one in column.to_pylist()], TEXT)
    ends = np.cumsum(_UUID_PARTS)
    parts = [
        pc.utf8_slice_codeunits(digits, int(end - size), int(end))
        for end, size in zip(ends, _UUID_PARTS, strict=True)
    ]
    return pc.binary_join_element_wise(*parts, pa.scalar("-", TEXT))


def _nested(column: pa.Array) -> Cells:
    """The JSON of nested cells; of those that would need too much memory, nothing."""
    if expanded_bytes(column) <= MOST_NESTED_BYTES:
        return Cells(json_texts(column, _leaf_texts), is_json=True)
    if len(column) == 1:
        too_long = {ProblemCode.CELL_TOO_LONG: np.ones(1, np.bool_)}
        return Cells(pa.array([""], TEXT), is_json=True, faults=too_long)
    half = len(column) // 2
    # Copies, because a slice of nested cells has the values of all.
    places = (np.arange(half), np.arange(half, len(column)))
    first, second = (_nested(column.take(pa.array(some))) for some in places)
    faults = {
        code: np.concatenate(
            [one.faults.get(code, np.zeros(len(one.values), np.bool_)) for one in (first, second)]
        )
        for code in {**first.faults, **second.faults}
    }
    return Cells(pa.concat_arrays([first.values, second.values]), is_json=True, faults=faults)


def expanded_bytes(column: pa.Array) -> int:  # noqa: PLR0911 - one for each kind of type
    """About how many bytes the JSON of nested cells has, at most."""
    type_ = column.type
    if isinstance(type_, pa.BaseExtensionType):
        return expanded_bytes(column.storage)
    if pa.types.is_dictionary(type_):
        if not _is_binary(type_.value_type):
            return len(column) * _VALUE_BYTES
        longest = pc.binary_length(column.dictionary).take(column.indices)
        return (pc.sum(longest).as_py() or 0) + len(column) * _VALUE_BYTES
    if pa.types.is_struct(type_):
        return sum(map(expanded_bytes, column.flatten())) + len(column) * _VALUE_BYTES
    if pa.types.is_map(type_):
        return expanded_bytes(column.keys) + expanded_bytes(column.items)
    if _is_list(type_):
        return expanded_bytes(column.flatten()) + len(column) * _VALUE_BYTES
    size: int = column.nbytes + len(column) * _VALUE_BYTES
    return size


def _leaf_texts(column: pa.Array) -> pa.Array:
    """The texts of the values in nested cells; bytes that are not UTF-8 are hexadecimal."""
    return texts_of(to_cells(column).values)

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
from etl.read.types.documents import MAX_DEPTH
from etl.read.types.nested import is_nested, json_texts
from etl.read.types.typed_texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Cells with more bytes have too many characters in any case; those of JSON are an estimate.
_MOST_TEXT_BYTES, _MOST_JSON_BYTES = 4 << 20, 16 << 20
_MOST_RESERVED_BYTES = 64 << 20
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


def has_texts(type_: pa.DataType) -> bool:
    """Whether the size of cells of the type depends on their values."""
    if isinstance(type_, pa.BaseExtensionType):
        return has_texts(type_.storage_type)
    return bool(pa.types.is_dictionary(type_)) or is_nested(type_) or _is_binary(type_)


def may_be_odd(type_: pa.DataType, depth: int = 0) -> bool:
    """Whether JSON of the type may have a key twice, or too many levels; `depth` is of those above.

    Keys are texts of any type in maps, and names in structs.
    """
    if isinstance(type_, pa.BaseExtensionType):
        return may_be_odd(type_.storage_type, depth)
    if pa.types.is_dictionary(type_):
        return may_be_odd(type_.value_type, depth)
    if not is_nested(type_):
        return False
    if pa.types.is_map(type_) or depth == MAX_DEPTH:
        return True
    if _is_list(type_):
        return may_be_odd(type_.value_type, depth + 1)
    names = {field.name for field in type_.fields}
    return len(names) < type_.num_fields or any(
        may_be_odd(field.type, depth + 1) for field in type_.fields
    )


def to_cells(column: pa.Array, *, is_uuid: bool = False) -> Cells:
    """The cells of a column. `is_uuid`: 16 bytes are a UUID even if the file does not say so."""
    type_ = column.type
    if isinstance(type_, pa.BaseExtensionType):
        return to_cells(column.storage, is_uuid=isinstance(type_, pa.UuidType))
    if pa.types.is_dictionary(type_) or is_nested(type_):
        return _of_codes(column, is_uuid=is_uuid)
    return _expanded(column, is_uuid=is_uuid)


def _expanded(column: pa.Array, *, is_uuid: bool) -> Cells:
    type_ = column.type
    if pa.types.is_dictionary(type_):
        return _expanded(_without_codes(column), is_uuid=is_uuid)
    if is_nested(type_):
        return Cells(json_texts(column, _leaf_texts), is_json=True)
    if not _is_binary(type_):
        return Cells(column)
    if is_uuid and pa.types.is_fixed_size_binary(type_) and type_.byte_width == _UUID_BYTES:
        return Cells(_uuids(column))
    return _decoded(column)


def _without_codes(column: pa.DictionaryArray) -> pa.Array:
    """The values that the codes stand for.

    Arrow reserves their mean length for each cell. With one long text among others, that may be
    more memory than there is.
    """
    dictionary = column.dictionary
    if not _is_binary(dictionary.type) or pa.types.is_fixed_size_binary(dictionary.type):
        return column.dictionary_decode()
    dictionary = dictionary.cast(pa.large_binary())
    lengths = pc.binary_length(dictionary).fill_null(0).to_numpy()
    if lengths.sum() * len(column) <= _MOST_RESERVED_BYTES * len(lengths):
        return column.dictionary_decode()
    codes = column.indices.to_pylist()
    values = {code: None if code is None else dictionary[code].as_py() for code in set(codes)}
    return pa.array([values[code] for code in codes], dictionary.type)


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


def _of_codes(column: pa.Array, *, is_uuid: bool) -> Cells:
    """Cells that may have codes, without those that are too long."""
    is_too_long = are_too_long(column.type, text_bytes_of(column))
    if not is_too_long.any():
        return _expanded(column, is_uuid=is_uuid)
    places = pa.array(np.arange(len(column)), mask=is_too_long)
    # A copy without these cells, which are null.
    found = _expanded(column.take(places), is_uuid=is_uuid)
    return found._replace(faults={**found.faults, ProblemCode.CELL_TOO_LONG: is_too_long})


def are_too_long(type_: pa.DataType, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which cells of the type are too long in any case, by their sizes from `text_bytes_of`."""
    return sizes > (_MOST_JSON_BYTES if is_nested(type_) else _MOST_TEXT_BYTES + _VALUE_BYTES)


def text_bytes_of(column: pa.Array) -> NDArray[np.int64]:
    """About how many bytes the text of each cell has, at most; nested cells may have codes.

    Raises:  ValueError when a code is not in its dictionary.
    """
    type_ = column.type
    if isinstance(type_, pa.BaseExtensionType):
        return text_bytes_of(column.storage)
    if pa.types.is_dictionary(type_):
        return _bytes_of_codes(column)
    if pa.types.is_struct(type_):
        parts = [_each(column), *map(text_bytes_of, column.flatten())]
        together: NDArray[np.int64] = np.sum(parts, axis=0)
        return together
    if pa.types.is_map(type_) or _is_list(type_):
        return _bytes_of_lists(column) + _each(column)
    if not _is_binary(type_):
        return _each(column)
    if not pa.types.is_fixed_size_binary(type_):
        column = column.cast(pa.large_binary())  # views have no lengths in Arrow
    lengths: NDArray[np.int64] = pc.binary_length(column).fill_null(0).to_numpy()
    return _each(column) + lengths


def _bytes_of_codes(column: pa.Array) -> NDArray[np.int64]:
    """As `text_bytes_of`.

    Raises:  ValueError when a code is not in the dictionary, which Arrow does not check.
    """
    count = len(column.dictionary)
    codes = column.indices.cast(pa.int64()).fill_null(count).to_numpy(zero_copy_only=False)
    if codes.min(initial=0) < 0 or codes.max(initial=0) > count:
        raise ValueError("a code is not in its dictionary")
    found: NDArray[np.int64] = np.append(text_bytes_of(column.dictionary), 0)[codes]
    return found


def _each(column: pa.Array) -> NDArray[np.int64]:
    """The bytes around a value, or of a number."""
    return np.full(len(column), _VALUE_BYTES, np.int64)


def _bytes_of_lists(column: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_map(column.type):
        parts = [column.keys, column.items]
    else:
        if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
            column = column.cast(pa.large_list(column.type.value_type))
        parts = [column.values]
    ends = column.offsets.to_numpy().astype(np.int64, copy=False)
    found: NDArray[np.int64] = np.sum([_sums(part, ends) for part in parts], axis=0)
    return found


def _sums(elements: pa.Array, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bytes of the elements between each end and the next one."""
    if not has_texts(elements.type):  # one row may have millions
        return np.diff(ends) * _VALUE_BYTES
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(text_bytes_of(elements))])
    found: NDArray[np.int64] = sums[ends[1:]] - sums[ends[:-1]]
    return found


def _leaf_texts(column: pa.Array) -> pa.Array:
    """The texts of the values in nested cells; bytes that are not UTF-8 are hexadecimal."""
    return texts_of(to_cells(column).values)

"""Turn blocks of cells into a table with the columns of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.keys import user_id_of
from etl.model.routing import path_values
from etl.read.columns import EXTRA, SOURCE_KEY, SOURCE_LINE
from etl.read.types.nested import json_strings, json_texts, place_in_jsonb, quote
from etl.read.types.typed_texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.read.rows.collect import Block
    from etl.read.rows.layout import Layout

_TEXT = pa.large_string()
_FILE = "_file"
_COMMA = ", "


class Tables:
    """Makes tables of the rows of some objects; a block names an object by its index."""

    def __init__(self, keys: Sequence[str], layout: Layout) -> None:
        self._keys = pa.array(keys, _TEXT)
        self._layout = layout
        self._of_object = self._values_of_objects(keys)

    def joined(self, blocks: Sequence[Block]) -> pa.Table:
        """The rows in the order of the objects and their lines.

        Shapes:  _source_key, _source_line (int64), the columns of the layout, the added columns
                 of these blocks, _extra; null where the object has no such cell. All are texts,
                 but columns of the layout have the types of the blocks.
        """
        tables = [self._empty(), *map(self._table, blocks)]
        rows = _in_order(pa.concat_tables(tables, promote_options="default"))
        added = rows.column_names[len(self._empty().column_names) :]
        rows = rows.select([SOURCE_KEY, SOURCE_LINE, *self._layout.columns, *added, EXTRA])
        for place, column in enumerate(rows.columns):
            if pa.types.is_null(column.type):
                rows = rows.set_column(place, rows.column_names[place], column.cast(_TEXT))
        return rows

    def _values_of_objects(self, keys: Sequence[str]) -> dict[str, pa.Array]:
        """The columns whose value is the same in all rows of an object: one value for each."""
        dataset = self._layout.dataset
        values: dict[str, pa.Array] = {}
        if dataset.id_from_name is not None:
            values[dataset.id_from_name] = pa.array(map(user_id_of, keys), _TEXT)
        if self._layout.path:
            found = [path_values(dataset, key) for key in keys]
            for name in self._layout.path:
                values[name] = pa.array([one[name] for one in found], _TEXT)
        return values

    def _table(self, block: Block) -> pa.Table:
        files = pa.array(block.file)
        cells = dict(zip(block.header.columns, block.cells, strict=True))
        values = {
            _FILE: files,
            SOURCE_KEY: self._keys.take(files),
            SOURCE_LINE: block.line,
            **{name: self._column(name, cells, files) for name in self._layout.columns},
            EXTRA: _extra(block),
        }
        for name, added in block.header.added:
            values[added] = _null_if_blank(_texts(cells[name]))
        return pa.table(values)

    def _column(
        self, name: str, cells: dict[str, pa.ChunkedArray], files: pa.Array
    ) -> pa.ChunkedArray | pa.Array:
        if name in cells and name not in self._layout.path:
            return cells[name]
        if name in self._of_object:
            return self._of_object[name].take(files)
        return pa.nulls(len(files))

    def _empty(self) -> pa.Table:
        """No rows; the columns of the layout take the types of any others."""
        types = {_FILE: pa.int64(), SOURCE_KEY: _TEXT, SOURCE_LINE: pa.int64(), EXTRA: _TEXT}
        order = (_FILE, SOURCE_KEY, SOURCE_LINE, *self._layout.columns, EXTRA)
        return pa.schema([(name, types.get(name, pa.null())) for name in order]).empty_table()


def _texts(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    if cells.type == _TEXT:
        return cells
    return pa.chunked_array([texts_of(chunk) for chunk in cells.chunks], _TEXT)


def _null_if_blank(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(_is_blank(cells), pa.scalar(None, _TEXT), cells)


def _extra(block: Block) -> pa.Array | pa.ChunkedArray:
    """A JSON object of the nonblank cells of the columns that have no other place, or null.

    Its text is that of PostgreSQL's jsonb, which orders shorter names first.
    """
    if block.extra is not None:
        return block.extra
    header = block.header
    placed = {*header.layout.columns, *dict(header.added)}
    others = {
        name: _as_json(cells, is_json=name in block.json)
        for name, cells in zip(header.columns, block.cells, strict=True)
        if name not in placed
    }
    members = [_json_members(name, others[name]) for name in sorted(others, key=place_in_jsonb)]
    if not members:
        return pa.nulls(len(block.line), _TEXT)
    # null_handling="skip" would be simpler, but Arrow drops all-null rows with it.
    listed = pc.binary_join_element_wise(*members, _text(""))
    inner = pc.utf8_slice_codeunits(listed, len(_COMMA))
    objects = pc.binary_join_element_wise(_text("{"), inner, _text("}"), _text(""))
    return pc.if_else(_is_blank(listed), pa.scalar(None, _TEXT), objects)


def _as_json(cells: pa.ChunkedArray, *, is_json: bool) -> pa.ChunkedArray:
    """The cells as JSON, blank texts as empty ones."""
    if cells.type != _TEXT:
        chunks = [json_texts(chunk, texts_of) for chunk in cells.chunks]
        return pa.chunked_array(chunks, _TEXT)
    if is_json:
        return cells
    return pc.if_else(_is_blank(cells), cells, json_strings(cells))


def _json_members(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """`, "name": cell` for every cell, or an empty text if it is blank."""
    if cells.null_count:
        cells = cells.fill_null("")
    prefix = _text(f"{_COMMA}{quote(name)}: ")
    members = pc.binary_join_element_wise(prefix, cells, _text(""))
    return pc.if_else(_is_blank(cells), _text(""), members)


def _is_blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.equal(pc.binary_length(texts), 0)


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, _TEXT)


def _in_order(table: pa.Table) -> pa.Table:
    file, line = table[_FILE].to_numpy(), table[SOURCE_LINE].to_numpy()
    if (np.diff(file) >= 0).all() and ((np.diff(line) > 0) | (np.diff(file) > 0)).all():
        return table
    return table.take(pa.array(np.lexsort((line, file))))

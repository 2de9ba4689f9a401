"""Reject the rows that PostgreSQL cannot store: a NUL in a cell, too long a cell, odd JSON.

Only texts can be any of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from etl.model.values import ProblemCode
from etl.read.arrow import is_text, to_mask
from etl.read.types.documents import MAX_DEPTH, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from etl.read.rows.collect import Block, Collector
    from etl.read.rows.layout import Layout

MOST_ROW_BYTES = 100 << 20  # of all cells; PostgreSQL stores at most 256 MB as one JSON object

_ESCAPED_NUL = r"(?:^|[^\\])(?:\\\\)*\\u0000"
_JSON_HINT = (
    "The value has a key twice in one object, or is nested deeper than "
    f"{MAX_DEPTH} levels, so it cannot be stored as jsonb."
    " Correct it, or declare the column as a string to keep it as text."
)
_NUL_HINT = "Remove the NUL character from the cell; PostgreSQL cannot store it."


def storable(block: Block, collector: Collector) -> Block:
    """The block without rows that PostgreSQL cannot store; problems are added for these."""
    layout = block.header.layout
    is_checked = _are_sizes_checked(block, layout)
    rejected: NDArray[np.bool_] = np.zeros(len(block.line), dtype=np.bool_)
    if block.most_bytes is None:
        for place in _texts(block):
            has_nul = _has_nul(block, place)
            if has_nul.any():
                collector.add_cell_problems(block, place, has_nul, ProblemCode.NUL_BYTE, _NUL_HINT)
                rejected |= has_nul
    if not is_checked:
        rejected |= _reject_long_cells(block, ~rejected, collector)
        rejected |= _reject_long_rows(block, ~rejected, collector)
    if block.unsure:
        rejected |= _reject_odd_json(block, ~rejected, collector)
    return collector.reject_rows(block, rejected) if rejected.any() else block


def _texts(block: Block) -> Iterator[int]:
    """The places of the columns of texts."""
    return (place for place, cells in enumerate(block.cells) if is_text(cells))


def _has_nul(block: Block, place: int) -> NDArray[np.bool_]:
    """Which cells have a NUL; that of JSON, which is escaped, is one in _extra only."""
    name, cells = block.header.columns[place], block.cells[place]
    has_nul = pc.match_substring(cells, "\0")
    if name in block.json and _is_in_extra(name, block):
        has_nul = pc.or_(has_nul, pc.match_substring_regex(cells, _ESCAPED_NUL))
    return to_mask(has_nul.fill_null(fill_value=False))


def _is_in_extra(name: str, block: Block) -> bool:
    return name not in {*block.header.layout.columns, *dict(block.header.added)}


def _are_sizes_checked(block: Block, layout: Layout) -> bool:
    """Whether it is known that no cell is too long."""
    least = min([layout.most_characters, *layout.most_bytes.values()])
    return block.most_bytes is not None and block.most_bytes <= least


def _reject_long_cells(
    block: Block, others: NDArray[np.bool_], collector: Collector
) -> NDArray[np.bool_]:
    """The other rows with a cell that is too long; problems are added for these."""
    rejected: NDArray[np.bool_] = np.zeros(len(others), dtype=np.bool_)
    layout = block.header.layout
    hint = _length_hint(layout)
    for place in _texts(block):
        name = block.header.columns[place]
        is_too_long = _is_too_long(block.cells[place], name, layout) & others
        if is_too_long.any():
            code = ProblemCode.CELL_TOO_LONG
            collector.add_cell_problems(block, place, is_too_long, code, hint)
            rejected |= is_too_long
    return rejected


def _is_too_long(cells: pa.ChunkedArray, name: str, layout: Layout) -> NDArray[np.bool_]:
    size = pc.binary_length(cells)
    is_too_long = pc.greater(size, layout.most_characters)
    if pc.any(is_too_long).as_py():  # by bytes; counting characters is slower
        is_too_long = pc.greater(pc.utf8_length(cells), layout.most_characters)
    if name in layout.most_bytes:
        is_too_long = pc.or_(is_too_long, pc.greater(size, layout.most_bytes[name]))
    return to_mask(is_too_long.fill_null(fill_value=False))


def _reject_long_rows(
    block: Block, others: NDArray[np.bool_], collector: Collector
) -> NDArray[np.bool_]:
    """The other rows whose cells are too long together; a problem is added for each."""
    sizes = {
        place: pc.binary_length(block.cells[place]).fill_null(0).to_numpy()
        for place in _texts(block)
    }
    total = sum(sizes.values(), np.zeros(len(others), np.int64))
    is_too_long: NDArray[np.bool_] = others & (total > MOST_ROW_BYTES)
    if is_too_long.any():
        longest = max(sizes, key=lambda place: sizes[place][is_too_long].max())
        code = ProblemCode.CELL_TOO_LONG
        hint = f"Shorten the cells of the row to {MOST_ROW_BYTES:,} bytes together."
        collector.add_cell_problems(block, longest, is_too_long, code, hint)
    return is_too_long


def _reject_odd_json(
    block: Block, others: NDArray[np.bool_], collector: Collector
) -> NDArray[np.bool_]:
    """The other rows with JSON in _extra that jsonb would change; problems are added for these.

    That of declared fields is checked with their type.
    """
    rejected: NDArray[np.bool_] = np.zeros(len(others), dtype=np.bool_)
    for place, name in enumerate(block.header.columns):
        if name not in block.unsure or not _is_in_extra(name, block):
            continue
        texts = block.cells[place].to_pylist()
        is_odd = np.array([text is not None and not _is_storable(text) for text in texts], np.bool_)
        is_odd &= others
        if is_odd.any():
            collector.add_cell_problems(block, place, is_odd, ProblemCode.NOT_JSON, _JSON_HINT)
            rejected |= is_odd
    return rejected


def _is_storable(text: str) -> bool:
    try:
        load(text)
    except ValueError:
        return False
    return True


def _length_hint(layout: Layout) -> str:
    limits = "".join(f", or a {name} to {most:,} bytes" for name, most in layout.most_bytes.items())
    return (
        f"Shorten the cell to {layout.most_characters:,} characters{limits}. "
        "If rows ran together, add the missing line ending."
    )

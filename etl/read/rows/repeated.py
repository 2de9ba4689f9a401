"""Find the rows that repeat the header of their file.

Files that were concatenated have such rows. Comparing every row would take too long, so they are
searched in one column, first by the length of its cells and their first letter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import FieldType
from etl.read.arrow import strip, to_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from etl.read.rows.header import FileHeader

# Letters that casefold() turns into several, the first of which is f or s.
_LIGATURES = {"f": "\ufb00-\ufb04", "s": "\xdf\u1e9e\ufb05\ufb06"}
_MOST_BYTES = 4  # of a character in UTF-8


def repeated_headers(header: FileHeader, cells: Sequence[pa.ChunkedArray]) -> list[int]:
    """The indexes of the rows that repeat the header, ignoring case and surrounding space."""
    if header.is_cut:
        return []
    place, names = _mark(header)
    mark = cells[place]
    if header.columns[place] in header.layout.untrimmed:
        mark = strip(mark)
    where = _candidates(mark, names)
    if not len(where):
        return []
    texts = mark.take(pa.array(where))
    alike = [text for text in pc.unique(texts).to_pylist() if text.casefold() in names]
    if not alike:
        return []
    where = where[to_mask(pc.is_in(texts, pa.array(alike, texts.type)))]
    columns = [column.take(pa.array(where)).to_pylist() for column in cells]
    rows = ([(cell or "").strip() for cell in row] for row in zip(*columns, strict=True))
    found = zip(where.tolist(), rows, strict=True)
    return [index for index, row in found if header.is_repeated(row)]


def _mark(header: FileHeader) -> tuple[int, frozenset[str]]:
    """The column to search, and its names in folded case.

    A declared column, if there is one; rather not one of texts, which may look like names.
    """
    layout = header.layout
    types = {one.name: one.type for one in layout.dataset.fields}
    ranks = [
        (name in types and types[name] is not FieldType.STRING, name in types)
        for name in header.columns
    ]
    place = ranks.index(max(ranks))
    name = header.columns[place]
    spelled = {written for written, column in layout.names.items() if column == name}
    blank = {""} if name == f"column_{place + 1}" else set()
    return place, frozenset({name.casefold(), *spelled, *blank})


def _candidates(cells: pa.ChunkedArray, names: frozenset[str]) -> NDArray[np.int64]:
    """The indexes of the cells that may be one of the names."""
    sizes: NDArray[np.int64] = pc.binary_length(cells).fill_null(-1).to_numpy()
    is_candidate = np.zeros(len(sizes), dtype=np.bool_)
    for name in names:
        least, most = _sizes(name)
        is_candidate |= (sizes >= least) & (sizes <= most)
    where: NDArray[np.int64] = np.flatnonzero(is_candidate)
    pattern = _first_letters(names)
    if not len(where) or pattern is None:
        return where
    return where[to_mask(pc.match_substring_regex(cells.take(pa.array(where)), pattern))]


def _sizes(name: str) -> tuple[int, int]:
    """The least and the greatest number of bytes of the texts that casefold() turns into a name.

    Letters of two or three bytes become s, k, or begin with f or s.
    """
    if not name.isascii():
        return 1, _MOST_BYTES * len(name)
    return len(name), len(name) + name.count("s") + 2 * name.count("k") + name.count("f")


def _first_letters(names: frozenset[str]) -> str | None:
    """A pattern for the first letter of the names in any case; None if it could be any letter."""
    if not all(name and name.isascii() for name in names):
        return None
    letters = sorted({name[0] for name in names})
    return "|".join(
        f"^(?i:{re.escape(one)})" + (f"|^[{_LIGATURES[one]}]" if one in _LIGATURES else "")
        for one in letters
    )

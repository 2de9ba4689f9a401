"""Read small files as one block, so that thousands of them cost as much as a large one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etl.model.errors import RefusedObject
from etl.read.json.members import cutter_of
from etl.read.json.objects import SPACE
from etl.read.json.rows import RowReader, TypedRows
from etl.read.json.typed import ObjectBlock, element_block, line_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from etl.read.json.columns import Columns

MOST_BYTES = 1 << 16  # of a small file
_FIRST = np.ones(1, np.int64)
_MOST_SPLITS = 40  # of groups that cannot be read as one block


class _SmallFile(NamedTuple):
    """The index of a file, and its rows."""

    file: int
    block: ObjectBlock


class JoinedFiles(NamedTuple):
    """The rows of some files.

    Shapes:  file (n,): the index of the file of each row.
    """

    file: NDArray[np.int64]
    rows: TypedRows


def small_block(content: bytes, member: str | None, *, is_lines: bool) -> ObjectBlock | None:
    """The rows of a whole file, or of its member, as a block; None if they cannot be one."""
    if is_lines:
        content = content.rstrip(SPACE)
        if b"\n" in content or b"\r" in content:
            return line_block(content, 1)
    content = content.strip(SPACE)
    is_object = content.startswith(b"{") and content.endswith(b"}")
    if is_object and (is_lines or member is None):
        return ObjectBlock(content, _FIRST, content, len(content))
    is_array = content.startswith(b"[") and content.endswith(b"]")
    if is_lines or not (is_object or is_array):
        return None
    cutter = cutter_of(member)
    try:
        elements = cutter.take(content)
        cutter.finish()
    except RefusedObject:
        return None
    return element_block(elements.found)


def read_joined(blocks: Mapping[int, ObjectBlock], columns: Columns) -> Iterator[JoinedFiles]:
    """The rows of small files by their index; those that must be read otherwise are left out.

    A group that cannot be read is halved until the file at fault is alone.
    """
    groups: list[Sequence[_SmallFile]] = [[_SmallFile(*item) for item in blocks.items()]]
    splits = 0
    while groups:
        group = groups.pop()
        rows = _read_group(group, columns) if group else None
        if rows is not None:
            sizes = [len(one.block.numbers) for one in group]
            yield JoinedFiles(np.repeat([one.file for one in group], sizes), rows)
        elif len(group) > 1 and splits < _MOST_SPLITS:
            splits += 1
            middle = len(group) // 2
            groups += [group[middle:], group[:middle]]


def _read_group(group: Sequence[_SmallFile], columns: Columns) -> TypedRows | None:
    blocks = [one.block for one in group]
    joined = ObjectBlock(
        b"\n".join(one.content for one in blocks),
        np.concatenate([one.numbers for one in blocks]),
        blocks[0].first,
        max(one.most_bytes for one in blocks),
    )
    try:
        found = RowReader(columns).read_block(joined)
    except RefusedObject:
        return None
    if found is None or found.typed is None or found.typed.cells.keys() != {*columns.declared}:
        return None
    sizes = [len(one.numbers) for one in blocks]
    return found.typed if _are_usual(found.typed, sizes, columns) else None


def _are_usual(rows: TypedRows, sizes: Sequence[int], columns: Columns) -> bool:
    """Whether no file has a problem as a whole: none of its rows has what it needs."""
    starts = np.cumsum([0, *sizes[:-1]])
    layout = columns.layout
    filled = {name: rows.cells[name].is_valid().to_numpy() for name in layout.expected}
    needed = [np.logical_or.reduce([*filled.values()])] if filled else []
    if layout.dataset.prefer in filled:
        needed.append(filled[layout.dataset.prefer])
    return all(np.logical_or.reduceat(mask, starts).all() for mask in needed)

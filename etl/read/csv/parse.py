"""Parse user CSVs into text cells, with the key and line of every row.

The fast path joins plain files that share a header, so thousands of tiny files cost as much as
one large file. All others go through the full parser, file by file. Only the structure is checked:
the encoding, the header, the number of cells, and cells that PostgreSQL cannot store.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.keys import user_id_of
from etl.model.values import Problem, ProblemCode, Severity, SourceFile, SourceObject
from etl.read.arrow import to_mask
from etl.read.csv.collect import Block, Collector, ParsedRecord
from etl.read.csv.dialect import KNOWN, REQUIRED, Dialect, HeaderFault, read_header
from etl.read.csv.encoding import Decoded, decode
from etl.read.csv.plain import as_plain, read_plain
from etl.read.csv.records import RecordReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

LONGEST_CELL_CHARACTERS = 10_000
LONGEST_USER_ID_BYTES = 1_024

_TEXT = pa.large_string()
_COMMA = ", "


@dataclass(frozen=True)
class Extract:
    """The rows and problems of a batch of files.

    Shapes:  rows (n, 7): key, line (int64, from 1), user_id, first_name, last_name, birthts
             (text, stripped), extra (JSON object of the nonblank cells of unknown columns, or
             <NA>); in the order of the files and of their lines.
             problems: sorted by key, line, column and code; at least the first 1,000 row
             problems of each object. more: by key, how many of each code are left out.
             rows_read: by key, the number of data rows, including rejected ones.
             rows_rejected: by key, the number of rejected rows, if any.
             of_one_user: keys of files with several rows and no user_id column.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    rows_read: dict[str, int]
    rows_rejected: dict[str, int] = field(default_factory=dict)
    more: dict[str, Counter[ProblemCode]] = field(default_factory=dict)
    of_one_user: frozenset[str] = frozenset()


def parse(files: Sequence[SourceFile]) -> Extract:
    """Parse user CSVs into text cells. Faults are returned as problems, not raised."""
    collector = Collector([file.source for file in files])
    by_header: dict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
    for index, file in enumerate(files):
        plain = as_plain(file.content)
        if plain is None:
            _parse_fully(index, file, collector)
        else:
            by_header[plain.header].append((index, plain.body))
    for header, members in by_header.items():
        _parse_joined(header, members, files, collector)
    return _whole_extract(files, collector)


def parse_fully(files: Sequence[SourceFile]) -> Extract:
    """As `parse`, but only with the full parser: slower, and the reference for the fast path."""
    collector = Collector([file.source for file in files])
    for index, file in enumerate(files):
        _parse_fully(index, file, collector)
    return _whole_extract(files, collector)


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by key, line (those of the whole object first), column and code."""
    return sorted(problems, key=lambda p: (p.key, p.line or 0, p.column or "", p.code))


def _parse_joined(
    header: bytes,
    members: Sequence[tuple[int, bytes]],
    files: Sequence[SourceFile],
    collector: Collector,
) -> None:
    line = header.decode()
    dialect = read_header(line)
    usable = [
        (index, body)
        for index, body in members
        if accept_header(index, files[index].source.key, line, dialect, collector)
    ]
    if usable and isinstance(dialect, Dialect):
        indexes, bodies = zip(*usable, strict=True)
        read_plain(indexes, bodies, dialect, collector)


def _parse_fully(index: int, file: SourceFile, collector: Collector) -> None:
    decoded = decode(file.content)
    if decoded is None:
        add_undecodable(index, collector)
        return
    first = header_line(decoded.lines)
    if first is None:
        add_empty_file(index, collector)
    elif first + 1 in decoded.undecodable:
        add_undecodable(index, collector)
    else:
        _parse_lines(index, file.source.key, decoded, first, collector)


def _parse_lines(index: int, key: str, decoded: Decoded, first: int, collector: Collector) -> None:
    header = decoded.lines[first].rstrip("\r\n")
    dialect = accept_header(index, key, header, read_header(header), collector)
    if dialect is not None:
        add_guessed_lines(index, decoded, collector)
        records = RecordReader(decoded.lines, first + 1, dialect)
        found = as_records(index, decoded, records)
        collector.add_records(dialect.columns, found)


def header_line(lines: Sequence[str]) -> int | None:
    """The index of the first line that is not blank."""
    return next((index for index, line in enumerate(lines) if line.strip()), None)


def as_records(
    index: int, decoded: Decoded, records: RecordReader, first_line: int = 1
) -> Iterator[ParsedRecord]:
    """The records of these lines of a file; `first_line` is the number of the first one in it."""
    undecodable = decoded.undecodable
    for start, cells in records:
        raw, is_decodable = decoded.lines[start], True
        if undecodable:
            at = bisect_right(undecodable, start)  # these numbers count from 1
            is_decodable = at == len(undecodable) or undecodable[at] > records.next_line
            if not is_decodable and undecodable[at] == start + 1:
                # Such a line has one character per byte; show the bytes that are not UTF-8.
                raw = raw.encode("latin-1").decode("utf-8", "backslashreplace")
        yield ParsedRecord(index, start + first_line, raw, cells, is_decodable)


def add_guessed_lines(
    index: int, decoded: Decoded, collector: Collector, first_line: int = 1
) -> None:
    """Add a notice of the lines that were read as cp1252."""
    if decoded.guessed:
        numbers = [number - 1 + first_line for number in decoded.guessed]
        first = decoded.lines[decoded.guessed[0] - 1]
        collector.notices.add(index, ProblemCode.GUESSED_ENCODING, numbers, first)


def accept_header(
    index: int, key: str, header: str, dialect: Dialect | HeaderFault, collector: Collector
) -> Dialect | None:
    """The dialect if a file with this key can use it; otherwise add a problem."""
    if isinstance(dialect, HeaderFault):
        collector.add_object_problem(index, dialect.code, dialect.hint, header)
        return None
    if "user_id" not in dialect.columns and not user_id_of(key):
        collector.add_object_problem(
            index,
            ProblemCode.MISSING_COLUMN,
            "The file has no user_id column, and its name contains no user_id. "
            "Add the column, or rename the file to <user_id>.csv.",
            header,
        )
        return None
    if "user_id" not in dialect.columns:
        collector.without_id.add(index)
    return dialect


def add_empty_file(index: int, collector: Collector) -> None:
    """Add the problem of a file without text."""
    collector.add_object_problem(
        index,
        ProblemCode.EMPTY_FILE,
        "The file is empty. Upload it again, or remove it from the bucket.",
    )


def add_undecodable(index: int, collector: Collector) -> None:
    """Add the problem of a file that no encoding fits."""
    collector.add_object_problem(
        index,
        ProblemCode.UNDECODABLE,
        "The file is not UTF-8, UTF-16 or cp1252 text. Save it as UTF-8.",
    )


def add_no_rows(index: int, collector: Collector) -> None:
    """Add the warning of a file with a valid header and no rows."""
    collector.add_object_problem(
        index,
        ProblemCode.NO_ROWS,
        "The file has a header but no rows. Add rows, or remove the file from the bucket.",
        severity=Severity.WARNING,
    )


def _whole_extract(files: Sequence[SourceFile], collector: Collector) -> Extract:
    sources = [file.source for file in files]
    collector.blocks()  # counts the last rows
    _add_files_without_rows(sources, collector)
    collector.add_warnings()
    return to_extract(sources, collector)


def to_extract(sources: Sequence[SourceObject], collector: Collector) -> Extract:
    """The collector's rows and problems of these objects."""
    keys = [source.key for source in sources]
    key_cells, user_ids = pa.array(keys, _TEXT), pa.array(map(user_id_of, keys), _TEXT)
    tables = [
        _table(_storable(block, collector), key_cells, user_ids) for block in collector.blocks()
    ]
    rows = _in_order(pa.concat_tables([_empty_table(), *tables])).drop_columns("file")
    rejected = collector.rows_rejected
    return Extract(
        rows=rows.to_pandas(types_mapper={_TEXT: pd.StringDtype("pyarrow")}.get),
        problems=sort_problems(collector.problems),
        rows_read=dict(zip(keys, collector.rows_read, strict=True)),
        rows_rejected={key: count for key, count in zip(keys, rejected, strict=True) if count},
        more={keys[index]: counted for index, counted in collector.more.items()},
        of_one_user=frozenset(
            keys[index] for index in collector.without_id if collector.rows_read[index] > 1
        ),
    )


def _add_files_without_rows(sources: Sequence[SourceObject], collector: Collector) -> None:
    rejected = {
        problem.key
        for problem in collector.problems
        if problem.line is None and problem.severity is Severity.ERROR
    }
    for index, source in enumerate(sources):
        if collector.rows_read[index] == 0 and source.key not in rejected:
            add_no_rows(index, collector)


def _storable(block: Block, collector: Collector) -> Block:
    """The block without rows that PostgreSQL cannot store; problems are added for these."""
    rejected: NDArray[np.bool_] = np.zeros(len(block.line), dtype=np.bool_)
    for code, find in ((ProblemCode.NUL_BYTE, _has_nul), (ProblemCode.CELL_TOO_LONG, _is_too_long)):
        others = ~rejected  # a row with a NUL is not also reported as too long
        for index, column in enumerate(block.columns):
            faulty = find(column, block.cells[index]) & others
            if faulty.any():
                collector.add_cell_problems(block, index, faulty, code, _CELL_HINTS[code])
                rejected |= faulty
    return collector.reject_rows(block, rejected) if rejected.any() else block


def _has_nul(_column: str, cells: pa.ChunkedArray) -> NDArray[np.bool_]:
    return to_mask(pc.match_substring(cells, "\0"))


def _is_too_long(column: str, cells: pa.ChunkedArray) -> NDArray[np.bool_]:
    size = pc.binary_length(cells)
    is_too_long = pc.greater(size, LONGEST_CELL_CHARACTERS)
    if pc.any(is_too_long).as_py():  # by bytes; counting characters is slower
        is_too_long = pc.greater(pc.utf8_length(cells), LONGEST_CELL_CHARACTERS)
    if column == "user_id":
        is_too_long = pc.or_(is_too_long, pc.greater(size, LONGEST_USER_ID_BYTES))
    return to_mask(is_too_long)


_CELL_HINTS = {
    ProblemCode.NUL_BYTE: "Remove the NUL character from the cell; PostgreSQL cannot store it.",
    ProblemCode.CELL_TOO_LONG: f"Shorten the cell to {LONGEST_CELL_CHARACTERS:,} characters, "
    f"or a user_id to {LONGEST_USER_ID_BYTES:,} bytes. If rows ran together, add the missing "
    "line ending.",
}


def _table(block: Block, keys: pa.Array, user_ids: pa.Array) -> pa.Table:
    cells = dict(zip(block.columns, block.cells, strict=True))
    files = pa.array(block.file)
    return pa.table(
        {
            "file": files,
            "key": keys.take(files),
            "line": block.line,
            "user_id": cells["user_id"] if "user_id" in cells else user_ids.take(files),
            **{name: cells[name] for name in REQUIRED},
            "extra": _extra(block),
        }
    )


def _extra(block: Block) -> pa.Array:
    members = [
        _json_members(name, cells)
        for name, cells in zip(block.columns, block.cells, strict=True)
        if name not in KNOWN
    ]
    if not members:
        return pa.nulls(len(block.line), _TEXT)
    # null_handling="skip" would be simpler, but Arrow drops all-null rows with it.
    listed = pc.binary_join_element_wise(*members, _text(""))
    inner = pc.utf8_slice_codeunits(listed, len(_COMMA))
    objects = pc.binary_join_element_wise(_text("{"), inner, _text("}"), _text(""))
    return pc.if_else(_is_blank(listed), pa.scalar(None, _TEXT), objects)


def _json_members(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """`, "name": "cell"` for every cell, or an empty text if it is blank."""
    prefix = _text(f"{_COMMA}{_quote(name)}: ")
    members = pc.binary_join_element_wise(prefix, _json_strings(cells), _text(""))
    return pc.if_else(_is_blank(cells), _text(""), members)


def _is_blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.equal(pc.binary_length(texts), 0)


def _json_strings(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    needs_escape = pc.match_substring_regex(cells, r'["\\\x00-\x1f]')
    if pc.any(needs_escape).as_py():
        return pa.chunked_array([pa.array(map(_quote, cells.to_pylist()), _TEXT)])
    return pc.binary_join_element_wise(_text('"'), cells, _text('"'), _text(""))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, _TEXT)


def _empty_table() -> pa.Table:
    numbers, texts = ("file", "line"), ("key", "user_id", *REQUIRED, "extra")
    types = dict.fromkeys(numbers, pa.int64()) | dict.fromkeys(texts, _TEXT)
    order = ("file", "key", "line", "user_id", *REQUIRED, "extra")
    return pa.schema([(name, types[name]) for name in order]).empty_table()


def _in_order(table: pa.Table) -> pa.Table:
    file, line = table["file"].to_numpy(), table["line"].to_numpy()
    if (np.diff(file) >= 0).all() and ((np.diff(line) > 0) | (np.diff(file) > 0)).all():
        return table
    return table.take(pa.array(np.lexsort((line, file))))

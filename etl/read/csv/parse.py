"""Bytes of user CSVs to text cells, with the key and line of every row.

Thousands of tiny files are as cheap as one large one: those that are plain and share a header
are read as one. Everything else takes the careful reader, file by file. Nothing is judged here
but the form: whether there is a text, a header, a row with all its cells, and cells that a
database can hold.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.keys import user_id_of
from etl.model.values import Problem, ProblemCode, Severity, SourceFile, SourceObject
from etl.read.csv.collect import Block, Collector, Record
from etl.read.csv.dialect import KNOWN, REQUIRED, Dialect, HeaderFault, read_header
from etl.read.csv.encoding import Decoded, decode
from etl.read.csv.plain import as_plain, read_plain
from etl.read.csv.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

LONGEST_CELL_CHARACTERS = 10_000
LONGEST_USER_ID_BYTES = 1_024

_TEXT = pa.large_string()
_COMMA = ", "


@dataclass(frozen=True)
class Extract:
    """What a batch of files holds.

    Shapes:  rows (n, 7): key, line (int64, from 1), user_id, first_name, last_name, birthts
             (text, stripped), extra (JSON object of the filled cells of unknown columns, or
             <NA>); in the order of the files and, within one, of its lines.
             problems: sorted by key, line, column and code; of each object's rows the first
             1,000 at least. more: by key, how many of each code are not among them.
             rows_read: for every key the data rows found, refused ones included.
             rows_rejected: by key those refused, where there are any.
             of_one_user: keys of files with several rows and no user_id column.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    rows_read: dict[str, int]
    rows_rejected: dict[str, int] = field(default_factory=dict)
    more: dict[str, Counter[ProblemCode]] = field(default_factory=dict)
    of_one_user: frozenset[str] = frozenset()


def parse(files: Sequence[SourceFile]) -> Extract:
    """Read user CSVs as text cells. Whatever is wrong with them is a problem, not an exception."""
    collector = Collector([file.source for file in files])
    by_header: dict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
    for place, file in enumerate(files):
        plain = as_plain(file.content)
        if plain is None:
            _read_carefully(place, file, collector)
        else:
            by_header[plain.header].append((place, plain.body))
    for header, members in by_header.items():
        _read_together(header, members, files, collector)
    return _whole_extract(files, collector)


def parse_carefully(files: Sequence[SourceFile]) -> Extract:
    """What `parse` gives, by the careful reader alone: slower, and the measure of the fast one."""
    collector = Collector([file.source for file in files])
    for place, file in enumerate(files):
        _read_carefully(place, file, collector)
    return _whole_extract(files, collector)


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by key, line (the whole object's first), column and code."""
    return sorted(problems, key=lambda p: (p.key, p.line or 0, p.column or "", p.code))


def _read_together(
    header: bytes,
    members: Sequence[tuple[int, bytes]],
    files: Sequence[SourceFile],
    collector: Collector,
) -> None:
    line = header.decode()
    dialect = read_header(line)
    usable = [
        (place, body)
        for place, body in members
        if is_usable(place, files[place].source.key, line, dialect, collector)
    ]
    if usable and isinstance(dialect, Dialect):
        places, bodies = zip(*usable, strict=True)
        read_plain(places, bodies, dialect, collector)


def _read_carefully(place: int, file: SourceFile, collector: Collector) -> None:
    decoded = decode(file.content)
    if decoded is None:
        note_undecodable(place, collector)
        return
    first = header_line(decoded.lines)
    if first is None:
        note_empty(place, collector)
    elif first + 1 in decoded.undecodable:
        note_undecodable(place, collector)
    else:
        _read_lines(place, file.source.key, decoded, first, collector)


def _read_lines(place: int, key: str, decoded: Decoded, first: int, collector: Collector) -> None:
    header = decoded.lines[first].rstrip("\r\n")
    dialect = read_header(header)
    if is_usable(place, key, header, dialect, collector) and isinstance(dialect, Dialect):
        note_guesses(place, decoded, collector)
        records = Records(decoded.lines, first + 1, dialect)
        found = as_records(place, decoded, records)
        collector.add_records(dialect.columns, found)


def header_line(lines: Sequence[str]) -> int | None:
    """Which line (from 0) is the first that is not blank."""
    return next((index for index, line in enumerate(lines) if line.strip()), None)


def as_records(
    place: int, decoded: Decoded, records: Records, first_line: int = 1
) -> Iterator[Record]:
    """The records of these lines, of which the first bears the number `first_line` in its file."""
    undecodable = decoded.undecodable
    for start, cells in records:
        raw, is_decodable = decoded.lines[start], True
        if undecodable:
            at = bisect_right(undecodable, start)  # those count from 1
            is_decodable = at == len(undecodable) or undecodable[at] > records.next_line
            if not is_decodable and undecodable[at] == start + 1:
                raw = raw.encode("latin-1").decode("utf-8", "backslashreplace")
        yield Record(place, start + first_line, raw, cells, is_decodable)


def note_guesses(place: int, decoded: Decoded, collector: Collector, first_line: int = 1) -> None:
    """Note which of these lines were read as cp1252."""
    if decoded.guessed:
        numbers = [number - 1 + first_line for number in decoded.guessed]
        first = decoded.lines[decoded.guessed[0] - 1]
        collector.notices.add(place, ProblemCode.GUESSED_ENCODING, numbers, first)


def is_usable(
    place: int, key: str, header: str, dialect: Dialect | HeaderFault, collector: Collector
) -> bool:
    """Whether rows can be read under the header; if not, what is wrong with it is noted."""
    if isinstance(dialect, HeaderFault):
        collector.object_problem(place, dialect.code, dialect.note, header)
        return False
    if "user_id" not in dialect.columns and not user_id_of(key):
        collector.object_problem(
            place,
            ProblemCode.MISSING_COLUMN,
            "Neither the file's name nor a column tells the user_id. "
            "Rename the file to <user_id>.csv, or add a user_id column.",
            header,
        )
        return False
    if "user_id" not in dialect.columns:
        collector.unnamed.add(place)
    return True


def note_empty(place: int, collector: Collector) -> None:
    """Note that the file holds no text."""
    collector.object_problem(
        place, ProblemCode.EMPTY_FILE, "The file is empty. Upload it again, or remove it."
    )


def note_undecodable(place: int, collector: Collector) -> None:
    """Note that no encoding fits the file."""
    collector.object_problem(
        place,
        ProblemCode.UNDECODABLE,
        "The file is not UTF-8, UTF-16 or cp1252 text. Save it as UTF-8.",
    )


def note_no_rows(place: int, collector: Collector) -> None:
    """Note that there is nothing under the file's good header, which deserves a look."""
    collector.object_problem(
        place,
        ProblemCode.NO_ROWS,
        "The file has a header and no rows. Add them, or remove the file.",
        severity=Severity.WARNING,
    )


def _whole_extract(files: Sequence[SourceFile], collector: Collector) -> Extract:
    sources = [file.source for file in files]
    collector.blocks()  # the last rows are counted now
    _note_missing_rows(sources, collector)
    collector.note_oddities()
    return to_extract(sources, collector)


def to_extract(sources: Sequence[SourceObject], collector: Collector) -> Extract:
    """What the collector holds of these objects, as a table."""
    keys = [source.key for source in sources]
    key_cells, user_ids = pa.array(keys, _TEXT), pa.array(map(user_id_of, keys), _TEXT)
    tables = [
        _table(_storable(block, collector), key_cells, user_ids) for block in collector.blocks()
    ]
    rows = _in_order(pa.concat_tables([_no_rows(), *tables])).drop_columns("file")
    rejected = collector.rows_rejected
    return Extract(
        rows=rows.to_pandas(types_mapper={_TEXT: pd.StringDtype("pyarrow")}.get),
        problems=sort_problems(collector.problems),
        rows_read=dict(zip(keys, collector.rows_read, strict=True)),
        rows_rejected={key: count for key, count in zip(keys, rejected, strict=True) if count},
        more={keys[place]: counted for place, counted in collector.more.items()},
        of_one_user=frozenset(
            keys[place] for place in collector.unnamed if collector.rows_read[place] > 1
        ),
    )


def _note_missing_rows(sources: Sequence[SourceObject], collector: Collector) -> None:
    refused = {
        problem.key
        for problem in collector.problems
        if problem.line is None and problem.severity is Severity.ERROR
    }
    for place, source in enumerate(sources):
        if collector.rows_read[place] == 0 and source.key not in refused:
            note_no_rows(place, collector)


def _storable(block: Block, collector: Collector) -> Block:
    """The block without the rows whose cells a database cannot hold, which become problems."""
    refused: NDArray[np.bool_] = np.zeros(len(block.line), dtype=np.bool_)
    for code, find in ((ProblemCode.NUL_BYTE, _has_nul), (ProblemCode.CELL_TOO_LONG, _is_too_long)):
        sound = ~refused  # a row with a NUL is not measured as well
        for place, column in enumerate(block.columns):
            faulty = find(column, block.cells[place]) & sound
            if faulty.any():
                collector.refuse_cells(block, place, faulty, code, _NOTES[code])
                refused |= faulty
    return collector.reject_rows(block, refused) if refused.any() else block


def _has_nul(_column: str, cells: pa.ChunkedArray) -> NDArray[np.bool_]:
    return _mask(pc.match_substring(cells, "\0"))


def _is_too_long(column: str, cells: pa.ChunkedArray) -> NDArray[np.bool_]:
    size = pc.binary_length(cells)
    is_too_long = pc.greater(size, LONGEST_CELL_CHARACTERS)
    if pc.any(is_too_long).as_py():  # in bytes; characters are dearer to count
        is_too_long = pc.greater(pc.utf8_length(cells), LONGEST_CELL_CHARACTERS)
    if column == "user_id":
        is_too_long = pc.or_(is_too_long, pc.greater(size, LONGEST_USER_ID_BYTES))
    return _mask(is_too_long)


_NOTES = {
    ProblemCode.NUL_BYTE: "Remove the NUL character from the cell; no database can hold it.",
    ProblemCode.CELL_TOO_LONG: f"Shorten the cell to {LONGEST_CELL_CHARACTERS:,} characters, "
    f"a user_id to {LONGEST_USER_ID_BYTES:,} bytes. Perhaps a line end is missing.",
}


def _table(block: Block, keys: pa.Array, user_ids: pa.Array) -> pa.Table:
    cells = dict(zip(block.columns, block.cells, strict=True))
    place = pa.array(block.file)
    return pa.table(
        {
            "file": place,
            "key": keys.take(place),
            "line": block.line,
            "user_id": cells["user_id"] if "user_id" in cells else user_ids.take(place),
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
    # Joining with null_handling="skip" would be plainer, but Arrow loses all-null rows there.
    listed = pc.binary_join_element_wise(*members, _text(""))
    inner = pc.utf8_slice_codeunits(listed, len(_COMMA))
    objects = pc.binary_join_element_wise(_text("{"), inner, _text("}"), _text(""))
    return pc.if_else(_is_blank(listed), pa.scalar(None, _TEXT), objects)


def _json_members(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """`, "name": "cell"` for every cell, nothing where it is blank."""
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


def _no_rows() -> pa.Table:
    numbers, texts = ("file", "line"), ("key", "user_id", *REQUIRED, "extra")
    types = dict.fromkeys(numbers, pa.int64()) | dict.fromkeys(texts, _TEXT)
    order = ("file", "key", "line", "user_id", *REQUIRED, "extra")
    return pa.schema([(name, types[name]) for name in order]).empty_table()


def _in_order(table: pa.Table) -> pa.Table:
    file, line = table["file"].to_numpy(), table["line"].to_numpy()
    if (np.diff(file) >= 0).all() and ((np.diff(line) > 0) | (np.diff(file) > 0)).all():
        return table
    return table.take(pa.array(np.lexsort((line, file))))


def _mask(condition: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - an Arrow array of booleans
    mask: NDArray[np.bool_] = condition.to_numpy()
    return mask

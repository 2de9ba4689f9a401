"""Bytes of user CSVs to text cells, with the key and line of every row.

Thousands of tiny files are as cheap as one large one: those that are plain and share a header
are read as one. Everything else takes the careful reader, file by file. Nothing is judged here
but the form: whether there is a text, a header, a row with all its cells, and cells that a
database can hold.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.extract.collect import Block, Collector, Record
from etl.extract.dialect import KNOWN, REQUIRED, Dialect, HeaderFault, read_header
from etl.extract.encoding import Decoded, decode
from etl.extract.plain import as_plain, read_plain
from etl.extract.records import Records, physical_lines
from etl.keys import user_id_of
from etl.model import Problem, ProblemCode, Severity, SourceFile, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
             problems: sorted by key, line, column and code.
             rows_read: for every key the data rows found, refused ones included.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    rows_read: dict[str, int]


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
    if decoded is not None and not decoded.text.strip():
        note_empty(place, collector)
    elif decoded is None:
        note_undecodable(place, collector)
    else:
        _read_text(place, file, decoded, collector)


def _read_text(place: int, file: SourceFile, decoded: Decoded, collector: Collector) -> None:
    lines = physical_lines(decoded.text)
    first = next(index for index, line in enumerate(lines) if line.strip())
    header = lines[first].rstrip("\r\n")
    dialect = read_header(header)
    key = file.source.key
    if not is_usable(place, key, header, dialect, collector) or isinstance(dialect, HeaderFault):
        return
    if decoded.guessed_from_line is not None:
        guess = decoded.guessed_from_line
        note_guess(place, guess, lines[guess - 1], collector)
    records = (
        Record(place, start + 1, lines[start], cells)
        for start, cells in Records(lines, first + 1, dialect)
    )
    collector.add_records(dialect.columns, records)


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
    return True


def note_empty(place: int, collector: Collector) -> None:
    """Note that the file holds no text."""
    collector.object_problem(
        place, ProblemCode.EMPTY_FILE, "The file is empty. Upload it again, or remove it."
    )


def note_undecodable(place: int, collector: Collector) -> None:
    """Note that no encoding fits the file."""
    collector.object_problem(
        place, ProblemCode.UNDECODABLE, "The file is no text we can read. Save it as UTF-8."
    )


def note_no_rows(place: int, collector: Collector) -> None:
    """Note that there is nothing under the file's good header, which deserves a look."""
    collector.object_problem(
        place,
        ProblemCode.NO_ROWS,
        "The file has a header and no rows. Add them, or remove the file.",
        severity=Severity.WARNING,
    )


def note_guess(place: int, number: int, line: str, collector: Collector) -> None:
    """Note that the file was read as cp1252, and the first line that made it so."""
    collector.object_problem(
        place,
        ProblemCode.GUESSED_ENCODING,
        f"Line {number} is the first that is not UTF-8; the file was read as cp1252. "
        "Look whether its letters are right, and save it as UTF-8.",
        line.rstrip("\r\n"),
        Severity.WARNING,
    )


def _whole_extract(files: Sequence[SourceFile], collector: Collector) -> Extract:
    sources = [file.source for file in files]
    collector.blocks()  # the last rows are counted now
    _note_missing_rows(sources, collector)
    return to_extract(sources, collector)


def to_extract(sources: Sequence[SourceObject], collector: Collector) -> Extract:
    """What the collector holds of these objects, as a table."""
    keys = [source.key for source in sources]
    key_cells, user_ids = pa.array(keys, _TEXT), pa.array(map(user_id_of, keys), _TEXT)
    tables = [
        _table(_storable(block, collector), key_cells, user_ids) for block in collector.blocks()
    ]
    rows = _in_order(pa.concat_tables([_no_rows(), *tables])).drop_columns("file")
    return Extract(
        rows=rows.to_pandas(types_mapper={_TEXT: pd.StringDtype("pyarrow")}.get),
        problems=sort_problems(collector.problems),
        rows_read=dict(zip(keys, collector.rows_read, strict=True)),
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
    for column, cells in zip(block.columns, block.cells, strict=True):
        with_nul = _mask(pc.match_substring(cells, "\0"))
        _refuse(block, column, cells, with_nul, ProblemCode.NUL_BYTE, collector)
        refused |= with_nul
    without_nul = ~refused
    for column, cells in zip(block.columns, block.cells, strict=True):
        too_long = _is_too_long(column, cells) & without_nul
        _refuse(block, column, cells, too_long, ProblemCode.CELL_TOO_LONG, collector)
        refused |= too_long
    return block.without(refused) if refused.any() else block


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


def _refuse(  # noqa: PLR0913, PLR0917 - cells, which of them, and why
    block: Block,
    column: str,
    cells: pa.ChunkedArray,
    faulty: NDArray[np.bool_],
    code: ProblemCode,
    collector: Collector,
) -> None:
    for index in np.flatnonzero(faulty).tolist():
        collector.cell_problem(
            int(block.file[index]),
            int(block.line[index]),
            column,
            cells[index].as_py(),
            code,
            _NOTES[code],
        )


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

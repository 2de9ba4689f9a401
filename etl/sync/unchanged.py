"""Compare a replaced object with its stored rows while it is read, so that only changes are staged.

Most rows of a large object that was uploaded again are stored already. The stored rows are copied
out in the order of their lines. A row that equals the stored row of its line is only counted. The
merge gets the rows that differ, and the keys of the stored rows that were replaced or are gone.

Equal rows may be taken for different ones, which only costs time. Different rows are never taken
for equal ones.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from etl.db.copy_stream import ChunkFile, CopyStream
from etl.db.engine import driver
from etl.db.identifiers import quoted
from etl.model.values import Change, ChangeKind
from etl.read.columns import SOURCE_KEY, SOURCE_LINE
from etl.sync.copy_text import StagedRows, joined_rows, staged_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from etl.db.dataset_sql import DatasetSql
    from etl.model.types import SqlType

BLOCK_BYTES = 1 << 18  # of COPY's output, parsed at once
MOST_REMOVED = 50_000  # rows after the last line that are listed one by one
MANY_DIFFERENT = 1_000  # rows of a batch; if they are also most of it, its lines have moved
_PLANNER = "SET LOCAL jit = off; SET LOCAL work_mem = '128MB'"

_TEXT = pa.large_string()
_TYPES = {
    "smallint": pa.int64(),
    "integer": pa.int64(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamp": pa.timestamp("us"),
}
_MAX_PRECISION = 38
_BITS: dict[pa.DataType, type[np.signedinteger]] = {pa.float32(): np.int32, pa.float64(): np.int64}


class Equal(NamedTuple):
    """The number of rows of an object that equal the stored ones, and the last line compared.

    `last_line` is None if all stored rows were compared.
    """

    rows: int
    last_line: int | None


class Compared(NamedTuple):
    """What the comparison of one object found in one batch.

    `gone` are the keys and places of stored rows that differ or are gone. The first batch
    invalidates what an earlier attempt found; the last batch has `equal`.
    """

    sql: DatasetSql
    key: str
    is_first: bool
    gone: StagedRows | None = None
    equal: Equal | None = None


class Comparisons:
    """The comparisons of one run, used by one thread. The caller closes them."""

    def __init__(self, datasets: Iterable[DatasetSql] = (), engine: Engine | None = None) -> None:
        self._engine = engine
        self._datasets = {one.dataset.name: one for one in datasets}
        self._open: list[Comparison] = []

    def begin(self, change: Change, dataset: str) -> Comparison | None:
        """Compare a modified object of the dataset; None if its rows cannot be compared."""
        sql = self._datasets.get(dataset)
        if self._engine is None or sql is None or change.kind is not ChangeKind.MODIFIED:
            return None
        begun = Comparison(self._engine, sql, change.source.key)
        self._open.append(begun)
        return begun

    def end_for(self, datasets: Iterable[str]) -> None:
        """End the comparisons of datasets that get columns: reading locks the table."""
        for name in datasets:
            if self._datasets.pop(name, None) is not None:
                for one in self._open:
                    if one.sql.dataset.name == name:
                        one.stop()

    def close(self) -> None:
        """End all comparisons."""
        for one in self._open:
            one.stop()


class Comparison:
    """The rows of one object next to the stored ones, in the order of their lines."""

    def __init__(self, engine: Engine, sql: DatasetSql, key: str) -> None:
        self.sql = sql
        self._key = key
        self._stored: _StoredRows | None = _StoredRows(engine, sql, key)
        self._is_first = True
        self._rows_same = 0
        self._last_line = 0

    def compare(self, rows: pa.Table) -> tuple[pa.Table, Compared | None]:
        """Compare the next valid rows; return those that differ, and the stored rows that differ.

        It ends after a batch in which many rows, and most of them, differ: lines have moved.

        Raises:  the errors of COPY.
        """
        if self._stored is None or not len(rows):
            return rows, None
        lines = rows[SOURCE_LINE].to_numpy()
        try:
            stored = self._stored.up_to(int(lines[-1]))
        except pa.ArrowInvalid:  # another client wrote a value that no file has
            self.stop()
            return rows, None
        here, there = _common(lines, stored[SOURCE_LINE].to_numpy())
        both = _equal_rows(_taken(rows, here), _taken(stored, there), self.sql)
        differs, gone = np.ones(len(rows), np.bool_), np.ones(len(stored), np.bool_)
        differs[here[both]] = gone[there[both]] = False
        self._last_line = int(lines[-1])
        different = int(differs.sum())
        self._rows_same += len(rows) - different
        found = self._compared(stored.filter(pa.array(gone)))
        if different >= MANY_DIFFERENT and different * 2 > len(rows):
            self.stop()
        return rows.filter(pa.array(differs)), found

    def finish(self, compared: Compared | None) -> Compared:
        """The outcome, with the last batch: the equal rows, and the stored rows that are left.

        Raises:  the errors of COPY.
        """
        rest = self._rest()
        more = None if rest is None else self._compared(rest)
        self.stop()
        equal = Equal(self._rows_same, self._last_line if rest is None else None)
        return _joined(compared, more or self._compared(None))._replace(equal=equal)

    def stop(self) -> None:
        """Compare no further rows."""
        stored, self._stored = self._stored, None
        if stored is not None:
            stored.close()

    def _rest(self) -> pa.Table | None:
        """The stored rows after the last line; None if there may be many."""
        try:
            return None if self._stored is None else self._stored.rest(MOST_REMOVED)
        except pa.ArrowInvalid:
            return None

    def _compared(self, gone: pa.Table | None) -> Compared:
        found = Compared(self.sql, self._key, self._is_first)
        self._is_first = False
        if gone is None or not len(gone):
            return found
        keys = pa.repeat(pa.scalar(self._key, _TEXT), len(gone))
        named = gone.append_column(SOURCE_KEY, keys).select(list(self.sql.key_and_place))
        return found._replace(gone=staged_rows(named, self.sql.dataset))


def _joined(one: Compared | None, other: Compared) -> Compared:
    if one is None:
        return other
    if one.gone is None or other.gone is None:
        return one._replace(gone=one.gone or other.gone)
    return one._replace(gone=joined_rows([one.gone, other.gone]))


class _StoredRows:
    """The stored rows of one object, in the order of their lines, from a connection of its own."""

    def __init__(self, engine: Engine, sql: DatasetSql, key: str) -> None:
        def copy(connection: Connection, sink: BinaryIO) -> None:
            with driver(connection).cursor() as cursor:
                cursor.execute(_PLANNER)
                literal = cursor.mogrify("%s", (key,)).decode()
                cursor.copy_expert(_statement(sql, literal), sink)

        self._stream = CopyStream(engine.connect, copy)
        self._types = _types(sql)
        self._reader: csv.CSVStreamingReader | None = None
        self._waiting = pa.schema(self._types.items()).empty_table()
        self._is_over = False

    def up_to(self, line: int) -> pa.Table:
        """The next rows up to and including this line.

        Raises:  the errors of COPY; pa.ArrowInvalid for a value that no file has.
        """
        parts = [self._waiting]
        while not self._is_over and (not len(parts[-1]) or _last_line(parts[-1]) <= line):
            self._read(parts)
        found = pa.concat_tables(parts)
        end = int(np.searchsorted(found[SOURCE_LINE].to_numpy(), line, side="right"))
        self._waiting = found.slice(end)
        return found.slice(0, end)

    def rest(self, most: int) -> pa.Table | None:
        """All other rows; None if there are many more than `most`.

        Raises:  as `up_to`.
        """
        parts = [self._waiting]
        while not self._is_over:
            if sum(map(len, parts)) > most:
                return None
            self._read(parts)
        return pa.concat_tables(parts)

    def close(self) -> None:
        """Cancel the COPY if it is running."""
        self._stream.close()
        self._reader = None

    def _read(self, parts: list[pa.Table]) -> None:
        try:
            if self._reader is None:
                self._reader = _open(self._stream, self._types)
            batch = self._reader.read_next_batch()
            parts.append(pa.Table.from_arrays(batch.columns, names=list(self._types)))
        except StopIteration:
            self._is_over = True


def _statement(sql: DatasetSql, key: str) -> str:
    """COPY of the stored rows; `key` is a literal. The header has numbers instead of long names."""
    columns = ", ".join(
        f"{quoted(name)} AS {quoted(str(place))}" for place, name in enumerate(_types(sql))
    )
    table = sql.table.replace("\\:", ":")
    rows = f"SELECT {columns} FROM {table} WHERE {SOURCE_KEY} = {key} ORDER BY {SOURCE_LINE}"
    return f"COPY ({rows}) TO STDOUT (FORMAT csv, HEADER)"


def _open(stream: CopyStream, types: dict[str, pa.DataType]) -> csv.CSVStreamingReader:
    file = io.BufferedReader(cast("io.RawIOBase", ChunkFile(stream)), BLOCK_BYTES)
    return csv.open_csv(
        file,
        csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types={str(place): type_ for place, type_ in enumerate(types.values())},
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,
        ),
    )


def _types(sql: DatasetSql) -> dict[str, pa.DataType]:
    found = {SOURCE_LINE: pa.int64()}
    for name in sql.cells:
        found[name] = _type(sql.sql_type(name))
    return found


def _type(sql: SqlType) -> pa.DataType:
    if sql.name == "numeric" and sql.precision is not None and sql.precision <= _MAX_PRECISION:
        return pa.decimal128(sql.precision, sql.scale or 0)
    return _TYPES.get(sql.name, _TEXT)


# -- comparing


def _common(
    lines: NDArray[np.int64], stored: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indexes, in each array, of the lines that both have."""
    if len(lines) == len(stored) and (lines == stored).all():
        places = np.arange(len(lines))
        return places, places
    _, here, there = np.intersect1d(lines, stored, assume_unique=True, return_indices=True)
    return here, there


def _taken(rows: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """The rows at these indexes, which ascend."""
    return rows if len(places) == len(rows) else rows.take(pa.array(places))


def _equal_rows(rows: pa.Table, stored: pa.Table, sql: DatasetSql) -> NDArray[np.bool_]:
    """Which rows have equal cells; both tables have the same number of rows."""
    same = np.ones(len(rows), np.bool_)
    for name in sql.cells:
        theirs = stored[name]
        if name not in rows.column_names:
            same &= theirs.is_null().to_numpy()
            continue
        ours = _as_stored(rows[name], sql.sql_type(name), theirs.type)
        if ours is None:
            return np.zeros(len(rows), np.bool_)
        same &= _equal(ours, _trimmed(theirs, sql.sql_type(name)))
    return same


def _as_stored(cells: pa.ChunkedArray, sql: SqlType, type_: pa.DataType) -> pa.ChunkedArray | None:
    """The cells as the table returns them; None if they are not of its type."""
    own = cells.type
    if sql.name == "timestamptz" or pa.types.is_integer(own) or pa.types.is_decimal256(own):
        return cells.cast(type_)
    if sql.name == "uuid":
        return pc.ascii_lower(cells)
    if own != type_:
        return None
    return _trimmed(cells, sql)


def _trimmed(cells: pa.ChunkedArray, sql: SqlType) -> pa.ChunkedArray:
    """The cells; those of char(n), which PostgreSQL pads, without the spaces at their ends."""
    return pc.ascii_rtrim(cells, " ") if sql.name == "char" else cells


def _equal(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which cells are equal; nulls are equal to each other only."""
    if ours.type in _BITS:  # NaN equals itself, and 0 differs from -0
        ours, theirs = _bits(ours), _bits(theirs)
    equal = pc.fill_null(pc.equal(ours, theirs), False)  # noqa: FBT003 - Arrow's
    if ours.null_count and theirs.null_count:
        equal = pc.or_(equal, pc.and_(ours.is_null(), theirs.is_null()))
    found: NDArray[np.bool_] = equal.to_numpy()
    return found


def _bits(floats: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pc.fill_null(floats, 0).to_numpy().view(_BITS[floats.type])
    return pa.chunked_array([pa.array(values, mask=floats.is_null().to_numpy())])


def _last_line(rows: pa.Table) -> int:
    return int(rows[SOURCE_LINE][-1].as_py())

"""Compare the published outputs of users with the expected users."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from etl.verify.difference import Difference, Sides, compare_mappings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etl.verify.expected import DatasetRows

OUTPUT_HEADER = ["user_id", "first_name", "last_name", "birthts", "img_path"]


def take_output_rows(users: DatasetRows) -> list[list[str]]:
    """The cells of each expected user in an output, in any order.

    The rows are removed from `users`, so that memory holds them once.
    """
    places = [users.columns.index(name) for name in OUTPUT_HEADER]
    found = []
    while users.rows:
        _, row = users.rows.popitem()
        cells = [row.values[place] for place in places]
        found.append(["" if cell is None else str(cell) for cell in cells])
    return found


def compare_output(
    users: Sequence[list[str]], content: bytes | None, name: str
) -> list[Difference]:
    """Compare the published CSV `name`; `content` is None if it does not exist."""
    if content is None:
        note = "The file does not exist; a run publishes it."
        return [Difference("output-missing", name, f"{len(users)} users", None, note)]
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    try:
        rows = list(_shared(csv.reader(text, strict=True), users))
    except (UnicodeDecodeError, csv.Error) as error:
        note = f"The file is not a valid CSV in UTF-8: {error}."
        return [Difference("output-unreadable", name, "a CSV in UTF-8", None, note)]
    return _compare_cells(users, rows or [[]], name)


def compare_parquet(
    users: Sequence[list[str]], content: bytes | None, name: str
) -> list[Difference]:
    """Compare the published Parquet file, like `compare_output`.

    A null and an empty string are equal, as in a CSV.
    """
    if content is None:
        note = "The file was not published yet, or another program removed it."
        return [Difference("output-missing", name, f"{len(users)} users", None, note)]
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        note = f"The file is not a valid Parquet file: {error}."
        return [Difference("output-unreadable", name, "a Parquet file", None, note)]
    columns = [
        ["" if cell is None else str(cell) for cell in column.to_pylist()]
        for column in table.itercolumns()
    ]
    rows = list(_shared(map(list, zip(*columns, strict=True)), users))
    return _compare_cells(users, [table.column_names, *rows], name)


def _shared(rows: Iterable[list[str]], users: Iterable[list[str]]) -> Iterator[list[str]]:
    """The rows; one that equals a user is the same object, so that memory holds it once."""
    wanted = {user[0]: user for user in users}
    for row in rows:
        user = wanted.get(_user_id(row))
        yield row if user != row else user


def _compare_cells(
    users: Sequence[list[str]], rows: list[list[str]], name: str
) -> list[Difference]:
    header, *body = rows
    return [
        *_compare_header(header, name),
        *_find_misshapen(body, name),
        *_find_doubled(body, name),
        *_find_unsorted(body, name),
        *_compare_output_rows(users, body, name.rpartition("/")[2]),
    ]


def _compare_header(header: list[str], name: str) -> list[Difference]:
    if header == OUTPUT_HEADER:
        return []
    return [Difference("output-differs", name, OUTPUT_HEADER, header, "Its header is wrong.")]


def _find_misshapen(body: Iterable[list[str]], name: str) -> list[Difference]:
    return [
        Difference(
            "output-differs",
            f"{name} row {number}",
            f"{len(OUTPUT_HEADER)} cells",
            row,
            f"The row has {len(row)} cells, but the header must have {len(OUTPUT_HEADER)}.",
        )
        for number, row in enumerate(body, start=1)
        if len(row) != len(OUTPUT_HEADER)
    ]


def _find_doubled(body: Iterable[list[str]], name: str) -> list[Difference]:
    counted = Counter(_user_id(row) for row in body)
    return [
        Difference("output-doubled", user_id, 1, count, f"{name} has this user {count} times.")
        for user_id, count in counted.items()
        if count > 1
    ]


def _find_unsorted(body: Iterable[list[str]], name: str) -> list[Difference]:
    """Report the first place only, because one row out of order misplaces many others."""
    for before, after in pairwise(_user_id(row) for row in body):
        if before.encode() > after.encode():
            quoted = json.dumps(before, ensure_ascii=False)
            note = f"{name} is not sorted by the bytes of user_id: {quoted} precedes this user."
            return [Difference("output-unsorted", after, None, None, note)]
    return []


def _compare_output_rows(
    users: Sequence[list[str]], body: Iterable[list[str]], file: str
) -> list[Difference]:
    wanted = {row[0]: row for row in users}
    # Rows with a wrong number of cells were already reported.
    current = {row[0]: row for row in body if len(row) == len(OUTPUT_HEADER)}
    sides = Sides(
        noun="output",
        thing="this user",
        where=file,
        name=str,
        fields=_named_cells,
        dataset=lambda _: "users",
    )
    return compare_mappings(wanted, current, sides)


def _user_id(row: list[str]) -> str:
    return row[0] if row else ""


def _named_cells(row: list[str]) -> dict[str, object]:
    return dict(zip(OUTPUT_HEADER[1:], row[1:], strict=True))

"""Compare the expected with the current state, and explain each difference."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import pyarrow as pa
from pyarrow import parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.verify.expected import Expected, ExpectedUser
    from etl.verify.tables import ManifestEntry, TableState

    Comparable: TypeAlias = ExpectedUser | ManifestEntry | dict[str, object]

_Problem = TypeVar("_Problem", tuple[str, str], tuple[str, int, str])

OUTPUT_HEADER = ["user_id", "first_name", "last_name", "birthts", "img_path"]


@dataclass(frozen=True)
class Difference:
    """One difference between the bucket and the tables, output files or thumbnails.

    `what` is a noun and one of missing, surplus, differs, doubled, unsorted, unreadable.
    `expected` and `found` are the values; for `differs`, only those of the differing columns.
    """

    what: str
    name: str
    expected: object
    found: object
    note: str


def compare_tables(
    expected: Expected, manifest: Mapping[str, ManifestEntry], found: TableState
) -> list[Difference]:
    """Compare users, manifest, shadowed rows and open problems, each sorted by name."""
    wanted, current = expected.shadowed, found.shadowed
    return [
        *compare_users(expected.users, found.users),
        *_compare_named("manifest", manifest, found.manifest, "this object", "the manifest"),
        *_differences("shadowed", wanted - current, current - wanted, "this shadowed row"),
        *_compare_problems(expected.rejected, found.rejected, "this rejected row"),
        *_compare_problems(
            Counter(expected.object_problems), found.object_problems, "this object's problem"
        ),
    ]


def compare_users(
    expected: Mapping[str, ExpectedUser], found: Mapping[str, ExpectedUser]
) -> list[Difference]:
    """Compare live users by user_id: `user-missing`, `user-surplus`, `user-differs`."""
    return _compare_named("user", expected, found, "this user", "the table")


def compare_output(
    users: Mapping[str, ExpectedUser], content: bytes | None, name: str
) -> list[Difference]:
    """Compare the published CSV `name`; `content` is None if it does not exist."""
    if content is None:
        note = "The file does not exist; a run publishes it."
        return [Difference("output-missing", name, f"{len(users)} users", None, note)]
    try:
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        note = f"The file is not a valid CSV in UTF-8: {error}."
        return [Difference("output-unreadable", name, "a CSV in UTF-8", None, note)]
    return _compare_cells(users, rows or [[]], name)


def compare_parquet(
    users: Mapping[str, ExpectedUser], content: bytes | None, name: str
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
    rows = [list(cells) for cells in zip(*columns, strict=True)]
    return _compare_cells(users, [table.column_names, *rows], name)


def _compare_cells(
    users: Mapping[str, ExpectedUser], rows: list[list[str]], name: str
) -> list[Difference]:
    header, *body = rows
    return [
        *_compare_header(header, name),
        *_find_misshapen(body, name),
        *_find_doubled(body, name),
        *_find_unsorted(body, name),
        *_compare_output_rows(users, body, name.rpartition("/")[2]),
    ]


def _compare_named(
    noun: str,
    expected: Mapping[str, Comparable],
    found: Mapping[str, Comparable],
    what: str,
    where: str,
) -> list[Difference]:
    """Compare values by name, in byte order of the names."""
    differences = []
    for name in sorted({*expected, *found}, key=str.encode):
        wanted, current = expected.get(name), found.get(name)
        if wanted == current:
            continue
        if current is None:
            note = f"The bucket has {what}, but {where} does not."
            differences.append(Difference(f"{noun}-missing", name, _fields(wanted), None, note))
        elif wanted is None:
            note = f"The bucket does not have {what}, but {where} does."
            differences.append(Difference(f"{noun}-surplus", name, None, _fields(current), note))
        else:
            differences.append(_differing(noun, name, _fields(wanted), _fields(current), where))
    return differences


def _differing(
    noun: str, name: str, wanted: dict[str, object], current: dict[str, object], where: str
) -> Difference:
    """Report the differing columns only."""
    columns = [column for column in wanted if wanted[column] != current[column]]
    return Difference(
        f"{noun}-differs",
        name,
        {column: wanted[column] for column in columns},
        {column: current[column] for column in columns},
        f"The bucket and {where} disagree on {', '.join(columns)}.",
    )


def _fields(value: Comparable | None) -> dict[str, object]:
    if value is None or isinstance(value, dict):
        return value or {}
    return asdict(value)


def _compare_problems(
    expected: Counter[_Problem], found: Counter[_Problem], what: str
) -> list[Difference]:
    """Compare how often each problem occurs."""
    missing, surplus = expected - found, found - expected
    return _differences("problem", missing.elements(), surplus.elements(), what)


def _differences(
    noun: str,
    missing: Iterable[tuple[object, ...]],
    surplus: Iterable[tuple[object, ...]],
    what: str,
) -> list[Difference]:
    return [
        *(
            Difference(
                f"{noun}-missing",
                _name(item),
                item,
                None,
                f"The bucket has {what}, but the tables do not.",
            )
            for item in sorted(missing, key=_name)
        ),
        *(
            Difference(
                f"{noun}-surplus",
                _name(item),
                None,
                item,
                f"The tables have {what}, but the bucket does not.",
            )
            for item in sorted(surplus, key=_name)
        ),
    ]


def _name(item: tuple[object, ...]) -> str:
    return " ".join(str(part) for part in item)


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
    users: Mapping[str, ExpectedUser], body: Iterable[list[str]], file: str
) -> list[Difference]:
    wanted = {user_id: _output_cells(user) for user_id, user in users.items()}
    # Rows with a wrong number of cells were already reported.
    current = {row[0]: _named_cells(row) for row in body if len(row) == len(OUTPUT_HEADER)}
    return _compare_named("output", wanted, current, "this user", file)


def _user_id(row: list[str]) -> str:
    return row[0] if row else ""


def _named_cells(row: list[str]) -> dict[str, object]:
    return dict(zip(OUTPUT_HEADER[1:], row[1:], strict=True))


def _output_cells(user: ExpectedUser) -> dict[str, object]:
    return {
        "first_name": user.first_name,
        "last_name": user.last_name,
        "birthts": str(user.birthts),
        "img_path": user.img_path or "",
    }

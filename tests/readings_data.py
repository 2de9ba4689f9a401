"""Readings of sensors with planted faults, in every format; written without the readers."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook

from tests.planted import Found, PlantedFile

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = ("sensor", "measured_at", "celsius")
START = datetime(2024, 1, 1, tzinfo=UTC)

# The values of a valid row, with the site.
Reading = tuple[str, datetime, float | None, str]


class Kind(NamedTuple):
    """A kind of faulty row: its text, or its cells, and the column and code of its problem."""

    raw: str
    code: str
    column: str | None = None


_AT = '"measured_at": "2024-01-01"'
JSON_FAULTS = (
    Kind(f'{{"sensor": "s", {_AT}, "celsius": 1', "not-json"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": NaN}}', "not-json"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": 01}}', "not-json"),
    Kind(f"{{'sensor': 's', {_AT}}}", "not-json"),
    Kind(f'{{"sensor": "s", {_AT}, }}', "not-json"),
    Kind('["s", "2024-01-01", 1]', "not-json"),
    Kind('"s"', "not-json"),
    Kind(f'{{"sensor": "s", {_AT}, "sensor": "t"}}', "duplicate-column", "sensor"),
    Kind(f'{{"sensor": "s", {_AT}, " SENSOR": "t"}}', "duplicate-column", "sensor"),
    Kind(f'{{"sensor": "s\udc81", {_AT}}}', "undecodable"),
    Kind(f'{{"sensor": "s\\u0000", {_AT}}}', "nul-byte", "sensor"),
    Kind(f'{{"sensor": null, {_AT}}}', "missing-cell", "sensor"),
    Kind(f'{{"sensor": "  ", {_AT}}}', "missing-cell", "sensor"),
    Kind(f"{{{_AT}}}", "missing-cell", "sensor"),
    Kind('{"sensor": "s"}', "missing-cell", "measured_at"),
    Kind('{"sensor": "s", "measured_at": "2024-02-30"}', "not-a-datetime", "measured_at"),
    Kind('{"sensor": "s", "measured_at": 1704067200}', "not-a-datetime", "measured_at"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": "warm"}}', "not-a-number", "celsius"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": "1,5"}}', "not-a-number", "celsius"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": true}}', "not-a-number", "celsius"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": [1]}}', "not-a-number", "celsius"),
    Kind(f'{{"sensor": "s", {_AT}, "celsius": 1e400}}', "number-out-of-range", "celsius"),
)
# Cells of Parquet files whose moments and temperatures are texts, as a script leaves them.
PARQUET_FAULTS = (
    (("", "2024-01-01", "1.5"), "missing-cell", "sensor"),
    ((None, "2024-01-01", "1.5"), "missing-cell", "sensor"),
    (("s\0", "2024-01-01", "1.5"), "nul-byte", "sensor"),
    (("s", None, "1.5"), "missing-cell", "measured_at"),
    (("s", "2024-02-30", "1.5"), "not-a-datetime", "measured_at"),
    (("s", "01.02.2024", "1.5"), "not-a-datetime", "measured_at"),
    (("s", "2024-01-01", "1,5"), "not-a-number", "celsius"),
    (("s", "2024-01-01", "warm"), "not-a-number", "celsius"),
    (("s", "2024-01-01", "1e400"), "number-out-of-range", "celsius"),
)
CSV_FAULTS = (
    *PARQUET_FAULTS,
    (("s", "2024-01-01"), "short-row", None),
    (("s",), "short-row", None),
    (("s", "2024-01-01", "1.5", "x"), "long-row", None),
)
XLSX_FAULTS = (
    ((None, START, 1.5), "missing-cell", "sensor"),
    (("s", None, 1.5), "missing-cell", "measured_at"),
    (("s", 45_292, 1.5), "not-a-datetime", "measured_at"),
    (("s", "31.02.2024", 1.5), "not-a-datetime", "measured_at"),
    (("s", START, "warm"), "not-a-number", "celsius"),
    (("s", START, "#DIV/0!"), "error-value", "celsius"),
    (("s", START, "=1+1"), "formula-without-value", "celsius"),
)


def reading(number: int, site: str) -> Reading:
    """The values of a valid row."""
    celsius = None if number % 13 == 0 else number % 700 / 10 - 30
    return f"s{number % 7}", START + timedelta(seconds=number), celsius, site


def ndjson_file(of_each: int, site: str, **_: object) -> PlantedFile:
    """A file with an object on each line, and so many of each kind of fault."""
    return _json_file(of_each * len(JSON_FAULTS), site, b"\n".join, JSON_FAULTS)


def json_file(of_each: int, site: str, **_: object) -> PlantedFile:
    """An array; it has no fault that hides where its elements end."""
    kinds = tuple(kind for kind in JSON_FAULTS if not kind.raw.endswith("1"))
    return _json_file(of_each * len(kinds), site, _array, kinds)


def valid_file(count: int, site: str, *, is_array: bool = False) -> PlantedFile:
    """NDJSON, or an array, without faults, so that whole columns can be read."""
    return _json_file(count, site, _array if is_array else b"\n".join, ())


def _array(lines: list[bytes]) -> bytes:
    return b"[" + b",\n".join(lines) + b"]"


def _json_file(
    count: int, site: str, join: Callable[[list[bytes]], bytes], kinds: tuple[Kind, ...]
) -> PlantedFile:
    made = PlantedFile()
    lines: list[bytes] = []
    faults = cycle(kinds)
    for number in range(count):
        sensor, moment, celsius, _ = values = reading(number, site)
        row = {"sensor": sensor, "measured_at": moment.isoformat(), "celsius": celsius}
        lines.append(json.dumps(row).encode())
        made.rows[len(lines)] = values
        for kind in islice(faults, 1):
            lines.append(kind.raw.encode("utf-8", "surrogateescape"))
            made.found.append(Found(len(lines), kind.column, kind.code, None, ""))
    made.content = join(lines)
    return made


def csv_file(of_each: int, site: str, *, delimiter: str = ",") -> PlantedFile:
    """A file with a faulty row after each valid one."""
    made = PlantedFile()
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(COLUMNS)
    faults = cycle(CSV_FAULTS)
    for number in range(of_each * len(CSV_FAULTS)):
        sensor, moment, celsius, _ = values = reading(number, site)
        cells, code, column = next(faults)
        line = 2 * number + 2
        writer.writerows([[sensor, moment.isoformat(), celsius], cells])
        made.rows[line] = values
        made.found.append(Found(line + 1, column, code, None, ""))
    made.content = buffer.getvalue().encode()
    return made


def tsv_file(of_each: int, site: str, **_: object) -> PlantedFile:
    """The same with tabs."""
    return csv_file(of_each, site, delimiter="\t")


def parquet_file(of_each: int, site: str, *, is_typed: bool = False) -> PlantedFile:
    """A file of texts with faults or, with types, one whose only fault can be a null."""
    made = PlantedFile()
    rows: list[tuple[object, ...]] = []
    faults = cycle(PARQUET_FAULTS[1:2] if is_typed else PARQUET_FAULTS)
    for number in range(of_each * (1 if is_typed else len(PARQUET_FAULTS))):
        sensor, moment, celsius, _ = values = reading(number, site)
        cells, code, column = next(faults)
        if is_typed:
            rows += [(sensor, moment, celsius), (None, moment, celsius)]
        else:
            text = None if celsius is None else repr(celsius)
            rows += [(sensor, moment.isoformat(), text), cells]
        made.rows[len(rows) - 1] = values
        made.found.append(Found(len(rows), column, code, None, ""))
    types = (
        (pa.string(), pa.timestamp("us", "UTC"), pa.float64()) if is_typed else (pa.string(),) * 3
    )
    columns = [
        pa.array(column, type_)
        for column, type_ in zip(zip(*rows, strict=True), types, strict=True)
    ]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(COLUMNS)), sink, row_group_size=1_000)
    made.content = sink.getvalue()
    return made


def typed_parquet_file(of_each: int, site: str, **_: object) -> PlantedFile:
    """A file with the types of the dataset."""
    return parquet_file(of_each, site, is_typed=True)


def xlsx_file(of_each: int, site: str, **_: object) -> PlantedFile:
    """A workbook; a row's line is its number in the sheet."""
    made = PlantedFile()
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(COLUMNS)
    faults = cycle(XLSX_FAULTS)
    for number in range(of_each * len(XLSX_FAULTS)):
        cells, code, column = next(faults)
        line = 2 * number + 2
        made.found.append(Found(line, column, code, None, ""))
        sheet.append(
            [one.replace(tzinfo=None) if isinstance(one, datetime) else one for one in cells]
        )
        sensor, moment, celsius, _ = reading(number, site)
        if celsius is not None:
            celsius = float(f"{celsius:.16g}")  # openpyxl writes no more digits
        sheet.append([sensor, moment.replace(tzinfo=None), celsius])
        made.rows[line + 1] = (sensor, moment, celsius, site)
    sink = io.BytesIO()
    workbook.save(sink)
    made.content = sink.getvalue()
    return made

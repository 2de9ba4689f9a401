"""PostgreSQL stores each accepted value of every field type by COPY, and returns an equal one."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812
from pyarrow import csv as arrow_csv
from sqlalchemy import Engine

from etl.db.engine import connect, driver
from etl.model.dataset import Field, FieldType
from etl.model.types import TYPE_TRAITS, column_type, sql_type
from etl.settings import Settings
from tests.field_texts import CLOCKS, DATETIMES, DAYS, DOCUMENTS, FLOATS, INTEGERS, NUMBERS
from tests.field_types import check, plain_date, plain_datetime, plain_time

LONG = "9" * 131_072


def as_decimals(text: str) -> object:
    """A JSON value with exact numbers."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def same(value: object) -> object:
    return value


def type_of(value: object) -> str | None:
    """The name of a field in a test's id, the same in every process."""
    return f"{value.type} {value.sql or ''}" if isinstance(value, Field) else None


@pytest.fixture(scope="module")
def shared(stack: Settings) -> Iterator[Engine]:
    """An engine on a database without tables; each test has only temporary ones."""
    engine = connect(stack)
    yield engine
    engine.dispose()


@pytest.fixture
def session(shared: Engine) -> Iterator[Connection]:
    """A session whose time zone and date style must not matter."""
    with shared.connect() as connection:
        raw = driver(connection)
        with raw.cursor() as cursor:
            cursor.execute("SET timezone = 'Asia/Kathmandu'; SET datestyle = 'SQL, DMY'")
            cursor.execute("SET extra_float_digits = 1")
        raw.commit()  # a rollback would undo the settings
        yield raw


def stored(session: Connection, field: Field, texts: list[str]) -> list[tuple[object, object]]:
    """The value and the JSON of each text in a column of the field's type."""
    values = check(texts, field).values
    table = pa.table({"line": list(range(len(texts))), "value": values.combine_chunks()})
    buffer = io.BytesIO()
    arrow_csv.write_csv(table, buffer, arrow_csv.WriteOptions(include_header=False))
    buffer.seek(0)
    with session.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE copied (line integer, value {column_type(field)})")
        try:
            cursor.copy_expert("COPY copied FROM STDIN (FORMAT csv)", buffer)
            encode = sql_type(field.type, field.sql).traits.json.format(column="value")
            cursor.execute(f"SELECT coalesce({encode}, 'null') FROM copied ORDER BY line")
            encoded = [row[0] for row in cursor]
            # The driver reads no other style, and no time after the year 9999 in the time zone.
            cursor.execute("SET LOCAL datestyle = 'ISO'; SET LOCAL timezone = 'UTC'")
            value = "value::text" if "json" in column_type(field) else "value"
            cursor.execute(f"SELECT {value} FROM copied ORDER BY line")
            return list(zip((row[0] for row in cursor), encoded, strict=True))
        finally:
            session.rollback()


def field_of(type_: FieldType, sql: str | None = None, **more: str) -> Field:
    return Field(name="x", type=type_, sql=sql, **more)


CASES = [
    (field_of(FieldType.STRING), st.text(st.characters(exclude_categories=["Cs"])), same),
    (field_of(FieldType.STRING, "varchar(3)"), st.text("aé😀 \n,\"'\\", max_size=4), same),
    (field_of(FieldType.STRING, "uuid"), st.uuids().map(str), UUID),
    *(
        (field_of(FieldType.INTEGER, sql), INTEGERS, lambda text: int(Decimal(text)))
        for sql in ("smallint", "integer", "bigint", "numeric", "numeric(30)")
    ),
    *(
        (field_of(FieldType.NUMBER, sql), NUMBERS, Decimal)
        for sql in (None, "numeric(12,2)", "numeric(38,10)", "numeric(60,30)", "numeric(100,40)")
    ),
    (field_of(FieldType.NUMBER, "double precision"), FLOATS, float),
    (field_of(FieldType.NUMBER, "real"), FLOATS, np.float32),
    (field_of(FieldType.BOOLEAN), st.sampled_from(["true", "1", "0", "FALSE", "x"]), None),
    (field_of(FieldType.DATE), DAYS, plain_date),
    (field_of(FieldType.TIME), CLOCKS, plain_time),
    *(
        (
            field_of(FieldType.DATETIME, sql, timezone="Europe/Berlin"),
            DATETIMES,
            lambda text: plain_datetime(text, "Europe/Berlin")[0],
        )
        for sql in ("timestamptz", "timestamp")
    ),
    (field_of(FieldType.YEAR), st.integers(0, 10_000).map("{:04}".format), int),
    *((field_of(type_), DOCUMENTS, as_decimals) for type_ in ("object", "array", "any")),
    (field_of(FieldType.EPOCH_MS), st.integers(-(10**14), 10**15).map(str), int),
]


def as_read(value: object) -> object:
    """A value from PostgreSQL in the form of the plain rules: instants in UTC without a zone."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


@pytest.mark.parametrize(("field", "texts", "plain"), CASES, ids=type_of)
def test_accepted_values_are_stored_as_they_are(
    session: Connection,
    field: Field,
    texts: st.SearchStrategy[str],
    plain: Callable[[str], object] | None,
):
    @settings(max_examples=40)
    @given(st.lists(texts, min_size=1, max_size=30))
    def copy(drawn: list[str]) -> None:
        accepted = check(drawn, field).values.is_valid().to_pylist()
        for text, is_accepted, (value, encoded) in zip(
            drawn, accepted, stored(session, field, drawn), strict=True
        ):
            assert isinstance(encoded, str)
            document = as_decimals(encoded) if plain is as_decimals else json.loads(encoded)
            if not is_accepted:
                assert value is None
                assert document is None
            elif plain is not None:
                _compare(field, text, value, document, plain)

    copy()


def _compare(
    field: Field, text: str, value: object, document: object, plain: Callable[[str], object]
) -> None:
    expected = plain(text)
    if field.type in {FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY}:
        assert document == expected
    elif isinstance(expected, np.float32) and np.isfinite(expected):
        assert np.float32(str(value)) == expected
    elif isinstance(expected, (float, np.float32)) and not math.isfinite(expected):
        assert str(value) == str(expected)
        assert isinstance(document, str)
    else:
        assert as_read(value) == expected
        if isinstance(expected, datetime):
            assert document == expected.isoformat(timespec="microseconds") + "Z"


EXTREMES = [
    (FieldType.INTEGER, "smallint", ["-32768", "32767"]),
    (FieldType.INTEGER, "integer", ["-2147483648", "2147483647"]),
    (FieldType.INTEGER, "bigint", ["-9223372036854775808", "9223372036854775807"]),
    (FieldType.INTEGER, "numeric", [LONG, f"-{LONG}"]),
    (FieldType.NUMBER, "numeric", [LONG, "1e131071", "1e-16383", "0." + "0" * 16_382 + "1"]),
    (FieldType.NUMBER, "numeric", [f"{LONG}." + "9" * 16_383, "9.9e131071"]),
    (FieldType.NUMBER, "numeric(12,2)", ["9999999999.99", "-9999999999.990000", "1e-2", "9.9e9"]),
    (FieldType.NUMBER, "numeric(12,12)", ["0.000000000001", ".999999999999", "-1e-12"]),
    (FieldType.NUMBER, "numeric(1000,500)", ["9" * 500 + "." + "9" * 500]),
    (FieldType.NUMBER, "double precision", ["1.7976931348623157e308", "4.9e-324", "-0", "NaN"]),
    (FieldType.NUMBER, "real", ["3.4028235e38", "1.4e-45", "-inf"]),
    (FieldType.DATE, "date", ["0001-01-01", "9999-12-31", "2000-02-29"]),
    (FieldType.TIME, "time", ["00:00", "23:59:59.999999"]),
    (FieldType.DATETIME, "timestamptz", ["0001-01-01T00:00", "9999-12-31T23:59:59.999999"]),
    (FieldType.DATETIME, "timestamp", ["0001-01-01T00:00", "9999-12-31T23:59:59.999999"]),
    (FieldType.YEAR, "smallint", ["0001", "9999"]),
    (FieldType.STRING, "char(2)", ["a", "é😀"]),
    (FieldType.STRING, "text", ["\x01\x7f\u2028\ufeff\U0010ffff", '"', "\\.", "\\N", "\r\n"]),
    (FieldType.ANY, "jsonb", [f"[{LONG}]", "[1e131071,1e-16383]", "[0e99999]"]),
    (
        FieldType.ANY,
        "jsonb",
        ["[" * 200 + "]" * 200, r'"\ud83d\ude00\u0001"', '"' + "x" * 10**5 + '"'],
    ),
    (FieldType.EPOCH_MS, "bigint", ["-62135596800000", "253402300799999"]),
]


@pytest.mark.parametrize(("type_", "sql", "texts"), EXTREMES, ids=lambda value: str(value)[:40])
def test_extremes_are_stored(session: Connection, type_: FieldType, sql: str, texts: list[str]):
    field = field_of(type_, sql)
    assert check(texts, field).faults == ()
    rows = stored(session, field, texts)
    assert len(rows) == len(texts)
    for text, (value, _) in zip(texts, rows, strict=True):
        if type_ is FieldType.NUMBER and "numeric" in sql:
            assert value == Decimal(text)
        elif (
            type_ in {FieldType.STRING, FieldType.INTEGER, FieldType.EPOCH_MS} and sql != "char(2)"
        ):
            assert str(value) == text


def test_extremes_cover_every_column_type():
    covered = {(type_, sql.partition("(")[0]) for type_, sql, _ in EXTREMES}
    covered |= {(field.type, column_type(field).partition("(")[0]) for field, _, _ in CASES}
    assert {(type_, sql) for type_ in FieldType for sql in TYPE_TRAITS[type_].sql} - covered == {
        (FieldType.YEAR, "bigint")
    }


def test_equal_rows_have_equal_texts_in_numeric(session: Connection):
    field = field_of(FieldType.NUMBER)
    rows = stored(session, field, ["1.5", "1.50", "+1.500", "15e-1", "0015e-1"])
    assert {str(value) for value, _ in rows} == {"1.5"}

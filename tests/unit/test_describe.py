"""`datasets describe`: guesses of types, keys and names, and the law that they fit the files."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from etl.cli.describing import Described, Existing, Sampled, describe_objects, named_place
from etl.model.dataset import Dataset, FieldType
from etl.model.errors import ConfigurationError
from etl.model.values import SourceObject
from etl.read.check import check_object
from etl.read.describe import sample
from etl.read.describe.block import DatasetPlace
from etl.read.describe.candidate import Context
from etl.read.describe.guess import guess
from etl.read.describe.place import dataset_name, include_of, with_hive_folders
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets

SETTINGS = Settings(_env_file=None)
MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
TODAY = date(2026, 1, 1)


def sampled(key: str, content: bytes) -> Sampled:
    parts = [content] if content else []
    return Sampled(SourceObject(key, "", len(content), MODIFIED), lambda: parts)


NO_FILE = Existing()


def described(files: dict[str, bytes], *, before: Existing = NO_FILE, **more: str) -> Described:
    place = DatasetPlace(name="", include=include_of(list(files)), **more)
    place = named_place(place, before, list(files))
    return describe_objects(
        [sampled(key, content) for key, content in files.items()], place, SETTINGS, before
    )


def errors_of(found: Described, files: dict[str, bytes]) -> list[str]:
    """The errors that `check` finds in the files with the printed declaration."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "datasets.toml"
        path.write_text(found.text, "utf-8")
        (dataset,) = read_datasets(path, SETTINGS)
    assert dataset == found.dataset
    problems = []
    for key, content in files.items():
        one = sampled(key, content)
        problems += check_object(one.source, dataset, one.parts, TODAY).problems
    return [f"{one.code} {one.column} {one.value}" for one in problems if one.severity == "error"]


def fields(found: Described) -> dict[str, FieldType]:
    return {one.name: one.type for one in found.dataset.fields}


GUESSES = [
    ("betrag", ["1.234,56", "12,5", "0,99"], 'number decimalChar="," groupChar="."'),
    ("amount", ["1,234.56", "12.5"], 'number groupChar=","'),
    ("amount", ["1'234.50", "7"], 'number groupChar="\'"'),
    ("amount", ["1\u00a0234,5"], 'number decimalChar="," groupChar="\u00a0"'),
    ("amount", ["1.234.567", "1"], 'integer groupChar="."'),
    ("price", ["1.5", "-2", "0.25"], "number"),
    ("score", ["1e5", "2.5"], "number double precision"),
    ("share", ["0.30000000000000004"], "number double precision"),
    ("user_id", ["1000.0", "1001.0"], "number numeric(18,0)"),
    ("plz", ["01234", "99999"], "string"),
    ("card", ["99999999999999999999"], "string"),
    ("phone", ["+49 123", "+49 456"], "string"),
    ("count", ["1", "-20", "0"], "integer"),
    ("year", ["2024", "1999"], "year"),
    ("created_at", ["1700000000000"], "epoch-ms"),
    ("created_at", ["1700000000"], "integer"),
    ("ean", ["4006381333931"], "integer"),
    ("is_paid", ["0", "1"], "boolean"),
    ("pages", ["0", "1"], "integer"),
    ("ok", ["true", "FALSE"], "boolean"),
    ("ok", ["ja", "Nein"], 'boolean trueValues="ja","Ja" falseValues="nein","Nein"'),
    ("ok", ["Y", "N"], 'boolean trueValues="Y" falseValues="N"'),
    ("day", ["2024-02-29"], "date"),
    ("day", ["31.12.2024", "1.2.2024"], "date %d.%m.%Y"),
    ("day", ["13/02/2024", "01/02/2024"], "date %d/%m/%Y"),
    ("day", ["02/13/2024"], "date %m/%d/%Y"),
    ("day", ["Mar 5, 2024"], "date %b %d, %Y"),
    ("day", ["5-Mar-24"], "date %d-%b-%y"),
    ("day", ["20240131"], "date %Y%m%d"),
    ("number", ["20240131"], "integer"),
    ("day", ["30.02.2024"], "string"),
    ("at", ["2024-01-01T10:00:00Z", "2024-01-01 10:00+02:00"], "datetime"),
    ("at", ["31.12.2024 13:45:00"], "datetime %d.%m.%Y %H:%M:%S"),
    ("at", ["31.12.2024 13:45"], "datetime %d.%m.%Y %H:%M"),
    ("at", ["12/31/2024 1:45 PM"], "datetime %m/%d/%Y %I:%M %p"),
    ("at", ["10/Oct/2000:13:55:36 -0700"], "datetime %d/%b/%Y:%H:%M:%S %z"),
    ("at", ["Fri, 27 Mar 2026 18:30:05 +0100"], "datetime %a, %d %b %Y %H:%M:%S %z"),
    ("ts", ["20240131143000"], "datetime %Y%m%d%H%M%S"),
    ("at", ["10:30", "23:59:59"], "time"),
    ("at", ["9:15"], "time %H:%M"),
    ("data", ['{"a": [1]}', "{}"], "object"),
    ("data", ["[1, 2]", "[]"], "array"),
    ("data", ["{", "{}"], "string"),
    ("text", ["a", "1"], "string"),
    ("discount", ["12 %"], "string"),
]


@pytest.mark.parametrize(("header", "values", "expected"), GUESSES)
def test_the_guess_of_a_column_has_its_type_and_format(
    header: str, values: list[str], expected: str
):
    (found, missing) = guess(values, Context(header))
    field = found.field
    said = [field.type.value, field.sql or "", field.format or ""]
    for key, value in (("decimalChar", field.decimal_char), ("groupChar", field.group_char)):
        said += [f'{key}="{value}"'] if value not in {"", "."} or (value and key[0] == "g") else []
    if field.type is FieldType.BOOLEAN and field.true_values[0] != "true":
        for key, texts in (("trueValues", field.true_values), ("falseValues", field.false_values)):
            said.append(f"{key}=" + ",".join(f'"{text}"' for text in texts))
    assert " ".join(filter(None, said)) == expected
    assert missing == ()


@pytest.mark.parametrize(
    ("header", "values", "note"),
    [
        ("n", ["1.234", "12.500"], 'groupChar = "."'),
        ("n", ["1,234"], 'decimalChar = ","'),
        ("day", ["01/02/2024"], '"%d/%m/%Y"'),
        ("at", ["2024-01-01 10:00"], "timezone"),
        ("plz", ["01234"], "leading zeros"),
        ("id", ["1.0"], "pandas"),
        ("created", ["1700000000"], "seconds"),
        ("is_x", ["0", "1"], "integer"),
    ],
)
def test_an_uncertain_guess_has_a_note(header: str, values: list[str], note: str):
    assert note in guess(values, Context(header))[0].note


@pytest.mark.parametrize(
    ("values", "type_", "missing"),
    [
        (["1", "NULL", "-"], FieldType.INTEGER, ("-", "NULL")),
        (["1.5", "NaN", "n/a"], FieldType.NUMBER, ("NaN", "n/a")),
        (["2024-01-01", "None"], FieldType.DATE, ("None",)),
        (["DE", "NA"], FieldType.STRING, ()),
        (["-", "red"], FieldType.STRING, ()),
        (["NULL", "red"], FieldType.STRING, ("NULL",)),
        (["NULL"], FieldType.STRING, ("NULL",)),
        (["-"], FieldType.STRING, ()),
    ],
)
def test_texts_that_mean_null_are_missing_values(
    values: list[str], type_: FieldType, missing: tuple[str, ...]
):
    found = guess(values, Context())
    assert (found[0].field.type, found[1]) == (type_, missing)


ORDERS = """\
Bestellnummer;Kunde Nr.;Betrag;Bestellt am;Bezahlt;Geändert;PLZ;Notiz
AB-1;0001;1.234,50;31.12.2023;ja;31.12.2023 13:45:00;01234;
AB-2;0002;12,00;01.01.2024;nein;01.01.2024 08:00:00;99999;NULL
AB-3;0003;-;05.01.2024;ja;05.01.2024 18:30:05;10115;Bitte klingeln
"""


def test_an_excel_export_is_described():
    files = {"shop/Bestellungen_2024-01.csv": ORDERS.encode("cp1252")}
    found = described(files)
    assert errors_of(found, files) == []
    one = found.dataset
    assert (one.name, one.include) == ("bestellungen", ("**/Bestellungen*.csv",))
    assert one.primary_key == ("bestellnummer",)
    assert one.prefer == "geaendert"
    assert one.missing_values == ("", "-", "NULL")
    assert one.dialect.delimiter == ";"
    assert fields(found) == {
        "bestellnummer": FieldType.STRING,
        "kunde_nr": FieldType.STRING,
        "betrag": FieldType.NUMBER,
        "bestellt_am": FieldType.DATE,
        "bezahlt": FieldType.BOOLEAN,
        "geaendert": FieldType.DATETIME,
        "plz": FieldType.STRING,
        "notiz": FieldType.STRING,
    }
    assert one.field("kunde_nr").aliases == ("Kunde Nr.",)
    required = [field.name for field in one.fields if field.constraints.required]
    assert required == [name for name in fields(found) if name not in {"betrag", "notiz"}]


FRAME = """\
,user_id,score,active,name,Name
0,1000.0,0.5,True,a,b
1,,NaN,False,b,c
2,1002.0,1e-7,True,c,d
"""


def test_a_csv_of_pandas_is_described():
    files = {"frame.csv": FRAME.encode()}
    found = described(files)
    assert errors_of(found, files) == []
    assert list(fields(found)) == ["user_id", "score", "active"]
    assert found.dataset.field("user_id").sql == "numeric(18,0)"
    assert "index=False" in found.text
    assert found.text.count("only in case") == 2


def test_columns_of_several_files_are_joined_and_required_if_all_have_them():
    files = {"a/x1.csv": b"id,n\n1,1\n2,2\n", "a/x2.csv": b"N;ID;more\n3;1;\n4;2;x\n"}
    found = described(files)
    assert errors_of(found, files) == []
    required = {one.name: one.constraints.required for one in found.dataset.fields}
    assert required == {"id": True, "n": True, "more": False}
    assert found.dataset.dialect.delimiter is None
    assert found.dataset.primary_key == ("id",)


def test_keys_with_hive_folders_give_path_columns():
    files = {
        f"lake/sales/year={year}/month={month}/part-0.csv": b"sku,units\na,1\nb,2\n"
        for year, month in ((2024, "01"), (2024, "02"), (2025, "01"))
    }
    found = described(files)
    assert errors_of(found, files) == []
    assert found.dataset.name == "sales"
    assert found.dataset.include == ("**/sales/year=*/month=*/*.csv",)
    assert found.dataset.path_columns == "hive"
    assert fields(found)["year"] is FieldType.YEAR
    assert fields(found)["month"] is FieldType.STRING


def test_short_rows_are_padded():
    files = {"a.csv": b"id,x,y\n1,2,3\n2,3\n"}
    found = described(files)
    assert errors_of(found, files) == []
    assert found.dataset.short_rows == "pad"


def test_a_key_too_long_for_an_index_is_no_key():
    files = {"a.csv": f"id,x\n{'a' * 3_000},1\nb,2\n".encode()}
    found = described(files)
    assert errors_of(found, files) == []
    assert found.dataset.primary_key == ()


def test_a_file_without_an_extension_gets_a_format():
    files = {"orders.txt": b"id;x\n1;2\n"}
    found = described(files)
    assert found.dataset.format == "csv"
    assert found.dataset.include == ("**/orders*.txt",)
    assert errors_of(found, files) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"a,a\n1,2\n", "more than one column named a"),
        (b"a,b\n", "no rows"),
        (b'a,"b\n1,2\n', "not closed"),
        (b"a,b\n1,2,3\n", "No row of a.csv can be read"),
        (b"Orders of May\n\nid;n;day\n1;2;3\n2;3;4\n", "Line 2 of those"),
        (b"Orders of May;;;\nid;n;day;x\n1;2;3;4\n2;3;4;\n", "Line 2 of those"),
        (b"sep=;\nid;n\n1;2\n", "Line 2 of those"),
        (b"PAR1\x15\x04", "a.csv cannot be read"),
    ],
)
def test_a_file_that_no_declaration_reads_is_an_error(content: bytes, said: str):
    with pytest.raises(ConfigurationError) as caught:
        described({"a.csv": content})
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"text\nHello, world\nYes\nA, b, c\n", ["text"]),
        (b"price\n1,5\n2,5\n", ["price"]),
        (b"a:b\n1:2\n", ["a", "b"]),
        (b"a^b\n1^2\n", ["a", "b"]),
        (b'"a;b",c\n"1;2",3\n', ["a_b", "c"]),
        ("a;b\n1;2\n".encode("utf-16"), ["a", "b"]),
    ],
)
def test_the_delimiter_is_found_by_the_rows(content: bytes, columns: list[str]):
    found = described({"a.csv": content})
    assert list(fields(found)) == columns
    assert errors_of(found, {"a.csv": content}) == []


DUMP = """\
{"_id": {"$oid": "a1"}, "orderId": 1, "total": 12.5, "paid": true, "at": "2026-01-01T00:00:00Z"}
{"_id": {"$oid": "a2"}, "orderId": 2, "total": 3, "paid": false, "items": [{"sku": "x"}]}
{"_id": {"$oid": "a3"}, "orderId": 3, "total": null, "paid": true, "zip": "01234", "at": null}
"""


@pytest.mark.parametrize("key", ["dump.ndjson", "dump.ndjson.gz", "dump.json", "dump"])
def test_a_dump_of_an_api_is_described(key: str):
    text = f"[{','.join(DUMP.splitlines())}]" if key.endswith("json") and "nd" not in key else DUMP
    content = gzip.compress(text.encode()) if key.endswith(".gz") else text.encode()
    found = described({key: content})
    assert errors_of(found, {key: content}) == []
    assert fields(found) == {
        "id": FieldType.OBJECT,
        "order_id": FieldType.INTEGER,
        "total": FieldType.NUMBER,
        "paid": FieldType.BOOLEAN,
        "at": FieldType.DATETIME,
        "items": FieldType.ARRAY,
        "zip": FieldType.STRING,
    }
    assert found.dataset.primary_key == ("order_id",)
    assert found.dataset.format == ("ndjson" if key == "dump" else None)
    assert found.dataset.field("order_id").aliases == ("orderId",)


def test_a_file_that_cannot_be_read_is_left_out():
    files = {"x1.csv": b"a,b\n1,2\n", "x2.csv": b""}
    found = described(files)
    assert [one.key for one in found.unread] == ["x2.csv"]


def test_a_block_for_a_file_with_datasets_has_no_version_and_a_free_name():
    files = {"orders.csv": b"id\n1\n2\n"}
    found = described(files, before=Existing(has_content=True, names=frozenset({"Orders"})))
    assert found.text.startswith("\n# Guessed from 2 rows of 1 file.")
    assert found.dataset.name == "orders_2"


@pytest.mark.parametrize(
    ("keys", "name", "include"),
    [
        (["/home/x/orders_2024-01.csv"], "orders", "**/orders*.csv"),
        (["orders/1.csv"], "orders", "**/orders/**/*.csv"),
        (["a/orders-1.csv", "a/orders-2.tsv"], "orders", "**/orders-*{.csv,.tsv}"),
        (["Bestellungen (2).csv.gz"], "bestellungen", "**/Bestellungen*.csv.gz"),
        (["Größe {x}.csv"], "groesse", "**/Gr??e ?x?.csv"),
        (["users.csv"], "data", "**/users*.csv"),
        (["2024.csv"], "data", "**/2024.csv"),
    ],
)
def test_names_and_patterns_come_from_the_files(keys: list[str], name: str, include: str):
    assert dataset_name(keys, ()) == name
    if "?" not in include:
        assert include_of(keys) == (include,)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("orders/**/*.csv", "orders"),
        ("sensors/{a,b}/*.parquet", "sensors"),
        ("logs/app-*.ndjson", "app"),
        ("lake/sales/year=*/*.parquet", "sales"),
        ("**/*.csv", "data"),
    ],
)
def test_the_name_comes_from_the_pattern(pattern: str, name: str):
    assert dataset_name([pattern], ()) == name


def test_hive_folders_are_named_only_if_all_keys_have_them():
    keys = ["a/x=1/b.csv", "a/x=2/y=1/b.csv"]
    assert with_hive_folders(["a/**"], keys) is None
    assert with_hive_folders(["a/**"], keys[:1]) == ("a/x=*/*.csv",)
    assert with_hive_folders(["a/**/x=*/*"], keys[1:]) == ("a/**/x=*/*",)


# -- the law: the printed declaration is valid, and the files have no errors


@dataclass(frozen=True)
class Kind:
    """Texts of one kind, and the type that they must get; None if that depends on the texts."""

    texts: st.SearchStrategy[str]
    type: FieldType | None = None


DAYS = st.dates(date(1950, 1, 1), date(2049, 12, 31))
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2049, 12, 31))  # noqa: DTZ001
CENTS = st.integers(-(10**9), 10**9)
EVIL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


def german(cents: int) -> str:
    return f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))


KINDS = {
    "amount": Kind(CENTS.map(german), FieldType.NUMBER),
    "price": Kind(CENTS.map(lambda cents: f"{cents / 100:.2f}"), FieldType.NUMBER),
    "float": Kind(st.floats(allow_infinity=False).map(repr)),
    "float_id": Kind(st.integers(0, 10**9).map(lambda one: f"{one}.0"), FieldType.NUMBER),
    "whole": Kind(st.integers(-(2**63), 2**63 - 1).map(str)),
    "zip": Kind(st.integers(0, 9999).map(lambda one: f"0{one:04}"), FieldType.STRING),
    "day": Kind(DAYS.map(date.isoformat), FieldType.DATE),
    "tag": Kind(DAYS.map(lambda one: one.strftime("%d.%m.%Y")), FieldType.DATE),
    "us_date": Kind(DAYS.map(lambda one: one.strftime("%m/%d/%Y")), FieldType.DATE),
    "moment": Kind(MOMENTS.map(lambda one: f"{one.isoformat()}+02:00"), FieldType.DATETIME),
    "local": Kind(MOMENTS.map(lambda one: one.strftime("%d.%m.%Y %H:%M")), FieldType.DATETIME),
    "created": Kind(
        st.integers(0, 10**8).map(lambda one: str((1_600_000_000 + one) * 1000)),
        FieldType.EPOCH_MS,
    ),
    "time": Kind(st.times().map(lambda one: one.isoformat("minutes")), FieldType.TIME),
    "flag": Kind(st.sampled_from(["ja", "nein", "Ja"]), FieldType.BOOLEAN),
    "json": Kind(st.sampled_from(['{"a": 1}', "{}", '{"b": [null, "x,;"]}']), FieldType.OBJECT),
    "year": Kind(st.integers(1900, 2100).map(str), FieldType.YEAR),
    "odd": Kind(EVIL),
    "mix": Kind(st.one_of(EVIL, CENTS.map(german), DAYS.map(date.isoformat))),
    "enum": Kind(st.sampled_from(["new", "paid", "sent"]), FieldType.STRING),
}
BLANKS = st.sampled_from(["", "", "", "NULL", " "])
HEADERS = st.one_of(
    EVIL.filter(lambda text: text.strip() and "\ufeff" not in text and len(text.splitlines()) == 1),
    st.sampled_from(["Order No", "_id", "Größe", "xmin", "a" * 70, "1", "Unnamed: 0", "SELECT"]),
)


@dataclass(frozen=True)
class Table:
    """Generated columns: their headers, kinds, and texts row by row."""

    headers: list[str]
    kinds: list[str | None]
    rows: list[list[str]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5, unique=True))
    odd = draw(st.lists(HEADERS, max_size=2, unique_by=lambda one: one.strip()))
    odd = [one for one in odd if one.strip().casefold() not in kinds]
    count = draw(st.integers(1, 6))
    columns = [
        draw(
            st.lists(
                st.one_of(KINDS[kind].texts, KINDS[kind].texts, BLANKS),
                min_size=count,
                max_size=count,
            )
        )
        for kind in (*kinds, *["odd"] * len(odd))
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table([*kinds, *odd], [*kinds, *[None] * len(odd)], rows)


def as_csv(table: Table, delimiter: str, ending: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerow(table.headers)
    writer.writerows(table.rows)
    return text.getvalue().encode()


@settings(max_examples=40)
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_generated_csv_files_have_no_errors_with_their_description(
    table: Table, delimiter: str, ending: str
):
    check_law(table, {"generated.csv": as_csv(table, delimiter, ending)})


@settings(max_examples=30)
@given(tables(), st.data())
def test_generated_json_files_have_no_errors_with_their_description(
    table: Table, data: st.DataObject
):
    key, content = as_json(table, data.draw)
    check_law(table, {key: content})


@pytest.mark.long
@settings(max_examples=3_000)
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.data())
def test_many_generated_files_have_no_errors(
    table: Table, delimiter: str, ending: str, data: st.DataObject
):
    check_law(table, {"generated.csv": as_csv(table, delimiter, ending)})
    key, content = as_json(table, data.draw)
    check_law(table, {key: content})


def as_json(table: Table, draw: Callable[[st.SearchStrategy[str]], str]) -> tuple[str, bytes]:
    """The table as NDJSON or as an array, also compressed; numbers and booleans are JSON's own."""
    rows = [
        {
            header: _json_value(cell)
            for header, cell in zip(table.headers, row, strict=True)
            if cell.strip()
        }
        for row in table.rows
    ]
    key = draw(st.sampled_from(["x.ndjson", "x.json", "x.jsonl.gz", "x.json.bz2"]))
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = f"[{','.join(texts)}]" if ".json" in key and ".jsonl" not in key else "\n".join(texts)
    content = text.encode()
    if key.endswith(".gz"):
        return key, gzip.compress(content)
    return key, bz2.compress(content) if key.endswith(".bz2") else content


ARROW = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float64(), st.floats()),
    "float_id": (pa.float64(), st.integers(0, 10**9).map(float)),
    "single": (pa.float32(), st.floats(width=32)),
    "text": (pa.string(), EVIL),
    "utc": (pa.timestamp("us", "UTC"), MOMENTS),
    "local": (pa.timestamp("ms"), MOMENTS.map(lambda one: one.replace(microsecond=0))),
    "day": (pa.date32(), DAYS),
    "flag": (pa.bool_(), st.booleans()),
    "price": (pa.decimal128(12, 2), st.decimals(-1000, 1000, places=2)),
    "list": (pa.list_(pa.int32()), st.lists(st.integers(0, 9), max_size=2)),
    "struct": (pa.struct({"a": pa.string()}), st.fixed_dictionaries({"a": EVIL})),
    "kind": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b"])),
}
ARROW_TYPES = {
    "float_id": FieldType.INTEGER,
    "whole": FieldType.INTEGER,
    "utc": FieldType.DATETIME,
    "local": FieldType.DATETIME,
    "day": FieldType.DATE,
    "flag": FieldType.BOOLEAN,
    "price": FieldType.NUMBER,
    "list": FieldType.ARRAY,
    "struct": FieldType.OBJECT,
}


@settings(max_examples=40)
@given(st.lists(st.sampled_from(sorted(ARROW)), min_size=1, unique=True), st.data())
def test_parquet_files_have_no_errors_with_their_description(names: list[str], data: st.DataObject):
    count = data.draw(st.integers(1, 4))
    columns = {}
    for name in names:
        type_, values = ARROW[name]
        cells = st.lists(st.none() | values, min_size=count, max_size=count)
        columns[name] = pa.array(data.draw(cells), type_)
    content = io.BytesIO()
    parquet.write_table(pa.table(columns), content)
    files = {"x.parquet": content.getvalue()}
    found = described(files)
    assert errors_of(found, files) == []
    for name, type_ in ARROW_TYPES.items():
        if name in columns and columns[name].null_count < count:
            assert fields(found)[name] in {type_, FieldType.STRING if name == "whole" else type_}


def _json_value(cell: str) -> object:
    """The cell as a number or a document, if it is one of JSON."""
    try:
        value = json.loads(cell, parse_constant=str)
    except ValueError:
        return cell
    return cell if isinstance(value, str) or value is None else value


def check_law(table: Table, files: dict[str, bytes]) -> None:
    """The files of a table have no errors with their description, which has the right types."""
    if all(not cell.strip() for row in table.rows for cell in row):
        with pytest.raises(ConfigurationError, match="no rows"):
            described(files)
        return
    found = described(files)
    assert errors_of(found, files) == []
    check_types(found.dataset, table)


def check_types(dataset: Dataset, table: Table) -> None:
    """Each column of a certain kind has its type."""
    for place, kind in enumerate(table.kinds):
        values = {row[place] for row in table.rows} - {"", " ", "NULL"}
        if kind is not None and values and KINDS[kind].type is not None:
            assert dataset.field(kind).type is KINDS[kind].type, (kind, values)


def test_a_long_file_is_described_by_its_first_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "MOST_ROWS", 2_000)
    rows = (f"{number},{MODIFIED + timedelta(number):%Y-%m-%d}" for number in range(3_000))
    content = "id,day\n" + "\n".join(rows) + "\n,x\n"
    parts = [content[start : start + 10_000].encode() for start in range(0, len(content), 10_000)]
    source = SourceObject("long.csv", "", len(content), MODIFIED)
    place = DatasetPlace(name="long", include=("**",))
    found = describe_objects([Sampled(source, lambda: parts)], place, SETTINGS, NO_FILE)
    assert found.dataset.primary_key == ("id",)
    assert fields(found)["day"] is FieldType.DATE
    assert "rows (there are more) of 1 file" in found.text

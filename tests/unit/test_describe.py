"""`datasets describe`: guesses of types, keys and names, and the law that they fit the files."""

from __future__ import annotations

import gzip
import io
import json
from datetime import date, timedelta

import pyarrow as pa
import pytest
from pyarrow import parquet

from etl.cli.describing import Existing, Sampled, describe_objects
from etl.model.dataset import FieldType
from etl.model.errors import ConfigurationError, UnreadableObject
from etl.model.values import SourceObject
from etl.read.describe import sample
from etl.read.describe.block import DatasetPlace
from etl.read.describe.candidate import Context
from etl.read.describe.guess import guess
from etl.read.describe.place import dataset_name, include_of, with_hive_folders, without_others
from tests.described_files import (
    MODIFIED,
    NO_FILE,
    SETTINGS,
    described,
    errors_of,
    fields,
    sampled,
    workbook,
)

GUESSES = [
    ("betrag", ["1.234,56", "12,5", "0,99"], 'number numeric(18,2) decimalChar="," groupChar="."'),
    ("amount", ["1,234.56", "12.5"], 'number numeric(18,2) groupChar=","'),
    ("amount", ["1'234.50", "7"], 'number numeric(18,2) groupChar="\'"'),
    ("amount", ["1\u00a0234,5"], 'number numeric(18,2) decimalChar="," groupChar="\u00a0"'),
    ("amount", ["1.234.567", "1"], 'integer groupChar="."'),
    ("price", ["1.5", "-2", "0.25"], "number numeric(18,2)"),
    ("rate", ["1.12345678"], "number"),
    ("score", ["1e5", "2.5"], "number double precision"),
    ("share", ["0.30000000000000004"], "number double precision"),
    ("user_id", ["1000.0", "1001.0"], "integer"),
    ("user_id", ["1000.00", "1001.00"], "number numeric(18,0)"),
    ("plz", ["01234", "99999"], "string"),
    ("card", ["99999999999999999999"], "string"),
    ("phone", ["+49 123", "+49 456"], "string"),
    ("count", ["1", "-20", "0"], "integer"),
    ("year", ["2024", "1999"], "year"),
    ("created_at", ["1700000000000"], "epoch-ms"),
    ("created_at", ["1700000000"], "integer"),
    ("at", ["1700000000000"], "epoch-ms"),
    ("number", ["1700000000000"], "integer"),
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
        ("number", ["1700000000000"], "epoch-ms"),
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
    assert found.dataset.field("user_id").type is FieldType.INTEGER
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


def test_a_column_that_is_nearly_a_key_says_which_value_occurs_twice():
    rows = "".join(f"RE-{number},5\n" for number in [*range(100), 41])
    found = described({"a.csv": f"rechnungs_nr,betrag\n{rows}".encode()})
    assert found.dataset.primary_key == ()
    assert (
        '# primaryKey = ["rechnungs_nr"]: 100 of 101 values are different; not "RE-41"'
        " (line 43 and line 102)\n" in found.text
    )
    many = "".join(f"RE-{number % 60},5\n" for number in range(100))
    assert "primaryKey" not in described({"a.csv": f"nr,betrag\n{many}".encode()}).text


def test_files_without_a_common_column_are_not_one_dataset():
    found = described({"a.csv": b"id,n\n1,2\n", "b.csv": b"ID,m\n1,2\n", "c.csv": b"x,y\n1,2\n"})
    assert [one.key for one in found.unread] == ["c.csv"]
    assert found.unread[0].note.startswith("It has no column of a.csv. Declare it as another")
    assert list(fields(found)) == ["id", "n", "m"]


def test_patterns_of_left_out_files_are_left_out():
    include = ("**/a.csv", "**/c.csv")
    assert without_others(include, ["x/a.csv"], ["x/c.csv"]) == ("**/a.csv",)
    assert without_others(("**/*.csv",), ["a.csv"], ["c.csv"]) == ("**/*.csv",)
    assert without_others(include, ["q.txt"], ["a.csv", "c.csv"]) == include


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
        (b'a,"b;c",e\n"1,0","\n\n;",2\n', ["a", "b_c", "e"]),
        ("a;b\n1;2\n".encode("utf-16"), ["a", "b"]),
    ],
)
def test_the_delimiter_is_found_by_the_rows(content: bytes, columns: list[str]):
    found = described({"a.csv": content})
    assert list(fields(found)) == columns
    assert errors_of(found, {"a.csv": content}) == []


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (b"Orders of May\n\nid;n;day\n1;2;3\n2;3;4\n", 3),
        (b"Orders;;;\nof May;;;\n\n\nid;n;day;x\n1;2;3;4\n2;3;4;\n", 5),
        (b'"Orders, May"\n"id","n"\n"1","2"\n', 2),
        (b"sep=;\nid;n\n1;2\n", 2),
        (b"id;n\n1;\n2;3\n", 1),
    ],
)
def test_titles_above_the_header_are_skipped(content: bytes, row: int):
    found = described({"a.csv": content})
    assert found.dataset.dialect.header_row == row
    assert list(fields(found))[:2] == ["id", "n"]
    assert errors_of(found, {"a.csv": content}) == []


def test_a_file_with_its_header_in_another_row_is_left_out():
    found = described({"x1.csv": b"a;b\n1;2\n", "x2.csv": b"title\na;b\n1;2\n"})
    assert [one.key for one in found.unread] == ["x2.csv"]
    assert "line 2" in found.unread[0].note
    titled = {"x1.xlsx": workbook([["a"], [1]]), "x2.xlsx": workbook([["title"], ["a", "b"], [1]])}
    note = described(titled).unread[0].note
    assert note.startswith("Its header is in row 2, that of x1.xlsx in row 1.")


def test_a_column_of_formulas_without_values_is_not_declared():
    rows = [["id", "n", "total"], ["a", 1, "=B2*2"], ["b", 2, "=B3*2"]]
    files = {"sums.xlsx": workbook(rows)}
    found = described(files)
    assert list(fields(found)) == ["id", "n"]
    assert "# total is not declared: its cells are formulas without values" in found.text
    assert found.rejected == []
    assert errors_of(found, files) == []


def test_errors_of_formulas_that_mean_null_have_a_comment():
    found = described({"sums.csv": b"id,n\na,1\nb,#VALUE!\n"})
    assert found.dataset.missing_values == ("", "#VALUE!")
    assert "# without #VALUE! here, rows with such errors would be rejected\nmissing" in found.text


def test_a_workbook_with_a_title_is_described():
    rows: list[list[object]] = [
        ["Orders of May"],
        [],
        ["Order No", "Total", "Placed on", "Paid", "Zip"],
        ["A-1", 12.5, date(2026, 5, 1), True, "01234"],
        ["A-2", 3, date(2026, 5, 2), False, "99999"],
        ["A-3", None, date(2026, 5, 3), True, "10115"],
    ]
    files = {"orders.xlsx": workbook(rows)}
    found = described(files)
    assert errors_of(found, files) == []
    assert found.dataset.dialect.header_row == 3
    assert fields(found) == {
        "order_no": FieldType.STRING,
        "total": FieldType.NUMBER,
        "placed_on": FieldType.DATE,
        "paid": FieldType.BOOLEAN,
        "zip": FieldType.STRING,
    }
    assert found.dataset.field("order_no").aliases == ("Order No",)
    assert found.dataset.primary_key == ("order_no",)


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


def test_an_object_that_the_store_does_not_return_is_left_out():
    def denied() -> list[bytes]:
        raise UnreadableObject("Access to b.csv is denied.", hint="Allow it.")

    refused = Sampled(SourceObject("b.csv", "", 9, MODIFIED), denied)
    place = DatasetPlace(name="a", include=("**",))
    readable = sampled("a.csv", b"a,b\n1,2\n")
    found = describe_objects([readable, refused], place, SETTINGS, NO_FILE)
    assert [one.note for one in found.unread] == ["Access to b.csv is denied. Allow it."]
    with pytest.raises(ConfigurationError, match=r"b\.csv cannot be read"):
        describe_objects([refused], place, SETTINGS, NO_FILE)


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


PAGE = b'{"next": null, "Data": [{"id": 1, "n": "1,5"}, {"id": 2, "n": "2,5"}], "more": [{"a": 1}]}'


@pytest.mark.parametrize(
    ("key", "content", "member"),
    [
        ("pages.json", PAGE, "Data"),
        ("shop.json", b'{"shop": [{"id": 1}], "n": 1}', "shop"),
        ("a.json", b' { "any \\"name\\"" : [ {"id": 1}, {"id": 2}]}', 'any "name"'),
        ("a.json", b'{"n": 1, "lines": [{"id": 1}], "Rows": [{"id": 1}]}', "Rows"),
        (
            "a.json",
            b'\xef\xbb\xbf{"results": [{"id": 1}], "n": "' + b"x" * 100_000 + b'"}',
            "results",
        ),
    ],
)
def test_the_member_with_the_rows_is_declared(key: str, content: bytes, member: str):
    found = described({key: content})
    assert found.dataset.dialect.member == member
    assert "Without property, a file is one row." in found.text
    assert "id" in fields(found)
    assert errors_of(found, {key: content}) == []


@pytest.mark.parametrize(
    ("key", "content", "is_noted"),
    [
        ("order.json", b'{"id": 1, "lines": [{"sku": 1}]}', True),
        ("order.json", b'{"id": 1, "lines": [1], "data": {"data": [{}]}}', False),
        ("order.json", b'[{"data": [{"id": 1}]}]', False),
        ("order.ndjson", b'{"data": [{"id": 1}]}', False),
    ],
)
def test_a_row_with_an_array_stays_a_row(key: str, content: bytes, is_noted: bool):  # noqa: FBT001
    found = described({key: content})
    assert found.dataset.dialect.member is None
    assert ('dialect = { property = "lines" }' in found.text) is is_noted
    assert errors_of(found, {key: content}) == []


def test_files_with_the_rows_elsewhere_are_left_out():
    files = {"p1.json": PAGE, "p2.json": b'[{"id": 3, "n": "1"}]', "p3.json": b'{"x": [{"id": 1}]}'}
    found = described(files)
    assert [one.key for one in found.unread] == ["p2.json", "p3.json"]
    assert [one.note.partition(",")[0] for one in found.unread] == [
        'Its rows are not in the array "Data"',
        'Its rows are in the array "x"',
    ]


NEARLY = [
    (["1,5"] * 4 + ["12,5x", "2,25"], '5 of 6 values are numbers with decimalChar = ","', "12,5x"),
    (["1.234,5", "1,25", "7", "12,00", "~"], 'decimalChar = ",", groupChar = "."', "~"),
    (["1", "2", "3", "4", "x", "5", "6", "7", "8", "y"], "8 of 10 values are whole numbers", "x"),
    (["01.02.2024", "13.02.2024", "30.02.2024", "1.3.2024", "2.3.2024"], "dates", "30.02.2024"),
    (["2024-01-31"] * 9 + ["soon"], "9 of 10 values are dates;", "soon"),
    (["2024-01-31T10:00Z"] * 9 + ["soon"], "dates with times", "soon"),
    (["ja", "nein"] * 5 + ["vielleicht"], 'trueValues = ["ja"], falseValues = ["nein"]', "viell"),
]


@pytest.mark.parametrize(("values", "note", "wrong"), NEARLY)
def test_a_text_column_that_is_nearly_of_another_type_says_so(
    values: list[str], note: str, wrong: str
):
    content = "\n".join(["v;w", *(f"{one};w" for one in values)]).encode()
    found = described({"a.csv": content})
    assert fields(found)["v"] is FieldType.STRING
    (said,) = [line for line in found.text.splitlines() if "values are" in line]
    line = next(place for place, one in enumerate(values, 2) if one.startswith(wrong))
    assert note in said
    assert f'not "{wrong}' in said
    assert said.endswith(f"(line {line})")
    assert errors_of(found, {"a.csv": content}) == []


@pytest.mark.parametrize(
    "values",
    [
        ["1,5", "2", "3", "x", "y"],  # too many others
        ["a", "b", "c", "d", "1"],
        ["1", "2", "x"],  # too few
        ["A-1", "A-2", "B-3", "B-4", "B-5"],
        ["01", "02", "03", "04", "x"],  # leading zeros
    ],
)
def test_other_text_columns_are_not_said_to_be_nearly_of_another_type(values: list[str]):
    content = "\n".join(["v;w", *(f"{one};w" for one in values)]).encode()
    found = described({"a.csv": content})
    assert fields(found)["v"] is FieldType.STRING
    assert "values are" not in found.text


def test_the_value_of_another_type_is_named_with_its_file_and_its_row():
    files = {"a1.csv": b"v;w\n1,5;\n2,5;\n\n3,5;\n", "a2.csv": b"v;w\n4,5;\n;\nx;\n"}
    assert 'not "x" (a2.csv, line 4)' in described(files).text
    rows = [{"v": one} for one in ("1,5", "2,5", "", "3,5", "4,5", "x")]
    files = {"a.json": json.dumps({"data": rows}).encode()}
    assert 'not "x" (element 6)' in described(files).text
    numbers = [["v", "w"], *([one, "w"] for one in ("1,5", "2,5", "3,5", "4,5", "x"))]
    assert 'not "x" (row 6)' in described({"a.xlsx": workbook(numbers)}).text


def test_a_parquet_file_with_a_name_that_is_no_text_is_refused():
    content = io.BytesIO()
    parquet.write_table(pa.table({"abcdef": [1]}), content, store_schema=False)
    with pytest.raises(ConfigurationError, match="cannot be read") as refused:
        described({"a.parquet": content.getvalue().replace(b"abcdef", b"ab\xff\xfeef")})
    assert "is damaged" in refused.value.hint


def test_headers_that_become_the_same_name_are_declared_once_each():
    found = described({"a.csv": b"b',a',n\n1,2,3\n", "b.csv": b"a,b,n\n1,2,3\n"})
    names = {one.name: one.aliases for one in found.dataset.fields}
    assert names == {"b_2": ("b'",), "a_2": ("a'",), "n": (), "a": (), "b": ()}


def test_a_member_without_a_name_is_not_declared():
    found = described({"a.ndjson": b'{"": 1, "b": 2}\n{" ": 3, "b": 4}\n'})
    assert list(fields(found)) == ["b"]
    assert not found.rejected


def test_the_declaration_has_no_characters_that_a_terminal_would_obey():
    found = described({"a.csv": "x\x9b2J\u202e\ne\U000e0001\n".encode()})
    assert all(line.isprintable() for line in found.text.split("\n"))
    assert found.dataset.fields[0].aliases == ("x\x9b2J\u202e",)

"""Sheets become rows: each cell the value that the spreadsheet shows, or a problem."""

# ruff: noqa: DTZ001 - times in a workbook are local

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.chart import BarChart

from etl.model.dataset import Constraints, Dataset, Dialect, Field, FieldType, UnknownColumns
from etl.model.values import Problem
from etl.read.check import check_object
from etl.read.formats import expanded_parts, read_object
from etl.read.rows.extract import Extract, joined
from etl.read.validate import validate
from etl.read.xlsx import reader
from etl.read.xlsx import workbook as workbook_module
from etl.read.xlsx.scan import SheetScan
from tests.compressed import zipped
from tests.dataset_outcomes import expected_of, found_of
from tests.reader_outcomes import source_of
from tests.workbooks import SHEET, repacked, saved, with_cells, workbook

TODAY = date(2026, 11, 28)
KEY = "a.xlsx"
T = FieldType
READ = Dataset(
    name="sheets",
    table="sheets",
    include=("**",),
    fields=(
        Field(name="id", constraints=Constraints(required=True)),
        Field(name="amount", type=T.NUMBER, sql="numeric(12,2)", decimal_char=",", group_char="."),
        Field(name="ratio", type=T.NUMBER, sql="double precision"),
        Field(name="count", type=T.INTEGER),
        Field(name="is_new", type=T.BOOLEAN, true_values=("ja",), false_values=("nein",)),
        Field(name="day", type=T.DATE, format="%d.%m.%Y"),
        Field(name="at", type=T.DATETIME, timezone="Europe/Berlin"),
        Field(name="opens", type=T.TIME),
        Field(name="year", type=T.YEAR),
        Field(name="data", type=T.ANY),
    ),
)
HEADER = ("id", "amount", "ratio", "count", "is_new", "day", "at", "opens", "year", "data")


def with_header(*rows: tuple[object, ...]) -> bytes:
    return workbook([HEADER, *rows])


def extracts(content: bytes, dataset: Dataset = READ) -> Extract:
    source = source_of(KEY, content)
    parts = expanded_parts(source, dataset, iter([content]))
    return joined(list(read_object(source, dataset, None, parts)))


def values(content: bytes, dataset: Dataset = READ) -> list[dict[str, Any]]:
    """The valid rows, without nulls and lineage."""
    found = validate(extracts(content, dataset).rows, dataset, {KEY: ""}, TODAY)
    assert not found.problems, found.problems
    return [
        {name: value for name, value in row.items() if value is not None and name[0] != "_"}
        for row in found.rows.to_pylist()
    ]


def problems(content: bytes, dataset: Dataset = READ) -> list[Problem]:
    source = source_of(KEY, content)
    return check_object(source, dataset, lambda: iter([content]), TODAY).problems


def refusal(content: bytes, dataset: Dataset = READ) -> Problem:
    (problem,) = problems(content, dataset)
    assert problem.line is None
    return problem


# -- values


def test_cells_have_the_values_of_their_fields():
    rows = [
        ("0001", 1234.5, 0.1, 7, True, date(2024, 1, 2), datetime(2024, 7, 1, 8, 30), time(8, 5)),
        (42, 3, 2, 7.0, False, datetime(2024, 1, 2), date(2024, 1, 2), timedelta(hours=9), 2024, 5),
        ("b", "1.234,5", "0.25", "8", "ja", "02.01.2024", "2024-01-02T03:04:05Z", "08:05", "2024"),
    ]
    assert values(with_header(*rows)) == [
        {
            "id": "0001",
            "amount": Decimal("1234.50"),
            "ratio": 0.1,
            "count": 7,
            "is_new": True,
            "day": date(2024, 1, 2),
            "at": "2024-07-01 06:30:00.000000+00",
            "opens": time(8, 5),
        },
        {
            "id": "42",
            "amount": Decimal("3.00"),
            "ratio": 2.0,
            "count": 7,
            "is_new": False,
            "day": date(2024, 1, 2),
            "at": "2024-01-01 23:00:00.000000+00",
            "opens": time(9),
            "year": 2024,
            "data": "5",
        },
        {
            "id": "b",
            "amount": Decimal("1234.50"),
            "ratio": 0.25,
            "count": 8,
            "is_new": True,
            "day": date(2024, 1, 2),
            "at": "2024-01-02 03:04:05.000000+00",
            "opens": time(8, 5),
            "year": 2024,
        },
    ]


def test_formats_of_numbers_do_not_change_them():
    content = workbook(
        [("id", "amount", "ratio"), ("a", 12.5, 0.15)],
        lambda sheet: [
            setattr(sheet["B2"], "number_format", '"€"#,##0.00'),
            setattr(sheet["C2"], "number_format", "0%"),
        ],
    )
    assert values(content) == [{"id": "a", "amount": Decimal("12.50"), "ratio": 0.15}]


def test_numbers_have_the_15_digits_that_a_spreadsheet_shows():
    content = with_cells(
        workbook([("id", "amount", "ratio"), (1.5, 3.3, 3.3)]),
        {
            "B2": '<c r="B2"><v>3.3000000000000003</v></c>',
            "C2": '<c r="C2"><v>3.3000000000000003</v></c>',
        },
    )
    assert values(content) == [
        {"id": "1.5", "amount": Decimal("3.30"), "ratio": 3.3000000000000003}
    ]


def test_whole_numbers_that_lost_digits_are_problems():
    content = workbook([("id", "ratio"), (12345678901234567, 1), ("a", 1e20), (2**53, 1)])
    (problem,) = problems(content)
    assert (problem.line, problem.column, problem.code) == (2, "id", "number-out-of-range")
    assert "15 digits" in problem.note
    assert extracts(content).rows["id"].to_pylist() == ["a", str(2**53)]


@pytest.mark.parametrize(
    ("column", "value", "code", "hint"),
    [
        ("day", 45292, "not-a-date", "If it stands for 2024-01-01, format the cells"),
        ("at", 45292.5, "not-a-datetime", "If it stands for 2024-01-01 12:00:00"),
        ("opens", 0.5, "not-a-time", "Format the cells of the column as times"),
        ("day", 7, "not-a-date", "Enter a date"),
        ("day", datetime(2024, 1, 2, 3), "not-a-date", ""),
        ("opens", timedelta(hours=25), "not-a-time", ""),
        ("count", 7.5, "not-an-integer", ""),
        ("count", date(2024, 1, 2), "not-an-integer", ""),
        ("count", True, "not-an-integer", ""),
        ("amount", 1.234, "too-many-decimals", ""),
        ("is_new", "maybe", "not-a-boolean", ""),
    ],
)
def test_a_value_of_another_type_is_a_problem(column: str, value: object, code: str, hint: str):
    (problem,) = problems(workbook([("id", column), ("a", value)]))
    assert (problem.line, problem.column, problem.code) == (2, column, code)
    assert hint in problem.note


def test_a_number_that_is_a_date_in_the_format_of_its_field_is_read():
    dataset = replace(
        READ,
        fields=(
            READ.fields[0],
            Field(name="day", type=T.DATE, format="%Y%m%d", missing_values=("-1",)),
        ),
    )
    content = workbook([("id", "day"), ("a", 20240102), ("b", -1)])
    assert values(content, dataset) == [{"id": "a", "day": date(2024, 1, 2)}, {"id": "b"}]


def test_dates_of_the_1904_system():
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    sheet = book.active
    for row in (("id", "day"), ("a", date(2024, 1, 2)), ("b", 43830)):
        sheet.append(row)
    content = saved(book)
    assert extracts(content).rows["day"].to_pylist() == ["02.01.2024"]
    (problem,) = problems(content)
    assert "2024-01-01" in problem.note


def test_texts_keep_zeros_escapes_and_line_breaks():
    texts = ["007", "a_x000D_\nb", "a\nb", " x ", "ß\U0001f600", "1e5"]
    content = workbook([("id",), *[(text,) for text in texts]])
    read = ["007", "a\r\nb", "a\nb", "x", "ß\U0001f600", "1e5"]
    assert extracts(content).rows["id"].to_pylist() == read


# -- what calamine does not tell


def cached(formula: str, value: str, type_: str = "") -> str:
    return f'<c r="B2"{type_}><f>{formula}</f>{value}</c>'


@pytest.mark.parametrize(
    ("cell", "code", "shown"),
    [
        (cached("1/0", "<v>#DIV/0!</v>", ' t="e"'), "error-value", "#DIV/0!"),
        ("<c t = 'e' r=\"B2\"><v>#REF!</v></c>", "error-value", "#REF!"),
        (cached("A1&gt;row", "<v/>"), "formula-without-value", "=A1&gt;row"),
        (cached("1+1", ""), "formula-without-value", "=1+1"),
        (cached("1+1", " <v></v> "), "formula-without-value", "=1+1"),
        ('<c r="B2"><f t="shared" si="0"/></c>', "formula-without-value", "="),
    ],
)
def test_cells_without_a_value_are_problems(cell: str, code: str, shown: str):
    content = with_cells(workbook([("id", "amount"), ("a", 1), ("b", 2)]), {"B2": cell})
    (problem,) = problems(content)
    assert (problem.line, problem.column, problem.code) == (2, "amount", code)
    assert problem.value == shown
    assert [row["_source_line"] for row in extracts(content).rows.to_pylist()] == [3]


def test_each_cell_without_a_value_is_a_problem_of_its_row():
    content = with_cells(
        workbook([("id", "amount"), ("a", 1), ("b", 2)]),
        {"A2": '<c r="A2" t="e"><v>#REF!</v></c>', "B2": cached("1+1", "")},
    )
    assert [(one.line, one.column, one.code) for one in problems(content)] == [
        (2, "amount", "formula-without-value"),
        (2, "id", "error-value"),
    ]
    assert (extracts(content).rows_rejected, extracts(content).rows_read) == (
        {KEY: 1},
        {KEY: 2},
    )


def test_all_faults_of_a_row_are_shown_at_once():
    """Those that the workbook shows, and those of the other cells; other rows stay as they are."""
    row = ("", "1.234,567", "viel", "x", "vielleicht", 3, None, None, "year", None)
    content = with_header(("a", *[None] * 9), row, ("b", *[None] * 9), (None, *row[1:]))
    expected = [
        ("amount", "too-many-decimals"),
        ("count", "not-an-integer"),
        ("day", "not-a-date"),
        ("id", "missing-cell"),
        ("is_new", "not-a-boolean"),
        ("ratio", "not-a-number"),
        ("year", "not-a-year"),
    ]
    assert [(one.line, one.column, one.code) for one in problems(content)] == [
        (line, *one) for line in (3, 5) for one in expected
    ]
    found = extracts(content)
    assert (found.rows_rejected, found.rows_read) == ({KEY: 2}, {KEY: 4})
    assert found.rows["id"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("last", ["B4", "A9", "D4"])
def test_formulas_without_a_value_are_found_at_the_margin(last: str):
    book = openpyxl.Workbook()
    sheet = book.active
    cells = {"B2": "id", "C2": "amount", "B3": "a", "B4": "=1+1", "C4": "=1+2", last: "=1+3"}
    for at, value in cells.items():
        sheet[at] = value
    assert [(one.line, one.column, one.code) for one in problems(saved(book))] == [
        (4, "amount", "formula-without-value"),
        (4, "id", "formula-without-value"),
    ]
    rows = extracts(saved(book)).rows.to_pylist()
    assert [(row["_source_line"], row["id"], row["_extra"]) for row in rows] == [(3, "a", None)]


def test_a_sheet_of_formulas_without_a_value_is_empty():
    assert refusal(workbook([("=1+1", "=1+2"), ("=1+3",)])).code == "empty-file"


def test_formulas_with_values_and_blank_texts_are_read():
    content = workbook([("id", "amount"), ("a", 1), ("b", 2)])
    content = with_cells(
        content,
        {
            "B2": cached("1+1", "<v>2</v>"),
            "B3": '<c r="B3" t="str"><f>""</f><v></v></c>',
        },
    )
    assert values(content) == [{"id": "a", "amount": Decimal("2.00")}, {"id": "b"}]
    assert found_of(READ, KEY, content) == expected_of(READ, KEY, content)


def test_errors_may_mean_null_and_are_texts_in_other_columns():
    content = with_cells(
        workbook([("id", "amount", "more"), ("a", 1, 1)]),
        {
            "B2": '<c r="B2" t="e"><v>#N/A</v></c>',
            "C2": '<c r="C2" t="e"><v>#DIV/0!</v></c>',
        },
    )
    dataset = replace(READ, missing_values=("", "#N/A"))
    (row,) = extracts(content, dataset).rows.to_pylist()
    assert (row["amount"], row["_extra"]) == (None, '{"more": "#DIV/0!"}')


# -- rows


def test_rows_have_the_numbers_of_the_sheet():
    book = openpyxl.Workbook()
    sheet = book.active
    for at, text in {"C4": "id", "D4": "amount", "C7": "a", "D7": 1, "C9": "b"}.items():
        sheet[at] = text
    sheet.row_dimensions[7].hidden = True
    sheet.column_dimensions["D"].hidden = True
    rows = extracts(saved(book)).rows.to_pylist()
    assert [(row["_source_line"], row["id"], row["amount"]) for row in rows] == [
        (7, "a", "1"),
        (9, "b", None),
    ]


def test_merged_cells_have_their_value_in_the_first_one():
    content = workbook(
        [("id", "amount"), ("a", 1), ("x", 2)], lambda sheet: sheet.merge_cells("A2:A3")
    )
    (problem,) = problems(content)
    assert (problem.line, problem.column, problem.code) == (3, "id", "missing-cell")


def test_a_title_above_the_header_is_named_and_can_be_declared():
    content = workbook([("Orders 2024",), (), ("ID", "Amount"), ("a", 1)])
    problem = refusal(content)
    assert problem.code == "missing-column"
    assert "Row 3 looks like the header." in problem.note
    assert "headerRows = [3]" in problem.note
    declared = replace(READ, dialect=Dialect(header_row=3))
    assert values(content, declared) == [{"id": "a", "amount": Decimal("1.00")}]


def test_undeclared_columns_can_be_added():
    dataset = replace(READ, unknown_columns=UnknownColumns.ADD)
    content = workbook([("id", "More", None), ("a", 7.0, "x"), ("b", date(2024, 1, 2), None)])
    rows = extracts(content, dataset).rows
    assert rows["more"].to_pylist() == ["7", "2024-01-02"]
    assert rows["_extra"].to_pylist() == ['{"column_3": "x"}', None]


def test_many_rows_come_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reader, "_BATCH_ROWS", 20)
    content = workbook([("id", "amount"), *((f"r{n}", n) for n in range(45))])
    source = source_of(KEY, content)
    found = list(read_object(source, READ, None, iter([content])))
    assert [len(one.rows) for one in found] == [20, 20, 5, 0]
    assert joined(found).rows["_source_line"].to_pylist() == list(range(2, 47))


def test_sheet_without_rows_is_a_warning_and_one_without_cells_is_refused():
    (problem,) = problems(workbook([("id", "amount")]))
    assert (problem.code, problem.severity) == ("no-rows", "warning")
    assert refusal(workbook([])).code == "empty-file"
    assert refusal(b"").code == "empty-file"


# -- sheets


def several() -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.sheet_state = "hidden"
    for name in ("Orders", "Old"):
        sheet = book.create_sheet(name)
        sheet.append(("id",))
        sheet.append((name,))
    chart = book.create_chartsheet("Chart")
    chart.add_chart(BarChart())
    return saved(book)


@pytest.mark.parametrize(
    ("sheet", "found"), [(None, "Orders"), ("Old", "Old"), (" orders", "Orders"), (3, "Old")]
)
def test_sheet_is_the_first_visible_one_or_declared(sheet: str | int | None, found: str):
    assert values(several(), replace(READ, sheet=sheet)) == [{"id": found}]


@pytest.mark.parametrize("sheet", ["Other", 5, "Chart", 4])
def test_other_sheets_are_refused_with_those_there_are(sheet: str | int):
    problem = refusal(several(), replace(READ, sheet=sheet))
    assert problem.code == "unknown-sheet"
    assert "1: Notes, 2: Orders, 3: Old, 4: Chart." in problem.note


# -- files that are not workbooks, or not safe

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.mark.parametrize(
    ("content", "code", "hint"),
    [
        (OLE, "wrong-format", "an .xls workbook"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "encrypted-archive", "without one"),
        (b"id,amount\na,1\n", "wrong-format", "does not begin like such a file"),
        (b"<html><table><tr><td>id", "wrong-format", "an HTML page"),
        (zipped({"content.xml": b"<x/>"}), "wrong-format", "an OpenDocument file"),
        (zipped({"xl/workbook.bin": b""}), "wrong-format", "a binary workbook (.xlsb)"),
        (zipped({"rows.csv": b"id\na\n"}), "wrong-format", "without a workbook"),
        (workbook([("id",)])[:-40], "corrupt-archive", "The workbook has no valid index"),
    ],
)
def test_other_files_are_refused(content: bytes, code: str, hint: str):
    problem = refusal(content)
    assert problem.code == code
    assert hint in problem.note


def test_entities_are_refused():
    doctype = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    for name in (SHEET, "xl/workbook.xml", "xl/styles.xml"):

        def change(parts: dict[str, bytes], name: str = name) -> None:
            parts[name] = doctype + parts[name]

        problem = refusal(repacked(workbook([("id",), ("a",)]), change))
        assert problem.code == "corrupt-archive"
        assert "DOCTYPE" in problem.note


def test_a_rectangle_of_too_many_cells_is_not_allocated():
    content = workbook([("id",), ("a",)], lambda sheet: sheet.cell(1_048_576, 16_384, "far"))
    problem = refusal(content)
    assert problem.code == "archive-too-large"
    assert "20,000,000 cells" in problem.note
    assert expected_of(READ, KEY, content).problems == {(None, "archive-too-large"): 1}


def with_rows(rows: str) -> bytes:
    """A workbook with this XML of rows."""
    namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = f'<worksheet xmlns="{namespace}"><sheetData>{rows}</sheetData></worksheet>'
    return repacked(workbook([]), lambda parts: parts.update({SHEET: sheet.encode()}))


CELL = "<c><v>1</v></c>"


@pytest.mark.parametrize(
    "rows",
    [
        f'<row r="1">{CELL * 40}</row><row r="600000">{CELL * 40}</row>',
        f'<row r="1">{CELL}</row><row r="4000000000">{CELL}</row>',
        f'<row r="1">{CELL}</row><row r="99999999"><c r="A99999999"><v>1</v></c></row>',
        '<row r="1"><c r="A1"><v>1</v></c><c r="BBBBB99"><v>1</v></c></row>',
        f'<row r="1"><x r="A1"/>{CELL * 20}</row><row r="999999">{CELL}</row>',
        f'<x:row r="1">{CELL * 20}</x:row><x:row r="999999">{CELL}</x:row>',
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="90000"><c r="XFD1"><v>1</v></c></row>',
    ],
)
def test_cells_far_from_the_others_are_not_allocated(rows: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("etl.verify.workbook.MAX_CELLS", 2_000_000)  # it counts rows one by one
    assert refusal(with_rows(rows)).code == "archive-too-large"
    (found,) = expected_of(READ, KEY, with_rows(rows)).problems
    assert found in {(None, "archive-too-large"), (None, "corrupt-archive")}


@pytest.mark.parametrize(
    "rows",
    [
        f'<row r="3">{CELL}<c r="D9"><v>1</v></c>{CELL}</row><row>{CELL}</row>',
        f'<row r="1"><c s="0" r="XFE1"><v>1</v></c>{CELL}</row>',
        f'<row r="5"><c r="A4"><v>1</v></c></row><row>{CELL}</row>',
        f'{CELL}<row r="7"/>{CELL}',
        f'<row r="9"/><row>{CELL}</row><row r="0002">{CELL * 3}</row>',
        f"<row r='9'>{CELL * 3}<c r='AAA10'><v>1</v></c></row>",
    ],
)
def test_the_area_is_at_least_what_calamine_allocates(rows: str):
    sheet = workbook_module.open_sheet([with_rows(rows)], None)
    assert sheet.cells.start is not None
    assert sheet.cells.end is not None
    width = sheet.cells.end[1] - sheet.cells.start[1] + 1
    assert sheet.scan.area >= width * (sheet.cells.end[0] + 1)


def test_a_sheet_that_expands_too_much_is_refused(monkeypatch: pytest.MonkeyPatch):
    def change(parts: dict[str, bytes]) -> None:
        parts["xl/styles.xml"] = parts["xl/styles.xml"] + b" " * (65 << 20)

    problem = refusal(repacked(workbook([("id",), ("a",)]), change))
    assert (problem.code, "500 times" in problem.note) == ("archive-too-large", True)
    monkeypatch.setattr(workbook_module, "MOST_PART_BYTES", 1_000)
    assert refusal(workbook([("id",), *[("a",)] * 100])).code == "archive-too-large"
    monkeypatch.setattr(workbook_module, "MOST_FILE_BYTES", 1_000)
    assert "Split the workbook" in refusal(workbook([("id",)])).note


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_the_scan_finds_the_same_however_the_sheet_arrives(sizes: list[int]):
    def change(parts: dict[str, bytes]) -> None:
        found.append(parts[SHEET])

    found: list[bytes] = []
    content = workbook([("id", "=1+1"), ("a", "=1/0"), ("<f>", "</row>")])
    repacked(with_cells(content, {"B2": cached("1/0", "<v>#NUM!</v>", ' t="e"')}), change)
    scan, at, turn = SheetScan(), 0, 0
    while at < len(found[0]):
        size = sizes[turn % len(sizes)]
        scan.add(found[0][at : at + size])
        at, turn = at + size, turn + 1
    scan.finish()
    assert scan.errors == {(1, 1): "#NUM!"}
    assert scan.formulas == {(0, 1): "=1+1"}
    assert scan.area == 6


@pytest.mark.parametrize("name", [SHEET, "xl/workbook.xml", "xl/_rels/workbook.xml.rels"])
def test_verify_expects_the_refusal_of_damaged_xml(name: str):
    def cut(parts: dict[str, bytes]) -> None:
        parts[name] = parts[name][:-20]

    content = repacked(workbook([("id",), ("a",)]), cut)
    assert refusal(content).code == "corrupt-archive"
    assert expected_of(READ, KEY, content).problems == {(None, "corrupt-archive"): 1}


def test_decimals_are_no_group_of_an_integer_whose_groups_have_points():
    count = Field(name="count", type=T.INTEGER, group_char=".")
    dataset = replace(READ, fields=(READ.fields[0], count))
    content = workbook([("id", "count"), ("a", 7.125), ("b", "7.125"), ("c", 7.0)])
    (problem,) = problems(content, dataset)
    assert (problem.line, problem.code) == (2, "not-an-integer")


# -- laws

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**15), 10**15),
    st.floats(-1e15, 1e15, allow_subnormal=False).map(lambda value: float(f"{value:.12g}")),
    st.dates(date(1901, 1, 1), date(2999, 1, 1)),
    st.datetimes(datetime(1901, 1, 1), datetime(2999, 1, 1)).map(
        lambda value: value.replace(microsecond=0)
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=9).filter(
        lambda text: text == text.strip() and not text.startswith("=") and "_x" not in text
    ),
)


def shown(value: object) -> str | None:
    """The text of a cell in a column that is not declared."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        whole = str(int(value)) if value.is_integer() else None
        return whole or f"{Decimal(repr(value)):f}"
    return str(value)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8))
def test_cells_come_back_as_they_were_written(rows: list[tuple[object, object]]):
    dataset = replace(READ, unknown_columns=UnknownColumns.ADD)
    content = workbook([("id", "one", "two"), *[("r", *row) for row in rows]])
    found = extracts(content, dataset).rows.to_pylist()
    assert [(row["one"], row["two"]) for row in found] == [tuple(map(shown, row)) for row in rows]

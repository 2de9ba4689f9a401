"""Parsing user CSVs: headers, cells, ragged rows, and faults of whole files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from etl.model.dataset import USERS, Dataset
from etl.model.values import Problem, ProblemCode, Severity, SourceFile, SourceObject
from etl.read.arrow import WHITESPACE
from etl.read.csv import parse, parse_fully
from etl.read.rows.extract import Extract
from tests.arrow_rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROVECTUS = Path(__file__).parents[3] / "shared" / "provectus-2022"
HEADER = "first_name,last_name,birthts"
SUSAN = ["Susan", "Lee", "612302400000"]


def source_file(content: str | bytes, key: str = "a/1000.csv") -> SourceFile:
    body = content.encode() if isinstance(content, str) else content
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return SourceFile(SourceObject(key, f"etag of {key}", len(body), when), body)


def read(content: str | bytes, key: str = "a/1000.csv") -> Extract:
    return parse([source_file(content, key)], USERS)


def cells(extract: Extract) -> list[list[str]]:
    return rows_of(extract.rows, "first_name", "last_name", "birthts")


def codes(problems: list[Problem]) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.code) for problem in problems]


def extras(extract: Extract) -> list[object]:
    return [text and json.loads(text) for text in extract.rows["_extra"].to_pylist()]


def provectus_files() -> list[SourceFile]:
    sample = b"first_name, last_name, birthts\nSusan, Lee, 612302400000\n"
    found = [source_file(path.read_bytes(), path.name) for path in sorted(PROVECTUS.glob("*.csv"))]
    return found or [source_file(sample, f"{number}.csv") for number in range(1000, 1100)]


def test_the_original_task_s_files_are_read_as_one_hundred_users():
    extract = parse(provectus_files(), USERS)
    assert extract.problems == []
    assert extract.rows["user_id"].to_pylist() == [str(number) for number in range(1000, 1100)]
    assert extract.rows["_source_line"].to_pylist() == [2] * 100
    assert cells(extract)[0] == SUSAN
    assert all(text.isdecimal() for text in extract.rows["birthts"].to_pylist())
    assert set(extract.rows_read.values()) == {1}


def test_no_files_give_no_rows():
    extract = parse([], USERS)
    assert not len(extract.rows)
    assert extract.problems == []
    assert extract.rows_read == {}


def test_columns_and_types_are_the_same_with_rows_and_without():
    some, none = read(f"{HEADER}\nSusan,Lee,1\n").rows, parse([], USERS).rows
    assert some.schema == none.schema
    assert some["_source_line"].type == pa.int64()
    names = ["_source_key", "_source_line", "user_id", *HEADER.split(","), "_extra"]
    assert some.column_names == names


@pytest.mark.parametrize(
    "header",
    [
        "First_Name, LAST_NAME , birthTS",
        "\tfirst_name ,last_name,birthts  ",
        '"first_name","last_name","birthts"',
        ' "first_name" , "Last_Name" , birthts',
        "\n \n\r\nfirst_name,last_name,birthts",
    ],
)
def test_header_match_ignores_case_space_and_quotes(header: str):
    assert cells(read(f"{header}\nSusan,Lee,612302400000\n")) == [SUSAN]


def test_columns_may_come_in_any_order():
    extract = read("birthts;user_id;last_name;first_name\n612302400000;0001;Lee;Susan")
    assert cells(extract) == [SUSAN]
    assert extract.rows["user_id"].to_pylist() == ["0001"]


@pytest.mark.parametrize(
    ("key", "user_id"),
    [
        ("a/b/1000.csv", "1000"),
        ("0001.csv", "0001"),
        ("1e3.CSV", "1e3"),
        ("x.y.csv", "x.y"),
        ("ü 1.csv", "ü 1"),
    ],
)
def test_user_id_is_the_base_name_as_text(key: str, user_id: str):
    assert read(f"{HEADER}\nSusan,Lee,1\n", key).rows["user_id"].to_pylist() == [user_id]


def test_user_id_column_wins_over_the_name():
    extract = read(f"user_id,{HEADER}\n0001,Susan,Lee,1\n,Rosa,Lee,1\n", ".csv")
    assert extract.rows["user_id"].to_pylist() == ["0001", ""]
    assert extract.problems == []


def test_file_without_a_user_id_is_rejected():
    extract = read(f"{HEADER}\nSusan,Lee,1\n", "a/.csv")
    assert codes(extract.problems) == [(None, "missing-column")]
    assert "user_id column" in extract.problems[0].note
    assert extract.rows_read == {"a/.csv": 0}


def test_unknown_columns_are_kept_as_extra():
    extract = read(
        f"City,{HEADER}, Note \n"
        'Łódź,Susan,Lee,1,"said ""hi"",\nleft"\n'
        ",Rosa,Lee,2,\n"
        "Rome,Ida,Lee,3,back\\slash\n"
    )
    assert extras(extract) == [
        {"City": "Łódź", "Note": 'said "hi",\nleft'},
        None,
        {"City": "Rome", "Note": "back\\slash"},
    ]


def test_nameless_columns_get_their_place_as_name():
    extract = read(f"{HEADER},,x,\nSusan,Lee,1,a,b,c\n")
    assert extras(extract) == [{"column_4": "a", "x": "b", "column_6": "c"}]


def test_unknown_columns_may_be_called_like_ours():
    extract = read(f"{HEADER},key,line,extra,file\nSusan,Lee,1,a,b,c,d\n")
    assert extras(extract) == [{"key": "a", "line": "b", "extra": "c", "file": "d"}]
    assert extract.rows["_source_key"].to_pylist() == ["a/1000.csv"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty-file"),
        (b"\xef\xbb\xbf", "empty-file"),
        (b"\xff\xfe", "empty-file"),
        (" \r\n\t\n\u3000", "empty-file"),
        (b"\xff\xfeabc", "undecodable"),
        (b"\x81first_name,last_name,birthts\n", "undecodable"),
        (",".join([HEADER, *map(str, range(998))]), "too-many-columns"),
        ("," * 60_000, "too-many-columns"),
        ("," * 1_000 + '"', "too-many-columns"),
        ("," * 999 + '"', "unclosed-quote"),
        ("first\0_name,last_name,birthts\n", "nul-byte"),
        ('"first_name,last_name,birthts\n', "unclosed-quote"),
        ('"first_name"x,last_name,birthts\n', "unclosed-quote"),
        (f"{HEADER},LAST_name\n", "duplicate-column"),
        (f"{HEADER},city,city\n", "duplicate-column"),
        (f"{HEADER},column_5,\n", "duplicate-column"),
        ("first_name,last_name,city,city\n", "duplicate-column"),
        ("first_name,surname,birthts\na,b,1\n", "missing-column"),
        ("a,b,c", "missing-column"),
        (",,,\n", "missing-column"),
    ],
)
def test_a_file_of_no_use_is_one_problem_and_no_rows(content: str | bytes, code: str):
    extract = read(content)
    assert codes(extract.problems) == [(None, code)]
    assert extract.problems[0].severity is Severity.ERROR
    assert not len(extract.rows)
    assert extract.rows_read == {"a/1000.csv": 0}


def test_header_of_any_size_gives_a_short_printable_note():
    names = ",".join(f"c{n}\x1b[31m" for n in range(10_000))
    for header in (names, "x" * 1_000_000, f"{names},c1\x1b[31m"):
        (problem,) = read(header + "\n1,2,3\n").problems
        assert len(problem.note) < 2_000
        assert problem.note.isprintable()


def test_file_without_a_header_is_reported_as_such():
    (problem,) = read("Ann,Lee,612302400000\n").problems
    assert "The first line seems to be a row of data" in problem.note


@pytest.mark.parametrize("line", ["sep=;", "sep=,", "SEP=\t", "\ufeffsep=;", '"sep=;"', "sep=:"])
@pytest.mark.parametrize("how", [parse, parse_fully])
def test_excel_sep_line_above_the_header_is_reported(
    line: str, how: Callable[[Sequence[SourceFile], Dataset], Extract]
):
    (problem,) = how([source_file(f"{line}\n{HEADER}\nAnn,Lee,0\n")], USERS).problems
    assert problem.code == "missing-column"
    assert "Remove the sep= line" in problem.note


def test_missing_columns_are_listed_with_those_found():
    problem = read("first_name,surname\na,b\n").problems[0]
    assert "last_name, birthts" in problem.note
    assert "surname" in problem.note
    assert problem.value == "first_name,surname"


def test_invalid_file_does_not_affect_other_files():
    good = f"{HEADER}\nSusan,Lee,612302400000\n"
    extract = parse(
        [source_file(good, "1.csv"), source_file("x", "2.csv"), source_file(good, "3.csv")], USERS
    )
    assert extract.rows["user_id"].to_pylist() == ["1", "3"]
    assert extract.rows_read == {"1.csv": 1, "2.csv": 0, "3.csv": 1}
    assert [problem.key for problem in extract.problems] == ["2.csv"]
    assert extract.problems[0].etag == "etag of 2.csv"


@pytest.mark.parametrize("body", ["", "\n", "\n\n \n", "\n,,\n , ,\t\n", '\n"",\n'])
def test_a_header_without_rows_is_a_warning(body: str):
    extract = read(HEADER + body)
    assert codes(extract.problems) == [(None, "no-rows")]
    assert extract.problems[0].severity is Severity.WARNING


def test_file_with_only_rejected_rows_is_not_empty():
    extract = read(f"{HEADER}\nSusan\n")
    assert codes(extract.problems) == [(2, "short-row")]
    assert extract.rows_read == {"a/1000.csv": 1}


def test_blank_lines_are_no_rows_and_count_as_lines():
    extract = read(f"\n{HEADER}\n\n ,, \nSusan,Lee,612302400000\n\n\u3000\nRosa,Lee,1\n\n")
    assert extract.rows["_source_line"].to_pylist() == [5, 8]
    assert extract.rows_read == {"a/1000.csv": 2}
    assert extract.problems == []


def test_short_and_long_rows_are_rejected_with_a_hint():
    extract = read(f"{HEADER}\nSusan,Lee\na,b,1,c\nRosa,Lee,1\n")
    assert codes(extract.problems) == [(2, "short-row"), (3, "long-row")]
    assert (
        extract.problems[0].note
        == "The row has 2 cells, but the header has 3. Add the missing cells."
    )
    assert [problem.value for problem in extract.problems] == ["Susan,Lee", "a,b,1,c"]
    assert cells(extract) == [["Rosa", "Lee", "1"]]
    assert extract.rows_read == {"a/1000.csv": 3}


def test_a_thousand_columns_are_read():
    names = ",".join(map(str, range(997)))
    extract = read(f"{HEADER},{names}\na,b,1,{'x,' * 997}\n")
    assert extract.problems == []
    assert len(extras(extract)[0]) == 997


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_row_of_sixty_thousand_cells_is_one_long_row(quote: str):
    extract = read(f"{HEADER}\n" + f"{quote}x{quote}," * 60_000)
    assert codes(extract.problems) == [(2, "long-row")]


@pytest.mark.parametrize("how", [parse, parse_fully])
def test_rows_may_lack_cells_of_unknown_columns_at_the_end(
    how: Callable[[Sequence[SourceFile], Dataset], Extract],
):
    rows = "x1,Ann,Lee,1,A,B\nx2,Bo,Li,2\nx3,Cy,Li,3,C\nx4,Di,Li\n"
    extract = how([source_file(f"user_id,{HEADER},nick,city\n{rows}")], USERS)
    assert extras(extract) == [{"nick": "A", "city": "B"}, None, {"nick": "C"}]
    assert codes(extract.problems) == [(None, "missing-trailing-cells"), (5, "short-row")]
    warning = extract.problems[0]
    assert warning.severity is Severity.WARNING
    assert warning.note.startswith("Lines 3 and 4 are shorter than the header")
    assert warning.value == "x2,Bo,Li,2"
    assert extract.rows_read == {"a/1000.csv": 4}


def test_a_known_column_at_the_end_may_not_be_lacking():
    extract = read(f"{HEADER},nick,user_id\nAnn,Lee,1,A\n")
    assert codes(extract.problems) == [(2, "short-row")]


def test_a_quoted_row_over_lines_may_lack_cells_at_the_end_too():
    extract = read(f'{HEADER},nick\n"An\nn",Lee,1\n"open,Lee\n')
    assert codes(extract.problems) == [(None, "missing-trailing-cells"), (4, "unclosed-quote")]
    assert cells(extract) == [["An\nn", "Lee", "1"]]


@pytest.mark.parametrize("how", [parse, parse_fully])
@pytest.mark.parametrize(
    "again",
    [
        HEADER,
        "\ufeff First_Name , LAST_NAME,birthtS",
        f"{HEADER},,",
        "first_name,last_name,birtht\u017f",
    ],
)
def test_a_header_again_is_skipped_with_a_warning(
    how: Callable[[Sequence[SourceFile], Dataset], Extract], again: str
):
    extract = how([source_file(f"{HEADER}\nAnn,Lee,1\n{again}\nBo,Li,2\n{again}\n")], USERS)
    assert cells(extract) == [["Ann", "Lee", "1"], ["Bo", "Li", "2"]]
    assert codes(extract.problems) == [(None, "repeated-header")]
    assert extract.problems[0].note.startswith(
        "Lines 3 and 5 are skipped because the header is repeated there."
    )
    assert extract.rows_read == {"a/1000.csv": 2}


def test_repeated_header_is_detected_only_with_all_its_columns():
    header = f"{HEADER},Nick,"
    extract = read(f"{header}\n{HEADER},nICK\n{HEADER},column_4\n{HEADER},nick,column_5\n")
    assert extract.rows["_source_line"].to_pylist() == [3]
    assert codes(extract.problems) == [(None, "missing-trailing-cells"), (None, "repeated-header")]


def test_repeated_headers_are_not_rows():
    extract = read(f"{HEADER}\n{HEADER}\n")
    assert codes(extract.problems) == [(None, "no-rows"), (None, "repeated-header")]


def test_first_faulty_rows_are_stored_and_the_rest_counted():
    lines = ["x"] * 1_500 + ["a,\0,1"] * 1_500 + [f"{'y' * 10_001},b,1", "a,b,1"]
    extract = read("\n".join([HEADER, *lines]))
    assert codes(extract.problems)[:1_001] == [(n, "short-row") for n in range(2, 1_002)] + [
        (1_502, "nul-byte")
    ]
    assert len(extract.problems) == 2_001
    assert extract.more == {"a/1000.csv": {"short-row": 500, "nul-byte": 500}}
    assert extract.rows_read == {"a/1000.csv": 3_002}
    assert extract.rows_rejected == {"a/1000.csv": 3_001}


def test_blank_surplus_cells_are_ignored():
    assert cells(read(f"{HEADER}\nSusan,Lee,612302400000, ,\t,\n")) == [SUSAN]


@pytest.mark.parametrize("tail", ["", "\n", "\r\n", "\r"])
def test_the_last_line_may_lack_its_end(tail: str):
    assert cells(read(f"{HEADER}\nSusan,Lee,612302400000{tail}")) == [SUSAN]


def test_cells_are_stripped_of_all_that_python_calls_space():
    assert "".join(chr(n) for n in range(0x110000) if chr(n).isspace()) == WHITESPACE
    space = WHITESPACE.replace("\n", "").replace("\r", "")
    content = f"{HEADER}\n{space}Susan{space},Lee\xa0,\u3000612302400000\x1f\n"
    assert cells(read(content)) == cells(parse_fully([source_file(content)], USERS)) == [SUSAN]


def test_space_within_a_cell_stays():
    assert cells(read(f"{HEADER}\nAnna  Maria,de\xa0la Cruz,1\n"))[0][:2] == [
        "Anna  Maria",
        "de\xa0la Cruz",
    ]


def test_nul_in_a_cell_rejects_only_its_row():
    extract = read(f"{HEADER},note\nSu\0san,Lee,1,\nRosa,Lee,1,\nIda,Lee,1,x\0\n,,\0,\n")
    assert [(p.line, p.column, p.code) for p in extract.problems] == [
        (2, "first_name", "nul-byte"),
        (4, "note", "nul-byte"),
        (5, "birthts", "nul-byte"),
    ]
    assert extract.problems[0].value == r"Su\x00san"
    assert extract.rows["_source_line"].to_pylist() == [3]
    assert extract.rows_read == {"a/1000.csv": 4}


@pytest.mark.parametrize("quote", ["", '"'])
def test_gigantic_cell_rejects_only_its_row(quote: str):
    giant = quote + "é" * 25_000_000 + quote
    extract = read(f"{HEADER}\nSusan,Lee,612302400000\nRosa,{giant},1\nSusan,Lee,612302400000\n")
    assert [(p.line, p.column, p.code) for p in extract.problems] == [
        (3, "last_name", "cell-too-long")
    ]
    assert extract.problems[0].value == "é" * 99 + "…"
    assert cells(extract) == [SUSAN, SUSAN]
    assert extract.rows_read == {"a/1000.csv": 3}


def test_cells_up_to_ten_thousand_characters_are_kept():
    longest = "é" * 10_000
    extract = read(f"{HEADER},note\n{longest},Lee,1,\na,b,1,{longest}x\na,b,1,  {longest}  \n")
    assert [(p.line, p.column, p.code) for p in extract.problems] == [(3, "note", "cell-too-long")]
    assert extract.rows["_source_line"].to_pylist() == [2, 4]


def test_user_ids_up_to_1024_bytes_are_kept():
    fits, does_not = "é" * 512, "é" * 512 + "x"
    extract = read(f"user_id,{HEADER}\n{fits},a,b,1\n{does_not},a,b,1\n")
    assert [(p.line, p.column, p.code) for p in extract.problems] == [
        (3, "user_id", "cell-too-long")
    ]
    assert extract.rows["user_id"].to_pylist() == [fits]


def test_cell_fault_is_one_problem_and_nul_precedes_length():
    long = "x" * 10_001
    extract = read(f"{HEADER}\n{long},{long},1\n{long},\0,1\n")
    assert [(p.line, p.column, p.code) for p in extract.problems] == [
        (2, "first_name", "cell-too-long"),
        (2, "last_name", "cell-too-long"),
        (3, "last_name", "nul-byte"),
    ]


def test_rows_keep_the_order_of_files_and_lines():
    files = [
        source_file(f"{HEADER}\na,b,1,\nc,d,2\n", "z.csv"),
        source_file(f'{HEADER}\n"e",f,3\n', "y.csv"),
        source_file("birthts;last_name;first_name\n4;h;g\n", "x.csv"),
        source_file(f"{HEADER}\ni,j,5\n", "w.csv"),
    ]
    extract = parse(files, USERS)
    assert extract.rows["birthts"].to_pylist() == ["1", "2", "3", "4", "5"]
    assert extract.rows["_source_key"].to_pylist() == ["z.csv", "z.csv", "y.csv", "x.csv", "w.csv"]


def test_problems_are_sorted_by_key_line_column_and_code():
    files = [
        source_file(f"{HEADER}\n\0,\0,1\nx\n", "b.csv"),
        source_file(b"first_name,last_name,birthts\nRen\xe9\n", "a.csv"),
    ]
    assert [(p.key, p.line, p.column) for p in parse(files, USERS).problems] == [
        ("a.csv", None, None),
        ("a.csv", 2, None),
        ("b.csv", 2, "first_name"),
        ("b.csv", 2, "last_name"),
        ("b.csv", 3, None),
    ]


def test_every_row_of_a_million_is_accounted_for():
    lines = [f"{number:07d},Susan,Lee,{number}" for number in range(1_000_000)]
    lines[10], lines[500_000], lines[999_999] = "short", '7,"Su\nsan",Lee,7', 'x,"open,Lee,1'
    extract = read(f"user_id,{HEADER}\n" + "\n".join(lines))
    assert codes(extract.problems) == [(12, "short-row"), (1_000_002, "unclosed-quote")]
    assert extract.rows_read == {"a/1000.csv": 1_000_000}
    assert len(extract.rows) == 999_998
    assert extract.rows["_source_line"][-1].as_py() == 1_000_001
    assert extract.rows["user_id"][0].as_py() == "0000000"
    assert extract.rows["first_name"][499_999].as_py() == "Su\nsan"


def test_five_thousand_files_read_together_stay_separate():
    files = [
        source_file(f"{HEADER}\n" + f"a,b,{n}\n" * (n % 3) + "short\n" * (n % 2), f"{n}.csv")
        for n in range(5_000)
    ]
    extract = parse(files, USERS)
    assert extract.rows_read == {f"{n}.csv": n % 3 + n % 2 for n in range(5_000)}
    assert extract.rows["user_id"].equals(extract.rows["birthts"])
    short = {problem.key for problem in extract.problems if problem.code is ProblemCode.SHORT_ROW}
    assert short == {f"{n}.csv" for n in range(1, 5_000, 2)}

"""CSVs of declared datasets: columns, short rows, limits, and equal results by every parser."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Dialect,
    Field,
    FieldType,
    ShortRows,
    UnknownColumns,
)
from etl.model.errors import RefusedObject
from etl.model.values import ObjectState, Severity, SourceFile, SourceObject
from etl.read.check import check_object
from etl.read.csv import ChunkReader, parse, parse_fully
from etl.read.rows.extract import Extract, refused_extract, sort_problems
from etl.read.rows.layout import AddedColumns
from etl.read.validate import Validated, validate
from tests.arrow_rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

TODAY = date(2026, 1, 1)
REQUIRED = Constraints(required=True)
ITEMS = Dataset(
    name="items",
    table="items",
    include=("**",),
    format="csv",
    primary_key=("sku",),
    fields=(
        Field(name="sku", aliases=("Article No", "Größe"), constraints=REQUIRED),
        Field(name="count", type=FieldType.INTEGER),
        Field(name="note", trim=False),
    ),
)
FREE = Dataset(
    name="free",
    table="free",
    include=("**",),
    fields=(Field(name="a"), Field(name="b")),
    unknown_columns=UnknownColumns.ADD,
)


def file_of(content: str | bytes, key: str = "x/1.csv") -> SourceFile:
    body = content.encode() if isinstance(content, str) else content
    source = SourceObject(key, "etag", len(body), datetime(2026, 1, 1, tzinfo=UTC))
    return SourceFile(source, body)


def read(content: str | bytes, dataset: Dataset = ITEMS, key: str = "x/1.csv") -> Extract:
    file = file_of(content, key)
    found = parse([file], dataset)
    assert_same(found, parse_fully([file], dataset))
    assert_same(found, in_chunks(file, [3, 7], dataset))
    return found


def in_chunks(file: SourceFile, sizes: list[int], dataset: Dataset) -> Extract:
    reader = ChunkReader(file.source, dataset)
    extracts, start = [], 0
    try:
        while start < len(file.content):
            size = sizes[len(extracts) % len(sizes)]
            extracts.append(reader.read(file.content[start : start + size]))
            start += size
        extracts.append(reader.finish())
    except RefusedObject as refused:
        return refused_extract(file.source, dataset, refused)
    key = file.source.key
    rejected = sum(extract.rows_rejected.get(key, 0) for extract in extracts)
    rows_read = sum(extract.rows_read[key] for extract in extracts)
    return Extract(
        pa.concat_tables([extract.rows for extract in extracts], promote_options="default"),
        sort_problems(problem for extract in extracts for problem in extract.problems),
        {key: rows_read},
        {key: rejected} if rejected else {},
        without_id=frozenset([key] if reader.is_without_id and rows_read > 1 else []),
        added=tuple(dict.fromkeys(name for extract in extracts for name in extract.added)),
    )


def assert_same(left: Extract, right: Extract) -> None:
    names = left.rows.column_names
    assert set(names) == set(right.rows.column_names)
    assert left.rows.equals(right.rows.select(names))
    assert left.problems == right.problems
    assert left.rows_read == right.rows_read
    assert left.rows_rejected == right.rows_rejected
    assert left.without_id == right.without_id
    assert set(left.added) == set(right.added)


def check(extract: Extract, dataset: Dataset = ITEMS) -> Validated:
    return validate(extract.rows, dataset, dict.fromkeys(extract.rows_read, "etag"), TODAY)


def codes(found: Extract | Validated) -> list[tuple[int | None, str | None, str]]:
    return [(p.line, p.column, p.code.value) for p in found.problems]


def cells(extract: Extract, *names: str) -> list[list[Any]]:
    return rows_of(extract.rows, *names)


@pytest.mark.parametrize(
    "name", ["sku", " SKU ", "article no", "ARTICLE NO", '"Article No"', "GRÖSSE"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_header_matches_names_and_aliases_in_any_case(name: str, delimiter: str):
    extract = read(delimiter.join(["count", name]) + "\n" + delimiter.join(["1", "a"]))
    assert cells(extract, "sku", "count", "note") == [["a", "1", None]]


def test_name_and_alias_in_one_header_are_a_duplicate_column():
    assert codes(read("sku,Article No\na,b\n")) == [(None, None, "duplicate-column")]


def test_a_file_without_any_declared_column_is_rejected():
    extract = read("c,d\n1,2\n", FREE)
    assert codes(extract) == [(None, None, "missing-column")]
    assert "no column that free declares" in extract.problems[0].note
    assert codes(read("c,A,b\n1,2,3\n", FREE)) == []


@pytest.mark.parametrize("required", [("sku",), ()])
def test_missing_key_column_rejects_the_object(required: tuple[str, ...]):
    fields = tuple(
        replace(one, constraints=Constraints(required=one.name in required)) for one in ITEMS.fields
    )
    extract = read("count,note\n1,x\n", replace(ITEMS, fields=fields))
    assert codes(extract) == [(None, None, "missing-column")]
    assert "The header lacks sku" in extract.problems[0].note


def test_missing_optional_column_is_null():
    found = check(read("sku\na\n"))
    assert rows_of(found.rows, "sku", "count", "note") == [["a", None, None]]
    assert (
        found.rows.schema.field("count").type
        == check(read("sku,count\na,1\n")).rows.schema.field("count").type
    )


def absent_note(content: str, dataset: Dataset = ITEMS, key: str = "x/1.csv") -> str:
    """The note of the only problem, a warning of an absent column; empty without any problem."""
    extract = read(content, dataset, key)
    if not extract.problems:
        return ""
    (problem,) = extract.problems
    assert (problem.code, problem.severity) == ("declared-column-absent", Severity.WARNING)
    assert (problem.line, problem.column, extract.rows_rejected) == (None, None, {})
    return problem.note


def test_a_declared_column_that_may_have_another_name_is_a_warning():
    note = absent_note("sku,Cuont,x,note\na,1,2,3\n")
    assert note == (
        "The file has no column for count, so all of its rows are null there. items does not "
        "declare its columns Cuont, x. If one of these has the missing values, add its header to "
        "`aliases` of the field; otherwise declare it."
    )
    assert "no column for count, note," in absent_note("Article No,City\na,Rome\n")
    adding = replace(ITEMS, unknown_columns=UnknownColumns.ADD)
    assert "its columns City." in absent_note("sku,City\na,Rome\n", adding)


@pytest.mark.parametrize("header", ["sku", "sku,count", "sku,", "sku,count,,", "sku,count,note,x"])
def test_columns_that_a_file_simply_lacks_are_no_warning(header: str):
    cells_of_row = ",".join("1" * len(header.split(",")))
    assert absent_note(f"{header}\n{cells_of_row}\n") == ""


def test_columns_of_the_path_are_not_absent():
    dataset = replace(ITEMS, path_columns="{site}/{count}-*", prefer="count")
    assert absent_note("sku,note,x\na,b,c\n", dataset, "Rome/7-b.csv") == ""


def test_users_may_lack_and_have_any_other_column():
    assert absent_note("first_name,last_name,birthts,x\nA,B,0,1\n", USERS) == ""


def test_an_absent_column_of_prefer_is_always_a_warning():
    dataset = replace(ITEMS, prefer="count", unknown_columns=UnknownColumns.REFUSE)
    lost = "Because prefer = count, its rows lose to all rows of the same key that have a value"
    assert absent_note("sku,note\na,b\n", dataset).startswith(
        f"The file has no column count. {lost}"
    )
    assert lost in absent_note("sku,note,x\na,b,c\n", replace(ITEMS, prefer="count"))
    assert lost not in absent_note("sku,note,x\na,b,c\n", replace(ITEMS, prefer="note"))
    assert absent_note("sku,count\na,1\n", dataset) == ""


def test_a_warning_of_an_absent_column_survives_thousands_of_faulty_rows():
    content = "sku,Cuont\n" + ",1\n" * 1_500 + "a,1\n"
    found = check_object(file_of(content).source, ITEMS, lambda: [content.encode()], TODAY)
    assert found.state is ObjectState.LOADED
    assert (found.rows_read, found.rows_rejected) == (1_501, 1_500)
    listed = Counter(problem.code for problem in found.problems)
    assert listed == {"declared-column-absent": 1, "missing-cell": 1_000, "more-problems": 1}


def test_each_file_with_the_header_has_its_own_warning():
    files = [file_of("sku,Cuont\na,1\n", key) for key in ("1.csv", "2.csv")]
    assert [problem.key for problem in parse(files, ITEMS).problems] == ["1.csv", "2.csv"]


def test_key_column_is_never_null():
    fields = tuple(replace(one, constraints=Constraints()) for one in ITEMS.fields)
    dataset = replace(ITEMS, fields=fields, missing_values=("", "NULL"))
    found = check(read("sku,count\na,1\n,2\nNULL,3\n", dataset), dataset)
    assert codes(found) == [(3, "sku", "missing-cell"), (4, "sku", "missing-cell")]
    assert found.rows_rejected == {"x/1.csv": 2}


def test_delimiter_is_the_one_of_most_declared_columns_if_none_is_required():
    extract = read("a;b;x, y, z, w\n1;2;3\n", replace(FREE, unknown_columns=UnknownColumns.EXTRA))
    assert cells(extract, "a", "b") == [["1", "2"]]


def test_declared_delimiter_and_quote_are_used():
    dataset = replace(ITEMS, dialect=Dialect(delimiter="^", quote_char="'"))
    extract = read("sku^count^note\n'a^''b'^1^say \"x\"\n", dataset)
    assert cells(extract, "sku", "count", "note") == [["a^'b", "1", 'say "x"']]


def test_files_may_have_no_quotes():
    dataset = replace(ITEMS, dialect=Dialect(quote_char=""))
    assert cells(read('sku,note\n"a,"b"\n', dataset), "sku", "note") == [['"a', '"b"']]


def test_delimiter_may_be_any_character():
    dataset = replace(ITEMS, dialect=Dialect(delimiter="§"))
    assert cells(read('sku§count\n"a§b"§1\nc§2\n', dataset), "sku", "count") == [
        ["a§b", "1"],
        ["c", "2"],
    ]


def test_extension_tsv_means_tabs():
    content = "sku,x\tcount\n1\t2\n"
    dataset = replace(ITEMS, format=None)
    assert codes(read(content, dataset, "1.TSV")) == [(None, None, "missing-column")]
    assert cells(read("sku\tcount;x,y,z\na;b\t1\n", dataset, "1.tsv"), "sku") == [["a;b"]]


def missing_note(content: str, dataset: Dataset = ITEMS, key: str = "x/1.csv") -> str:
    """The note of the only problem, a missing column."""
    (problem,) = read(content, dataset, key).problems
    assert (problem.code, problem.severity) == ("missing-column", Severity.ERROR)
    return problem.note


def test_missing_columns_are_named_with_all_their_headers_and_those_of_the_file():
    assert missing_note("Artikel,COUNT,,x\n") == (
        "The header lacks sku (aliases: Article No, Größe); its columns are Artikel, COUNT, "
        "column_3, x. Add the missing columns, or add the headers of the columns that contain "
        "their values to `aliases`."
    )
    keyed = replace(ITEMS, primary_key=("sku", "count"))
    assert "lacks sku (aliases: Article No, Größe), count;" in missing_note("x,y\n", keyed)
    optional = replace(FREE, fields=(Field(name="a", aliases=("Ah",)), Field(name="b")))
    assert missing_note("X,y\n", optional) == (
        "The header has no column that free declares: a (aliases: Ah), b. Its columns are X, y. "
        "Move the file, or declare its columns."
    )


READ_AS_ONE = "The whole header was read as one column, because the delimiter is"
TABS, SEMICOLONS = Dialect(delimiter="\t"), Dialect(delimiter=";")


@pytest.mark.parametrize(
    ("changes", "key", "header", "words"),
    [
        (
            {},
            "1.tsv",
            "sku,count",
            'tab; the file seems to have commas. Rename the file to .csv, or set format = "csv"',
        ),
        ({"format": "tsv"}, "1.csv", "sku|count", 'seems to have pipes. Set format = "csv", so'),
        (
            {"dialect": SEMICOLONS},
            "1.csv",
            "sku\tnote",
            "semicolon; the file seems to have tabs. Correct `delimiter` in the dialect of items.",
        ),
        (
            {"dialect": Dialect(delimiter="§")},
            "1.csv",
            "a;b",
            f'{READ_AS_ONE} "§"; the file seems to have',
        ),
        ({"dialect": TABS}, "1.csv", "Article No;Größe", "the file seems to have semicolons."),
        ({}, "1.csv", "sku:count", "Add the missing columns, or"),
        ({}, "1.tsv", "sep=;", "Remove the sep= line"),
        ({}, "1.tsv", "7", "seems to be a row of data"),
        ({}, "1.tsv", "name", "Add the missing columns, or"),
    ],
)
def test_a_header_with_another_delimiter_is_named(
    changes: dict[str, Any], key: str, header: str, words: str
):
    dataset = replace(ITEMS, **{"format": None} | changes)
    note = missing_note(f"{header}\n", dataset, key)
    assert words in note
    assert (READ_AS_ONE in note) == ("seems to have" in words)
    optional = tuple(replace(one, constraints=Constraints()) for one in dataset.fields)
    if "seems to have" in words:
        assert words in missing_note(
            f"{header}\n", replace(dataset, fields=optional, primary_key=()), key
        )


def test_space_is_kept_where_it_is_declared():
    extract = read('sku,note\n a ,  x \n b ," y "\n')
    assert cells(extract, "sku", "note") == [["a", "  x "], ["b", " y "]]


def test_row_of_space_only_is_blank_even_where_space_is_kept():
    extract = read("sku,note\n \n,  \n\na,\n")
    assert cells(extract, "_source_line", "sku") == [[5, "a"]]


def test_blank_lines_of_a_single_column_are_not_rows():
    dataset = replace(ITEMS, fields=ITEMS.fields[:1])
    extract = read("sku\na\n\n  \nb\n", dataset)
    assert cells(extract, "_source_line", "sku") == [[2, "a"], [5, "b"]]
    assert extract.rows_read == {"x/1.csv": 2}


@pytest.mark.parametrize(
    "again", ["sku,count", "SKU, COUNT ", "Article No,count", "\u017fku,Count"]
)
def test_repeated_header_is_found_in_any_dataset(again: str):
    extract = read(f"sku,count\na,1\n{again}\nb,2\nsku,1\nxyz,count\n")
    assert cells(extract, "_source_line") == [[2], [4], [5], [6]]
    assert codes(extract) == [(None, None, "repeated-header")]


@pytest.mark.parametrize("name", ["kskffkss", "ﬀ", "Straße", "s\u017fk", "ffi"])
@pytest.mark.parametrize("how", [str, str.upper, str.casefold, str.title])
def test_repeated_header_is_found_by_any_spelling_of_its_name(name: str, how: Callable[[str], str]):
    dataset = Dataset(
        name="d",
        table="d",
        include=("**",),
        fields=(Field(name="x", aliases=(name,)), Field(name="y")),
    )
    for again in (name, name.replace("ss", "ß").replace("ff", "ﬀ").replace("k", "\u212a")):
        extract = read(f"{name},y\n1,2\n{how(again)},Y\n3,4\n", dataset)
        assert cells(extract, "_source_line") == [[2], [4]]


def test_short_row_is_rejected_up_to_the_last_declared_column():
    extract = read("sku,note,count,more\na\nb,,1\n")
    assert codes(extract) == [(None, None, "missing-trailing-cells"), (2, None, "short-row")]
    assert cells(extract, "sku", "_extra") == [["b", None]]


def test_short_rows_may_be_padded_up_to_the_last_required_column():
    dataset = replace(ITEMS, short_rows=ShortRows.PAD, missing_values=("NULL",))
    content = "count,sku,note,more\n1,a\n2\n3,b,x\n4,c,\n5,d,NULL,m\n,\n"
    extract = read(content, dataset)
    assert codes(extract) == [(None, None, "missing-trailing-cells"), (3, None, "short-row")]
    assert extract.problems[0].severity is Severity.WARNING
    assert cells(extract, "sku", "note") == [["a", None], ["b", "x"], ["c", ""], ["d", "NULL"]]
    assert rows_of(check(extract, dataset).rows, "note") == [[None], ["x"], [""], [None]]


def test_padded_record_over_lines_is_read():
    dataset = replace(ITEMS, short_rows=ShortRows.PAD)
    assert cells(read('sku,count,note\n"a\nb"\nc,1\n', dataset), "sku") == [["a\nb"], ["c"]]


def test_unknown_columns_may_refuse_the_object():
    dataset = replace(ITEMS, unknown_columns=UnknownColumns.REFUSE)
    assert codes(read("sku,count\na,1\n", dataset)) == []
    extract = read("sku,color\na,red\n", dataset)
    assert codes(extract) == [(None, None, "unknown-column")]
    assert "does not declare: color" in extract.problems[0].note


def test_unknown_columns_may_be_added_to_the_table():
    extract = read(" City ,a,ZIP code\nRome,1,  00100 \n,2,\n", FREE)
    assert extract.added == ("city", "zip code")
    assert cells(extract, "a", "city", "zip code", "_extra") == [
        ["1", "Rome", "00100", None],
        ["2", None, None, None],
    ]


@pytest.mark.parametrize(
    "name", ["", "_run_id", "x" * 64, "é" * 32, "xmin", "CTID", "Photo", "made_on", "City"]
)
def test_impossible_columns_stay_in_extra_with_a_warning(name: str):
    dataset = replace(
        FREE,
        derived=(Derived(name="made_on", source="a", computed_as=DerivedAs.DATE),),
        attachments=(Attachment(column="photo", match="{a}.png"),),
    )
    extract = read(f"a,b,city,{name}\n1,2,Rome,x\n", dataset)
    assert extract.added == ("city",)
    assert json.loads(extract.rows["_extra"][0].as_py()) == {name or "column_4": "x"}
    (problem,) = extract.problems
    assert (problem.code, problem.severity) == ("column-kept-in-extra", Severity.WARNING)


def test_a_table_gets_at_most_two_hundred_columns():
    names = [f"c{number}" for number in range(203)]
    extract = read(",".join(["a", *names]) + "\n" + ",".join("x" * 204) + "\n", FREE)
    assert extract.added == tuple(names[:200])
    assert set(json.loads(extract.rows["_extra"][0].as_py())) == set(names[200:])
    added = AddedColumns(names[:199])
    assert parse([file_of("a,new,c1\n1,2,3\n")], FREE, added).added == ("new", "c1")
    assert parse([file_of("a,newer,c1\n1,2,3\n")], FREE, added).added == ("c1",)


def test_path_columns_win_over_those_of_the_file():
    dataset = replace(
        ITEMS,
        path_columns="{site}/{count}-*",
        primary_key=("site", "sku"),
        unknown_columns=UnknownColumns.REFUSE,
    )
    found = check(read("sku,Site,count\na,x,y\n", dataset, "Rome/7-b.csv"), dataset)
    assert rows_of(found.rows, "site", "sku", "count") == [["Rome", "a", 7]]
    found = check(read("sku\na\n", dataset, "Rome/z-b.csv"), dataset)
    assert codes(found) == [(2, "count", "not-an-integer")]
    found = check(read("sku\na\n", dataset, "b.csv"), dataset)
    assert codes(found) == [(2, "site", "missing-cell")]


def test_cells_of_declared_datasets_may_have_a_million_characters():
    fits, too_long = "é" * 1_048_576, "x" * 1_048_577
    extract = parse([file_of(f"sku,note\na,{fits}\nb,{too_long}\n")], ITEMS)
    assert codes(extract) == [(3, "note", "cell-too-long")]
    assert cells(extract, "sku") == [["a"]]


@pytest.mark.parametrize(("key", "most"), [(("sku",), 2_680), (("sku", "note"), 1_336)])
def test_indexed_cells_are_limited_in_bytes(key: tuple[str, ...], most: int):
    dataset = replace(ITEMS, primary_key=key)
    extract = read(f"sku,note\n{'x' * most},n\n{'x' * (most + 1)},n\n", dataset)
    assert codes(extract) == [(3, "sku", "cell-too-long")]


# -- the same rows by every way of reading, for any dataset

NAMES = ["sku", "Count", "b2", "x"]
ALIASES = [(), ("Order No",), ("größe", "s")]
WORDS = ["a", "12", "é", "\u20ac", "NULL", " ", "\xa0", "\\", "\u2028", "\ufeff"]


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    aliased = draw(st.sampled_from(names))
    fields = tuple(
        Field(
            name=name,
            type=draw(st.sampled_from([FieldType.STRING, FieldType.INTEGER])),
            aliases=draw(st.sampled_from(ALIASES)) if name == aliased else (),
            trim=draw(st.booleans()),
            constraints=Constraints(required=draw(st.booleans())),
        )
        for name in names
    )
    return Dataset(
        name="d",
        table="d",
        include=("**",),
        fields=fields,
        primary_key=tuple(draw(st.sampled_from([names[:1], []]))),
        missing_values=draw(st.sampled_from([("",), ("", "NULL"), ("NULL",)])),
        unknown_columns=draw(st.sampled_from(UnknownColumns)),
        short_rows=draw(st.sampled_from(ShortRows)),
        dialect=Dialect(
            delimiter=draw(st.sampled_from([None, ",", ";", "\t", " ", "§"])),
            quote_char=draw(st.sampled_from(['"', '"', "'", ""])),
        ),
        path_columns=draw(st.sampled_from([None, "{folder}/*", "{b2}/*"])),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dataset, bytes]:
    """A dataset and a file that resembles its files."""
    dataset = draw(datasets())
    delimiter = dataset.dialect.delimiter or draw(st.sampled_from([",", ";", "\t", "|"]))
    known = [name for one in dataset.fields for name in (one.name, *one.aliases)]
    header = draw(
        st.lists(st.sampled_from([*known, *known, "Other", "_own", "", "other"]), max_size=5)
    )
    line = delimiter.join(header)
    quote = dataset.dialect.quote_char
    pieces = [*[delimiter] * 4, "\n", "\n", "\r\n", "\r", quote, quote * 2, "\0", *WORDS]
    rows = [delimiter.join(["1"] * len(header)) + "\n", f"{line.upper()}\n", f"\n{line}\n"]
    body = "".join(draw(st.lists(st.sampled_from([*pieces, *rows]), max_size=30)))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]))
    return dataset, f"{line}\n{body}".encode(encoding, errors="replace")


@given(cases(), st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_every_way_of_reading_gives_the_same_rows(case: tuple[Dataset, bytes], sizes: list[int]):
    dataset, content = case
    file = file_of(content)
    extract = parse([file], dataset)
    assert_same(extract, parse_fully([file], dataset))
    assert_same(extract, in_chunks(file, sizes, dataset))
    found = check(extract, dataset)
    rejected = extract.rows_rejected.get("x/1.csv", 0) + found.rows_rejected.get("x/1.csv", 0)
    assert extract.rows_read["x/1.csv"] == len(found.rows) + rejected
    faulty = {p.line for p in (*extract.problems, *found.problems) if p.line is not None}
    assert len(faulty) == rejected


@given(st.lists(cases(), max_size=3))
def test_files_read_together_give_the_rows_of_each(parts: list[tuple[Dataset, bytes]]):
    if not parts:
        return
    dataset = parts[0][0]
    files = [file_of(content, f"x/{n}.csv") for n, (_, content) in enumerate(parts)]
    assert_same(parse(files, dataset), parse_fully(files, dataset))
    together = parse(files, dataset)
    for file in files:
        alone = parse([file], dataset)
        key = file.source.key
        assert together.rows_read[key] == alone.rows_read[key]
        assert [p for p in together.problems if p.key == key] == alone.problems

"""Both readers get the same result from any file of any dataset, and route any key alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Dialect,
    Field,
    FieldType,
    ShortRows,
    UnknownColumns,
)
from etl.model.routing import Router
from etl.verify import names
from etl.verify.routes import Routes
from tests.dataset_outcomes import expected_of, found_of

GERMAN: dict[str, Any] = {"decimal_char": ",", "group_char": "."}
BERLIN: dict[str, Any] = {"timezone": "Europe/Berlin"}
TYPED = [
    Field(name="f", aliases=("Eff", "F two")),
    Field(name="f", constraints=Constraints(required=True, max_length=3, pattern="[a-z]+")),
    Field(name="f", trim=False),
    Field(name="f", sql="varchar(2)", missing_values=("-", "NULL")),
    Field(name="f", constraints=Constraints(enum=("a", "b"), min_length=1)),
    Field(name="f", type=FieldType.INTEGER, constraints=Constraints(minimum=0, maximum=99)),
    Field(name="f", type=FieldType.INTEGER, sql="smallint", group_char="."),
    Field(name="f", type=FieldType.NUMBER, sql="numeric(6,2)"),
    Field(name="f", type=FieldType.NUMBER, **GERMAN),
    Field(
        name="f",
        type=FieldType.NUMBER,
        sql="double precision",
        constraints=Constraints(exclusive_minimum=Decimal(0)),
    ),
    Field(name="f", type=FieldType.NUMBER, sql="real"),
    Field(name="f", type=FieldType.BOOLEAN, true_values=("ja",), false_values=("nein", "0")),
    Field(name="f", type=FieldType.DATE, constraints=Constraints(minimum=date(2000, 1, 1))),
    Field(name="f", type=FieldType.DATE, format="%d.%m.%Y"),
    Field(name="f", type=FieldType.TIME),
    Field(name="f", type=FieldType.DATETIME, **BERLIN),
    Field(name="f", type=FieldType.DATETIME, format="%d.%m.%Y %H:%M:%S", **BERLIN),
    Field(name="f", type=FieldType.YEAR),
    Field(name="f", type=FieldType.OBJECT),
    Field(name="f", type=FieldType.ANY, constraints=Constraints(required=True)),
    Field(name="f", type=FieldType.EPOCH_MS),
]
TEXTS = [
    *("", " ", "a", "b", "abc", "abcd", "A", "-", "NULL", "\u00e9", " a ", "a,b"),
    *("a;b", '"', "x\ny"),
    *("0", "7", "-7", "99", "100", "32768", "1.5", "1,5", "1.234", "1.234,5", "1.23", "12.50"),
    *("12.505", "99999.99", "1e3", "1e400", "NaN", "inf", "0.1", "ja", "nein", "true"),
    *("2024-02-29", "2023-02-29", "1999-12-31", "29.02.2024", "9.2.2024", "30.02.2024"),
    *("10:20", "10:20:30.5", "24:00", "2024-03-31T02:30", "2024-10-27T02:30:00"),
    "2024-05-03T10:00Z",
    *("31.03.2024 02:30:00", "27.10.2024 02:30:00", "3.5.2024 1:2:3", "2024", "0000", "24"),
    *("{}", '{"a": [1]}', '{"a":1,"a":2}', "[1]", "null", "x" * 10_001, "\0", "612302400000"),
]  # fmt: skip
TEXTS_OF_KEYS = ["1", "2", "k", "", " 1 ", "x" * 1_025]


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """A dataset with up to three fields of any type, and any rules for its files."""
    chosen = draw(st.lists(st.sampled_from(TYPED), min_size=1, max_size=3))
    fields = [replace(one, name=f"f{n}") for n, one in enumerate(chosen)]
    if len(fields) > 1:
        fields[1:] = [replace(one, aliases=()) for one in fields[1:]]
    has_key = draw(st.booleans())
    key = [Field(name="id")] if has_key else []
    place = draw(st.integers(0, len(fields)))
    return Dataset(
        name="some",
        table="some",
        include=("**",),
        fields=(*fields[:place], *key, *fields[place:]),
        primary_key=("id",) if has_key else (),
        prefer=draw(st.sampled_from([None, "f0"])) if has_key else None,
        missing_values=draw(st.sampled_from([("",), ("", "NULL"), ("-",)])),
        unknown_columns=draw(st.sampled_from(UnknownColumns)),
        short_rows=draw(st.sampled_from(ShortRows)),
        refuse_object_above=Fraction(draw(st.sampled_from(["1", "1", "1/2", "0"]))),
        dialect=draw(
            st.sampled_from([Dialect(), Dialect(), Dialect(delimiter=";", quote_char="'")])
        ),
        path_columns=draw(st.sampled_from([None, None, "in/{site}/*", "*/{f0}/**"])),
    )


@st.composite
def files(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A file with most columns of the dataset and some others, in any order."""
    delimiter = dataset.dialect.delimiter or draw(st.sampled_from(",;\t|"))
    quote = dataset.dialect.quote_char
    columns = list(dataset.field_names)
    if draw(st.booleans()):
        columns += draw(
            st.lists(st.sampled_from(["City", "city", "", "_x", "site", "x" * 64]), max_size=2)
        )
    if draw(st.integers(0, 4)) == 0:
        columns.pop(draw(st.integers(0, len(columns) - 1)))
    columns = draw(st.permutations(columns))
    heads = draw(st.sampled_from([columns, columns, [one.upper() for one in columns]]))
    lines = [heads, *draw(st.lists(rows(columns, heads), max_size=6))]
    written = (delimiter.join(_written(cell, delimiter, quote) for cell in line) for line in lines)
    return draw(st.sampled_from(["\n", "\r\n"])).join(written).encode()


@st.composite
def rows(draw: st.DrawFn, columns: list[str], heads: list[str]) -> list[str]:
    if draw(st.integers(0, 15)) == 0:
        return heads
    texts = st.sampled_from(TEXTS)
    cells = [draw(st.sampled_from(TEXTS_OF_KEYS) if name == "id" else texts) for name in columns]
    cut = draw(st.sampled_from([0, 0, 0, 0, 1, 2, -1]))
    return [*cells, "x"] if cut < 0 else cells[: max(1, len(cells) - cut)]


def _written(cell: str, delimiter: str, quote: str) -> str:
    if any(sign in cell for sign in (delimiter, quote, "\n")):
        return f"{quote}{cell.replace(quote, quote * 2)}{quote}"
    return cell


KEYS = ["a.csv", "in/Ulm/a.csv", "in/7/a.csv", "in//a.csv", "in/ /a.tsv"]


@given(st.data())
def test_readers_agree_on_any_file_of_any_dataset(data: st.DataObject):
    dataset = data.draw(datasets())
    content = data.draw(files(dataset))
    key = data.draw(st.sampled_from(KEYS))
    added: tuple[str, ...] = ()
    if dataset.unknown_columns is UnknownColumns.ADD:
        added = data.draw(st.sampled_from([(), ("city",), tuple(f"c{n}" for n in range(200))]))
    assert found_of(dataset, key, content, added) == expected_of(dataset, key, content, added)


def routed_datasets() -> list[Dataset]:
    """Datasets that compete for objects."""
    orders = Dataset(
        name="orders",
        table="orders",
        fields=(Field(name="id"),),
        include=("a/**/*.{csv,pdf}", "b*/?.tsv"),
        exclude=("a/tmp/**",),
        attachments=(Attachment(column="scan", match="a/**/{id}-x.{png,gif}"),),
    )
    odd = replace(orders, name="odd", include=("**/x/**",), exclude=("**/*.png",), attachments=())
    other = replace(odd, name="other", bucket="elsewhere", include=("**",))
    return [USERS, orders, odd, replace(odd, name="any", format="csv", include=("c/**",)), other]


segments = st.sampled_from(
    ["a", "A", "b", "bb", "c", "x", "X", "tmp", "7.csv", "7.CSV", "z.tsv", "7.png", "7-x.PNG",
     "7.txt", "y.csv.gz",
     "q.pdf", "\u0130.csv", "Zoe\u0308-x.png", "_._7", ""]
)  # fmt: skip
excludes = st.sampled_from([(), ("a/**",), ("**/*.png",)])
includes = st.sampled_from([("**/*.csv",), ("**",), ("a/**/*.csv",), ("**/*.{csv,tsv}",)])


@given(
    st.lists(segments, min_size=1, max_size=4),
    excludes,
    includes,
    st.sampled_from(["src", "elsewhere"]),
)
def test_readers_agree_on_routes(
    path: list[str], exclude: tuple[str, ...], include: tuple[str, ...], bucket: str
):
    users, *others = routed_datasets()
    chosen = [replace(users, exclude=exclude, include=include), *others]
    key = "/".join(path)
    found = Router(chosen, "src").route(bucket, key)
    route = None if names.is_junk(key) else Routes(chosen, bucket, "src").of(key)
    if route is None:
        assert found.dataset is None
    else:
        assert route == type(route)(
            found.kind, found.dataset, found.attachment, found.attachment_id
        )

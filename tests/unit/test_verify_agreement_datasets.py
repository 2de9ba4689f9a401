"""Both readers get the same result from any file of any dataset, and route any key alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import (
    USERS,
    Attachment,
    Dataset,
    Field,
    FieldType,
    UnknownColumns,
)
from etl.model.routing import Router
from etl.verify import names
from etl.verify.routes import Routes
from tests.any_files import csv_files, datasets
from tests.dataset_outcomes import expected_of, found_of

KEYS = ["a.csv", "in/Ulm/a.csv", "in/7/a.csv", "in//a.csv", "in/ /a.tsv"]


@given(st.data())
def test_readers_agree_on_any_csv_of_any_dataset(data: st.DataObject):
    dataset = data.draw(datasets())
    content = data.draw(csv_files(dataset))
    key = data.draw(st.sampled_from(KEYS))
    added: tuple[str, ...] = ()
    if dataset.unknown_columns is UnknownColumns.ADD:
        added = data.draw(st.sampled_from([(), ("city",), tuple(f"c{n}" for n in range(200))]))
    assert found_of(dataset, key, content, added) == expected_of(dataset, key, content, added)


DAYS = ["%Y %m %d", "%y %m %d", "%d %b %Y", "%B %d %y", "%Y %j", "%a %d %m %y", "%A %d %b %y"]
CLOCKS = ["%H", "%H %M", "%H %M %S", "%H %M %S %f", "%I %p", "%I %M %p %S"]
BETWEEN = ["", " ", "  ", ".", "-", ":", "T", " at 7 "]


@st.composite
def time_formats(draw: st.DrawFn) -> Field:
    """Any field of dates or times that may be declared."""
    kind = draw(st.sampled_from([FieldType.DATE, FieldType.TIME, FieldType.DATETIME]))
    parts = [] if kind is FieldType.TIME else draw(st.sampled_from(DAYS)).split()
    if kind is not FieldType.DATE:
        parts += draw(st.sampled_from(CLOCKS)).split()
    parts += ["%z"] if kind is FieldType.DATETIME and draw(st.booleans()) else []
    parts = draw(st.permutations(parts))
    between = draw(st.lists(st.sampled_from(BETWEEN), min_size=len(parts), max_size=len(parts)))
    format_ = "".join(map("".join, zip(parts, between, strict=True))).strip()
    return Field(name="f", type=kind, format=format_)


@given(st.data())
def test_readers_agree_on_any_time_in_any_format(data: st.DataObject):
    field = data.draw(time_formats())
    written = data.draw(st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31))).replace(  # noqa: DTZ001
        tzinfo=UTC
    )
    text = written.strftime(str(field.format))
    changes = [("0", ""), (" ", "  "), (" ", "\t"), (" ", ""), ("+", "-"), ("00", "0"), ("M", "m")]
    for old, new in data.draw(st.lists(st.sampled_from(changes), max_size=2)):
        text = text.replace(old, new, data.draw(st.integers(1, 3)))
    dataset = Dataset(name="o", table="o", fields=(field,), include=("**",))
    content = f'f\n"{text}"\n'.encode()
    assert found_of(dataset, "a.csv", content) == expected_of(dataset, "a.csv", content)


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

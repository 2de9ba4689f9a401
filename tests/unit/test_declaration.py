"""Declarations as JSON, the hash of what decides rows, and comparisons."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

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
    Moment,
    OnRemoved,
    ShortRows,
    UnknownColumns,
)
from etl.model.declaration import (
    Alteration,
    DeclarationChange,
    Effect,
    compare,
    from_json,
    reading_hash,
    rebuilding,
    to_json,
)

NAMES = st.text("abcXYZ_09", min_size=1, max_size=4).map(lambda text: f"n{text}")
TEXT = st.text(max_size=5)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
VALUES = {
    FieldType.STRING: TEXT,
    FieldType.INTEGER: st.integers(),
    FieldType.NUMBER: st.one_of(st.integers(), st.decimals(allow_nan=False, allow_infinity=False)),
    FieldType.BOOLEAN: st.booleans(),
    FieldType.DATE: st.dates(),
    FieldType.TIME: st.times(),
    FieldType.DATETIME: st.datetimes(timezones=ZONES).filter(lambda one: 1 < one.year < 9999),
    FieldType.YEAR: st.integers(1, 9999),
    FieldType.EPOCH_MS: st.one_of(st.dates(), st.just(Moment.TODAY)),
}
SQL = {
    FieldType.STRING: ["varchar(9)", "uuid"],
    FieldType.NUMBER: ["numeric(12,2)", "double precision"],
}


@st.composite
def fields(draw: st.DrawFn, name: str) -> Field:
    type_ = draw(st.sampled_from(FieldType))
    values = VALUES.get(type_, st.none())
    constraints = Constraints(
        required=draw(st.booleans()),
        minimum=draw(st.none() | values),
        exclusive_maximum=draw(st.none() | values),
        min_length=draw(st.none() | st.integers(0, 9)),
        pattern=draw(st.none() | TEXT),
        enum=draw(st.none() | st.lists(values, max_size=3).map(tuple)) if type_ in VALUES else None,
    )
    return Field(
        name=name,
        type=type_,
        constraints=draw(st.sampled_from([Constraints(), constraints])),
        sql=draw(st.none() | st.sampled_from(SQL[type_])) if type_ in SQL else None,
        aliases=draw(TEXTS),
        format=draw(st.none() | TEXT),
        timezone=draw(st.none() | TEXT),
        decimal_char=draw(st.sampled_from(".,")),
        true_values=draw(TEXTS),
        missing_values=draw(st.none() | TEXTS),
        trim=draw(st.booleans()),
        title=draw(st.none() | TEXT),
        description=draw(st.none() | TEXT),
    )


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique=True))
    declared = tuple(draw(fields(name)) for name in names)
    chosen = st.lists(st.sampled_from(names), max_size=2, unique=True).map(tuple)
    return Dataset(
        name=draw(NAMES),
        table=draw(NAMES),
        fields=declared,
        include=draw(TEXTS),
        exclude=draw(TEXTS),
        bucket=draw(TEXT),
        format=draw(st.sampled_from([None, "csv", "tsv"])),
        is_preset=draw(st.booleans()),
        primary_key=draw(chosen),
        missing_values=draw(TEXTS),
        prefer=draw(st.none() | st.sampled_from(names)),
        on_removed=draw(st.sampled_from(OnRemoved)),
        is_paused=draw(st.booleans()),
        unknown_columns=draw(st.sampled_from(UnknownColumns)),
        short_rows=draw(st.sampled_from(ShortRows)),
        refuse_object_above=draw(st.fractions(0, 1)),
        dialect=Dialect(
            delimiter=draw(st.none() | TEXT), quote_char=draw(TEXT), member=draw(st.none() | TEXT)
        ),
        path_columns=draw(st.sampled_from([None, "a/{site}/**"])),
        derived=draw(
            st.lists(
                st.builds(
                    Derived, name=NAMES, source=NAMES, computed_as=st.sampled_from(DerivedAs)
                ),
                max_size=2,
            ).map(tuple)
        ),
        attachments=draw(st.sampled_from([(), (Attachment(column="img", match="**/{n}.png"),)])),
        indexes=draw(st.lists(chosen, max_size=2).map(tuple)),
        publish=draw(TEXTS),
        id_from_name=draw(st.none() | st.sampled_from(names)),
    )


@given(datasets())
def test_a_declaration_survives_json(dataset: Dataset):
    assert from_json(json.loads(json.dumps(to_json(dataset)))) == dataset


def test_the_json_of_users_is_short():
    assert to_json(USERS) == {
        "name": "users",
        "table": "users",
        "is_preset": True,
        "include": ["**/*.csv"],
        "primary_key": ["user_id"],
        "id_from_name": "user_id",
        "fields": [
            {"name": "user_id", "constraints": {"required": True}},
            {"name": "first_name", "constraints": {"required": True}},
            {"name": "last_name", "constraints": {"required": True}},
            {
                "name": "birthts",
                "type": "epoch-ms",
                "constraints": {"required": True, "minimum": "1900-01-01", "maximum": "today"},
            },
        ],
        "derived": [
            {"name": "birthdate", "source": "birthts", "computed_as": "date"},
            {"name": "age", "source": "birthts", "computed_as": "age"},
        ],
        "attachments": [{"column": "img_path", "match": "**/{user_id}.{png,jpg,jpeg,webp,gif}"}],
        "indexes": [["birthdate"]],
        "publish": ["output.csv"],
    }
    assert from_json(to_json(USERS)) == USERS


def test_the_hash_of_users_stays_the_same():
    """If it changes, each installation reads every object again after its upgrade."""
    assert reading_hash(USERS) == "18add01391151820d431248555e30941d2bcda7d176bb093b8bc6cd68e471738"


@given(datasets())
def test_hash_ignores_what_does_not_decide_rows(dataset: Dataset):
    shown = tuple(replace(one, title="t", description="d") for one in dataset.fields)
    other = replace(
        dataset,
        name="other",
        table="other",
        bucket="other",
        fields=shown[::-1],
        include=dataset.include[::-1],
        indexes=(("x",),),
        publish=("x.csv",),
        derived=(),
        on_removed=OnRemoved.DELETE,
        is_paused=True,
    )
    assert reading_hash(other) == reading_hash(dataset)


ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("orders/**/*.csv",),
    primary_key=("id",),
    path_columns="orders/{country}/**",
    fields=(
        Field(name="id", constraints=Constraints(required=True)),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="code", sql="varchar(10)", constraints=Constraints(required=True)),
        Field(name="born", type=FieldType.EPOCH_MS),
    ),
    derived=(Derived(name="born_on", source="born", computed_as=DerivedAs.DATE),),
    attachments=(Attachment(column="scan", match="scans/{id}.png"),),
    indexes=(("code",),),
)


def with_field(name: str, **changes: object) -> Dataset:
    """ORDERS with a field changed."""
    return replace(
        ORDERS,
        fields=tuple(replace(one, **changes) if one.name == name else one for one in ORDERS.fields),
    )


def with_new(field: Field) -> Dataset:
    return replace(ORDERS, fields=(*ORDERS.fields, field))


@pytest.mark.parametrize(
    "changed",
    [
        replace(ORDERS, include=("x/*.csv",)),
        replace(ORDERS, exclude=("orders/tmp/**",)),
        replace(ORDERS, format="csv"),
        replace(ORDERS, dialect=Dialect(delimiter=";")),
        replace(ORDERS, dialect=Dialect(member="data")),
        replace(ORDERS, path_columns="{country}/**"),
        replace(ORDERS, missing_values=("", "NULL")),
        replace(ORDERS, unknown_columns=UnknownColumns.ADD),
        replace(ORDERS, short_rows=ShortRows.PAD),
        replace(ORDERS, refuse_object_above=Fraction(1, 10)),
        replace(ORDERS, prefer="amount"),
        replace(ORDERS, primary_key=("code",)),
        replace(ORDERS, attachments=(Attachment(column="scan", match="x/{id}.png"),)),
        with_field("amount", sql="numeric(14,2)"),
        with_field("amount", aliases=("Betrag",)),
        with_field("amount", decimal_char=","),
        with_field("amount", constraints=Constraints(minimum=Decimal(0))),
        with_field("amount", missing_values=("-",)),
        with_field("code", trim=False),
        with_new(Field(name="note")),
    ],
)
def test_hash_depends_on_what_decides_rows(changed: Dataset):
    assert reading_hash(changed) != reading_hash(ORDERS)


@pytest.mark.parametrize(
    ("one", "other"),
    [(None, "text"), ("varchar(9)", "character varying( 9 )"), ("VARCHAR(9)", "varchar(9)")],
)
def test_hash_does_not_depend_on_how_a_type_is_written(one: str | None, other: str | None):
    assert reading_hash(with_field("id", sql=one)) == reading_hash(with_field("id", sql=other))


REBUILD = rebuilding("orders")


def effects(new: Dataset, old: Dataset = ORDERS) -> list[tuple[str, tuple[str, ...]]]:
    """What each change requires, and of which columns."""
    return [(one.alteration or one.effect, one.columns) for one in compare(old, new)]


@pytest.mark.parametrize(
    "new",
    [
        ORDERS,
        replace(ORDERS, fields=ORDERS.fields[::-1]),
        replace(ORDERS, publish=("orders.csv",), on_removed=OnRemoved.DELETE, is_paused=True),
        with_field("id", title="Number", description="of the order"),
        replace(
            ORDERS,
            derived=(
                *ORDERS.derived, Derived(name="age", source="born", computed_as=DerivedAs.AGE),
            ),
        ),
    ],
)  # fmt: skip
def test_what_needs_no_work_is_no_change(new: Dataset):
    assert compare(ORDERS, new) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (with_new(Field(name="note")), [("add-column", ("note",)), ("reread", ())]),
        (
            replace(ORDERS, path_columns="orders/{country}/{year}/**"),
            [("add-column", ("year",)), ("reread", ())],
        ),
        (
            replace(
                ORDERS,
                attachments=(*ORDERS.attachments, Attachment(column="photo", match="p/{id}.png")),
            ),
            [("add-column", ("photo",)), ("reread", ())],
        ),
        (with_field("code", sql="varchar(11)"), [("widen-type", ("code",)), ("reread", ())]),
        (with_field("code", sql=None), [("widen-type", ("code",)), ("reread", ())]),
        (with_field("id", sql="varchar"), [("widen-type", ("id",)), ("reread", ())]),
        (with_field("amount", sql="numeric(14,2)"), [("widen-type", ("amount",)), ("reread", ())]),
        (with_field("amount", sql=None), [("widen-type", ("amount",)), ("reread", ())]),
        (
            with_field("code", constraints=Constraints()),
            [("drop-not-null", ("code",)), ("reread", ())],
        ),
        (
            replace(ORDERS, indexes=(("amount", "code"),)),
            [("drop-index", ("code",)), ("add-index", ("amount", "code"))],
        ),
        (with_field("id", aliases=("No",)), [("reread", ())]),
        (replace(ORDERS, include=("**/*.csv",)), [("reread", ())]),
        (with_new(Field(name="country", aliases=("Land",))), [("reread", ())]),
    ],
)
def test_changes_without_a_rebuild(new: Dataset, expected: list[tuple[str, tuple[str, ...]]]):
    assert effects(new) == expected
    assert all(not one.remedy for one in compare(ORDERS, new))


@pytest.mark.parametrize(
    ("new", "columns"),
    [
        (replace(ORDERS, table="sales"), ()),
        (replace(ORDERS, primary_key=()), ()),
        (replace(ORDERS, primary_key=("id", "code")), ("id", "code")),
        (replace(ORDERS, fields=ORDERS.fields[:-1], derived=()), ("born",)),
        (replace(ORDERS, path_columns=None), ("country",)),
        (replace(ORDERS, derived=()), ("born_on",)),
        (replace(ORDERS, attachments=()), ("scan",)),
        (with_field("amount", sql="numeric(10,2)"), ("amount",)),
        (with_field("amount", sql="numeric(14,4)"), ("amount",)),
        (with_field("amount", sql="double precision"), ("amount",)),
        (with_field("amount", type=FieldType.STRING, sql=None), ("amount",)),
        (with_field("code", sql="varchar(9)"), ("code",)),
        (with_field("id", sql="varchar(9)"), ("id",)),
        (with_field("id", sql="char(9)"), ("id",)),
        (with_field("amount", constraints=Constraints(required=True)), ("amount",)),
        (with_new(Field(name="new", constraints=Constraints(required=True))), ("new",)),
        (
            replace(
                ORDERS,
                derived=(
                    *ORDERS.derived, Derived(name="d", source="born", computed_as=DerivedAs.DATE),
                ),
            ),
            ("d",),
        ),
    ],
)  # fmt: skip
def test_changes_that_need_a_rebuild_come_first_with_the_steps(
    new: Dataset, columns: tuple[str, ...]
):
    first = compare(ORDERS, new)[0]
    assert first.effect is Effect.REFUSED
    assert first.columns == columns
    assert first.remedy == REBUILD
    assert "`./run.sh datasets apply --rebuild orders`" in REBUILD


def test_a_narrowed_field_is_described():
    assert compare(ORDERS, with_field("code", sql="varchar(9)")) == [
        DeclarationChange(
            effect=Effect.REFUSED,
            sentence="The type of code is varchar(9) instead of varchar(10).",
            columns=("code",),
            remedy=REBUILD,
        ),
        DeclarationChange(
            effect=Effect.REREAD,
            sentence="The next full run reads all objects of orders again. Changed: fields.",
        ),
    ]


def test_an_index_is_added_in_place():
    assert compare(replace(ORDERS, indexes=()), ORDERS) == [
        DeclarationChange(
            effect=Effect.IN_PLACE,
            sentence="The index on code is new.",
            columns=("code",),
            alteration=Alteration.ADD_INDEX,
        )
    ]


def test_an_attachment_cannot_become_a_column_of_the_file():
    new = replace(with_new(Field(name="scan")), attachments=())
    assert ("refused", ("scan",)) in effects(new)


@given(datasets(), datasets())
def test_no_change_means_the_same_reading(one: Dataset, other: Dataset):
    assert compare(one, one) == []
    rereads = any(change.effect is Effect.REREAD for change in compare(one, other))
    assert rereads == (reading_hash(one) != reading_hash(other))

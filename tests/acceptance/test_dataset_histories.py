"""Histories in which objects and declarations change: the end depends on neither's past.

Three datasets in two buckets; random puts, removals, renames, event runs, full runs, held
retirements and changed declarations. After each full run that holds nothing, the tables equal
those of a single run in a fresh database, and the independent verifier agrees after each. After
each run, the tallies equal counts over the tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from etl.db import events
from etl.db.engine import connect
from etl.model.dataset import (
    USERS,
    Attachment,
    Constraints,
    Dataset,
    Field,
    FieldType,
    OnRemoved,
    ShortRows,
    UnknownColumns,
)
from etl.model.routing import Router
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import holds
from etl.sync.manager import DataManager
from etl.sync.merge import THRESHOLDS, Thresholds
from etl.verify import verify
from tests.conftest import TestBucket
from tests.tallies import wrong_tallies

Step = tuple[str, str, Any]
State = dict[str, list[Any]]

ORDERS = Dataset(
    name="orders",
    table="orders",
    include=("orders/**/*.csv",),
    primary_key=("order_id",),
    fields=(
        Field(name="order_id", constraints=Constraints(required=True)),
        Field(name="amount", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="updated", type=FieldType.INTEGER),
    ),
    attachments=(Attachment(column="photo", match="orders/photos/{order_id}.{png,jpg}"),),
    publish=("orders.csv",),
)
READINGS = Dataset(
    name="readings",
    table="Readings",
    include=("sensors/**/*.csv",),
    path_columns="sensors/{site}/**",
    unknown_columns=UnknownColumns.ADD,
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="celsius", type=FieldType.NUMBER, sql="double precision"),
    ),
)
NOTE = Field(name="note")

# What may change in a declaration without a rebuild; a field is added once and stays.
CHANGES: dict[str, dict[str, list[Any]]] = {
    "orders": {
        "prefer": [None, "updated"],
        "exclude": [(), ("orders/a/**",)],
        "missing_values": [("",), ("", "1")],
        "is_paused": [False, True],
        "on_removed": [OnRemoved.RETIRE, OnRemoved.DELETE],
        "short_rows": [ShortRows.REFUSE, ShortRows.PAD],
        "unknown_columns": list(UnknownColumns),
        "publish": [(), ("orders.csv",)],
    },
    "readings": {
        "unknown_columns": list(UnknownColumns),
        "include": [("sensors/**/*.csv",), ("sensors/*/*.csv",)],
        "path_columns": ["sensors/{site}/**", "sensors/*/{site}.csv"],
        "is_paused": [False, True],
        "missing_values": [("",), ("", "1")],
    },
    "users": {"exclude": [(), ("a/**",)], "is_paused": [False, True]},
}
CONSTRAINTS = [
    Constraints(required=True),
    Constraints(required=True, pattern="[AB]"),
    Constraints(required=True, enum=("A", "C")),
]


def with_type(name: str, **changed: Any) -> Callable[[Dataset], Dataset]:  # noqa: ANN401
    """A change of a field's type."""

    def change(dataset: Dataset) -> Dataset:
        fields = [replace(one, **changed) if one.name == name else one for one in dataset.fields]
        return replace(dataset, fields=tuple(fields))

    return change


# What may change by a rebuild.
REBUILDS: dict[str, list[Callable[[Dataset], Dataset]]] = {
    "orders": [
        lambda one: replace(one, primary_key=() if one.primary_key else ("order_id",)),
        lambda one: replace(one, attachments=() if one.attachments else ORDERS.attachments),
        lambda one: replace(one, fields=tuple(field for field in one.fields if field != NOTE)),
        with_type("amount", type=FieldType.STRING, sql=None),
        with_type("amount", type=FieldType.INTEGER, sql="smallint"),
        with_type("amount", type=FieldType.NUMBER, sql="numeric(4,1)"),
        lambda one: one,
    ],
    "readings": [
        lambda one: replace(one, primary_key=() if one.primary_key else ("sensor",)),
        lambda one: replace(one, path_columns=None if one.path_columns else READINGS.path_columns),
        with_type("celsius", type=FieldType.NUMBER, sql="numeric"),
        with_type("celsius", type=FieldType.STRING, sql=None),
    ],
    "users": [lambda one: one],
}


@dataclass
class Declarations:
    """The datasets file of a history, as it is now."""

    known: dict[str, Dataset] = field(
        default_factory=lambda: {one.name: one for one in (ORDERS, READINGS, USERS)}
    )
    absent: set[str] = field(default_factory=set)

    def change(self, name: str, change: tuple[str, Any]) -> None:
        what, value = change
        if what == "rebuild":
            self.known[name] = value(self.known[name])
        elif what == "absent":
            (self.absent.discard if name in self.absent else self.absent.add)(name)
        elif what == "constraints":
            first, *others = self.known[name].fields
            self.known[name] = replace(
                self.known[name], fields=(replace(first, constraints=value), *others)
            )
        elif what == "field":
            fields = self.known[name].fields
            self.known[name] = replace(
                self.known[name], fields=fields if NOTE in fields else (*fields, NOTE)
            )
        else:
            self.known[name] = replace(self.known[name], **{what: value})

    def resume(self) -> None:
        self.known = {name: replace(one, is_paused=False) for name, one in self.known.items()}

    def datasets(self, second_bucket: str) -> tuple[Dataset, ...]:
        return tuple(
            replace(one, bucket=second_bucket) if name == "readings" else one
            for name, one in self.known.items()
            if name not in self.absent
        )


def changes() -> st.SearchStrategy[Step]:
    options: list[Step] = [
        ("declare", name, (what, value))
        for name, by_name in CHANGES.items()
        for what, values in by_name.items()
        for value in values
    ]
    options += [("declare", "orders", ("constraints", one)) for one in CONSTRAINTS]
    options += [("declare", name, ("field", None)) for name in ("orders", "readings")]
    options += [("declare", name, ("absent", None)) for name in CHANGES]
    return st.sampled_from(options)


FEW = st.sampled_from(["", "1", "2", "1.50", "x"])
ORDER_KEYS = st.sampled_from(["orders/1.csv", "orders/a/2.csv", "orders/3.csv"])
READING_KEYS = st.sampled_from(["sensors/Oslo/1.csv", "sensors/3.csv", "sensors/a/b/3.csv"])
USER_KEYS = st.sampled_from(["1.csv", "a/1.csv", "many.csv"])
PHOTOS = st.sampled_from(["orders/photos/A.png", "orders/photos/b.jpg", "1.png", "a/1.jpg"])
HEADERS = st.sampled_from(["", ",note", ",Note ,color", ",color,_odd,", ',"say ""x"": %s"'])


def _cells(width: int) -> st.SearchStrategy[list[str]]:
    return st.lists(FEW, min_size=width, max_size=width)


@st.composite
def tables(draw: st.DrawFn, header: str, first: list[str], width: int) -> str:
    """A CSV with a few rows, of which some are short or long."""
    more = draw(HEADERS)
    count = width + more.count(",")
    rows = draw(st.lists(st.tuples(st.sampled_from(first), _cells(count)), max_size=5))
    cut = draw(st.sampled_from([count, count, count, count - 1, 1]))
    lines = [header + more, *(",".join([key, *cells[:cut]]) for key, cells in rows)]
    return "\n".join([*lines, ""])


ORDERS_CSV = tables("order_id,amount,updated", ["A", "B", "C"], 2)
READINGS_CSV = tables("sensor,celsius", ["t1", "t2", ""], 1)
USERS_CSV = tables("user_id,first_name,last_name,birthts", ["1", "2", "a"], 3) | st.just(
    "user_id,first_name,last_name,birthts\n1,Ann,Lee,0\n2,Bob,Lee,1\n"
)
STEPS = st.one_of(
    st.tuples(st.just("put"), ORDER_KEYS, ORDERS_CSV),
    st.tuples(st.just("put"), ORDER_KEYS, ORDERS_CSV),
    st.tuples(st.just("put"), READING_KEYS, READINGS_CSV),
    st.tuples(st.just("put"), READING_KEYS, READINGS_CSV),
    st.tuples(st.just("put"), USER_KEYS, USERS_CSV),
    st.tuples(st.just("put"), PHOTOS, st.sampled_from(["x", "y"])),
    st.tuples(st.just("remove"), ORDER_KEYS | READING_KEYS | USER_KEYS | PHOTOS, st.none()),
    st.tuples(st.just("rename"), ORDER_KEYS, ORDER_KEYS),
    st.tuples(st.just("rename"), READING_KEYS, READING_KEYS),
    changes(),
    changes(),
    st.sampled_from([("rebuild", name, one) for name in REBUILDS for one in REBUILDS[name]]),
    st.sampled_from([("run", "", None), ("run", "", None), ("events", "", None)]),
    st.just(("allow", "", None)),
)


class History:
    """One database that sees all steps."""

    def __init__(
        self, fresh_database: Callable[[], Settings], second: TestBucket, thresholds: Thresholds
    ) -> None:
        self.fresh_database = fresh_database
        self.settings = fresh_database()
        self.thresholds = thresholds
        self.first, self.second = TestBucket(self.settings), second
        self.declarations = Declarations()
        self.engine = connect(self.settings)
        self.manager = DataManager(self.settings, thresholds=thresholds, datasets=self.declared)
        self.touched: set[tuple[str, str]] = set()
        self.sequence = 0

    @property
    def declared(self) -> tuple[Dataset, ...]:
        return self.declarations.datasets(self.second.name)

    def take(self, step: Step) -> None:
        what, key, detail = step
        if what == "declare":
            self.declarations.change(key, detail)
            self.manager.declare(self.declared)
        elif what == "rebuild":
            self.rebuild(key, detail)
        elif what == "events":
            self.run_events()
        elif what in ("run", "allow"):
            self.run(allowed=what == "allow")
        else:
            self.change_object(what, key, detail)
        if what in ("rebuild", "events", "run", "allow"):
            assert wrong_tallies(self.engine) == {}

    def change_object(self, what: str, key: str, detail: str | None) -> None:
        bucket = self.second if key.startswith("sensors/") else self.first
        self.touched.add((bucket.name, key))
        if what == "put":
            assert detail is not None
            bucket.put(key, detail)
        elif what == "remove":
            bucket.remove(key)
        elif detail is not None and key != detail and bucket.has(key):
            bucket.put(detail, bucket.get(key))
            bucket.remove(key)
            self.touched.add((bucket.name, detail))

    def rebuild(self, name: str, change: Callable[[Dataset], Dataset]) -> None:
        """Change the declaration and rebuild, unless the dataset is paused or not installed."""
        with self.engine.connect() as connection:
            installed = set(connection.scalars(text("SELECT name FROM dataset")))
        if name in installed - self.declarations.absent and not (
            self.declarations.known[name].is_paused
        ):
            self.declarations.change(name, ("rebuild", change))
            self.manager.declare(self.declared)
            self.manager.rebuild(name, allowed_retirements={name: None})

    def run_events(self) -> None:
        """An event for each touched object, then a run of them."""
        with self.engine.begin() as connection:
            for bucket, key in sorted(self.touched):
                self.sequence += 1
                record = {
                    "eventName": "s3:ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": bucket},
                        "object": {"key": key, "sequencer": f"{self.sequence:08d}"},
                    },
                }
                made = events.parse(json.dumps({"Records": [record]}).encode())
                events.store(connection, made, source_bucket=bucket)
        self.touched.clear()
        self.manager.run_events()

    def run(self, *, allowed: bool) -> None:
        names = [one.name for one in self.declared]
        self.manager.run(Trigger.CLI, allowed_retirements=dict.fromkeys(names) if allowed else None)
        self.touched.clear()
        found = verify(self.settings, self.engine, datasets=self.declared)
        held = self.held()
        assert [one for one in found if not (one.is_held and held)] == []
        if allowed:
            assert held == set()
        left_out = held | {one.name for one in self.declared if one.is_paused}
        mine, other = self.state(self.engine, left_out), self.state_of_one_run(left_out)
        assert mine == other

    def held(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.scalars(text("SELECT dataset FROM hold")))

    def state_of_one_run(self, left_out: set[str]) -> State:
        settings = self.fresh_database()
        DataManager(settings, thresholds=self.thresholds, datasets=self.declared).run(Trigger.CLI)
        engine = connect(settings)
        try:
            return self.state(engine, left_out)
        finally:
            engine.dispose()

    def state(self, engine: Engine, left_out: set[str]) -> State:
        """Everything but what DESIGN.md excepts, and the datasets left out."""
        with engine.connect() as connection:
            found: State = {}
            for one in self.declared:
                if one.name in left_out:
                    continue
                for table in (one.table, *([f"{one.table}_shadowed"] if one.primary_key else [])):
                    found[table] = _rows(
                        connection.scalars(
                            text(
                                "SELECT to_jsonb(t) - '_run_id' - '_updated_at'"
                                f' FROM public."{table}" t'
                            )
                        )
                    )
            found["source_object"] = self._of_others(
                left_out,
                connection.scalars(text("SELECT to_jsonb(o) - 'run_id' FROM source_object o")),
            )
            found["problem"] = self._of_others(
                left_out,
                connection.scalars(
                    text(
                        "SELECT to_jsonb(p) - 'run_id' - 'id' - 'created_at' FROM problem p"
                        " JOIN source_object o USING (bucket, key, run_id)"
                    )
                ),
            )
        return found

    def _of_others(self, left_out: set[str], rows: Iterable[dict[str, Any]]) -> list[str]:
        """The rows about objects that the datasets left out neither have nor would get.

        What a paused dataset would take over from one that is no longer declared stays as it is.
        """
        router = Router(self.declared, self.settings.source_bucket)

        def names(row: dict[str, Any]) -> set[str | None]:
            routed = router.route(row["bucket"], row["key"]).dataset
            return {row["dataset"], None if routed is None else routed.name}

        return _rows(row for row in rows if left_out.isdisjoint(names(row)))


def _rows(found: Iterable[dict[str, Any]]) -> list[str]:
    """Rows as text, without their nulls: of columns added by data, all values may be null."""
    return sorted(
        json.dumps(
            {name: value for name, value in row.items() if value is not None}, sort_keys=True
        )
        for row in found
    )


@pytest.fixture
def second(settings: Settings, store: ObjectStore) -> TestBucket:
    """The bucket of readings."""
    name = settings.source_bucket.replace("src-", "plant-")
    store.ensure_bucket(name)
    return TestBucket(settings.model_copy(update={"source_bucket": name}))


@pytest.fixture(autouse=True)
def low_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than half of a dataset is held from three rows on, which small histories reach."""
    monkeypatch.setattr(holds, "FLOOR", 2)


def check(
    steps: list[Step],
    fresh_database: Callable[[], Settings],
    second: TestBucket,
    thresholds: Thresholds,
) -> None:
    history = History(fresh_database, second, thresholds)
    history.first.clear()
    history.second.clear()
    try:
        for step in steps:
            history.take(step)
        history.declarations.resume()
        history.manager.declare(history.declared)
        history.run(allowed=True)
    finally:
        history.engine.dispose()


@given(steps=st.lists(STEPS, min_size=4, max_size=16))
@hypothesis_settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_histories_of_objects_and_declarations_equal_a_fresh_run(
    steps: list[Step], fresh_database: Callable[[], Settings], second: TestBucket
):
    check(steps, fresh_database, second, THRESHOLDS)


@pytest.mark.usefixtures("compared")
@given(steps=st.lists(STEPS, min_size=4, max_size=16))
@hypothesis_settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_comparison_with_stored_rows_equals_a_fresh_run(
    steps: list[Step], fresh_database: Callable[[], Settings], second: TestBucket
):
    check(steps, fresh_database, second, Thresholds(small=0))


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its examples take
@pytest.mark.usefixtures("compared")
@given(steps=st.lists(STEPS, min_size=4, max_size=40))
@hypothesis_settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_long_histories_with_comparison_equal_a_fresh_run(
    steps: list[Step], fresh_database: Callable[[], Settings], second: TestBucket
):
    check(steps, fresh_database, second, THRESHOLDS)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its examples take
@pytest.mark.parametrize(
    "thresholds", [THRESHOLDS, Thresholds(small=0, many=1), Thresholds(small=0)]
)
@given(steps=st.lists(STEPS, min_size=4, max_size=40))
@hypothesis_settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_long_histories_of_objects_and_declarations_equal_a_fresh_run(
    thresholds: Thresholds,
    steps: list[Step],
    fresh_database: Callable[[], Settings],
    second: TestBucket,
):
    check(steps, fresh_database, second, thresholds)

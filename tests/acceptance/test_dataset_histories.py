"""Histories in which objects and declarations change: the end depends on neither's past.

Three datasets in two buckets; random puts, removals, renames, event runs, full runs, held
retirements and changed declarations. After each full run that holds nothing, the tables equal
those of a single run in a fresh database, and the independent verifier agrees after each. After
each run, the tallies equal counts over the tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from etl.db import events
from etl.db.engine import connect
from etl.db.identifiers import in_text
from etl.model.dataset import Dataset, FieldType
from etl.model.errors import DatasetsFailed, RebuildRefused
from etl.model.routing import Router, path_names
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import declared, holds
from etl.sync.manager import DataManager
from etl.sync.merge import THRESHOLDS, Thresholds
from etl.verify import verify
from tests.changing_datasets import (
    CHANGES,
    CONSTRAINTS,
    REBUILDS,
    Change,
    Declarations,
    with_key,
    with_type,
)
from tests.conftest import FreshDatabases, TestBucket
from tests.dataset_files import ENDINGS, PLAIN_ENDINGS, Form, Table, encoded, ending_of
from tests.emptied_database import EmptiedDatabase
from tests.tallies import wrong_tallies

Step = tuple[str, str, Any]
State = dict[str, list[Any]]
Test = TypeVar("Test", bound=Callable[..., None])


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


def reshapes(what: str, *details: Any) -> st.SearchStrategy[Step]:  # noqa: ANN401
    """Changes that need a rebuild, which is made or not."""
    return st.sampled_from(
        [
            (what, name, (one, *detail))
            for name, by_name in REBUILDS.items()
            for one in by_name
            for detail in (details or [()])
        ]
    )


PLACES = {
    "orders/": ["orders/1", "orders/a/2", "orders/3"],
    "sensors/": ["sensors/Oslo/1", "sensors/3", "sensors/a/b/3"],
    "": ["1", "a/1", "many"],
}
OF_PRESETS = st.sampled_from(PLAIN_ENDINGS)
PHOTOS = ["orders/photos/A.png", "orders/photos/b.jpg", "1.png", "a/1.jpg"]
FORMS = st.sampled_from([*[Form.TEXT, Form.TYPED] * 5, Form.CUT])
FEW = st.sampled_from(["", "1", "2", "1.50", "x"])
MORE = st.sampled_from(
    [(), ("note",), ("Note ", "photo", "site"), ("color", "_odd", ""), ('say "x": %s',)]
)
ANY = st.integers(0, 99)


@st.composite
def tables(draw: st.DrawFn, header: list[str], first: list[str]) -> Table:
    """A few rows, of which some are short or long."""
    names = [*header, *draw(MORE)]
    count = len(names) - 1
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(first), st.lists(FEW, min_size=count, max_size=count)),
            max_size=5,
        )
    )
    cut = draw(st.sampled_from([count, count, count, count - 1, 1]))
    return names, [[key, *cells[:cut]] for key, cells in rows]


ORDER_COLUMNS = ["order_id", "amount", "updated"]
READING_COLUMNS = ["sensor", "celsius"]
USER_COLUMNS = ["user_id", "first_name", "last_name", "birthts"]
TABLES = {
    "orders/": tables(ORDER_COLUMNS, ["A", "B", "C"]),
    "sensors/": tables(READING_COLUMNS, ["t1", "t2", ""]),
    "": tables(USER_COLUMNS, ["1", "2", "a"])
    | st.just((USER_COLUMNS, [["1", "Ann", "Lee", "0"], ["2", "Bob", "Lee", "1"]])),
}


def file_steps(folder: str) -> st.SearchStrategy[Step]:
    """A file of the folder is put, replaced, renamed or removed."""
    endings = st.sampled_from(ENDINGS) if folder else OF_PRESETS
    keys = st.builds(str.__add__, st.sampled_from(PLACES[folder]), endings)
    content = st.tuples(TABLES[folder], FORMS)
    here = st.just(folder)
    others = st.none() | st.sampled_from(PLACES[folder]) | keys
    return st.one_of(
        st.tuples(st.just("put"), keys, content),
        st.tuples(st.just("replace"), here, st.tuples(ANY, content)),
        st.tuples(st.just("rename"), here, st.tuples(ANY, others)),
    )


STEPS = st.one_of(
    *[file_steps("orders/")] * 3,
    *[file_steps("sensors/")] * 3,
    file_steps(""),
    st.tuples(st.just("photo"), st.sampled_from(PHOTOS), st.sampled_from(["x", "y", None])),
    changes(),
    changes(),
    reshapes("reshape"),
    reshapes("rebuild", (True,), (False,)),
    st.sampled_from([("run", "", None), ("run", "", None), ("events", "", None)]),
    st.just(("allow", "", None)),
)


_CONTENT = "SELECT to_jsonb(t) - '_run_id' - '_updated_at' FROM public.{} t"
_COLUMNS = (
    "SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
    " JOIN pg_class ON attrelid = pg_class.oid WHERE attname = ANY(:columns)"
    " AND relnamespace = CAST('public' AS regnamespace) AND relname = ANY(:tables) ORDER BY 1, 2"
)


class History:
    """One database that sees all steps.

    `reshaped` are the datasets whose declarations may need a rebuild that was not made yet.
    """

    def __init__(self, site: Site, thresholds: Thresholds) -> None:
        self.site = site
        self.settings = site.fresh_database()
        self.first, self.second = TestBucket(self.settings), site.second
        self.objects: dict[str, bytes] = {}
        self.declarations = Declarations()
        self.reshaped: set[str] = set()
        self.engine = connect(self.settings)
        self.manager = DataManager(self.settings, thresholds=thresholds, datasets=self.declared)
        self.other = DataManager(site.other.settings, thresholds=thresholds, datasets=self.declared)
        self.one_run: tuple[object, ...] = ()
        self.version = 0  # of the objects
        self.touched: set[tuple[str, str]] = set()
        self.sequence = 0

    @property
    def declared(self) -> tuple[Dataset, ...]:
        return self.declarations.datasets(self.second.name)

    def take(self, step: Step) -> None:
        what, name, detail = step
        if what == "declare":
            self.declare(name, detail)
        elif what == "reshape":
            self.declare(name, ("rebuild", *detail))
            self.reshaped.add(name)
        elif what == "rebuild":
            self.rebuild(name, *detail)
        elif what == "events":
            self.run_events()
        elif what in ("run", "allow"):
            self.run(allowed=what == "allow")
        else:
            self.change_object(what, name, detail)
        if what in ("rebuild", "events", "run", "allow"):
            assert wrong_tallies(self.engine) == {}

    # -- objects

    def change_object(self, what: str, place: str, detail: Any) -> None:  # noqa: ANN401
        """`place` is a key, or the folder of one of the keys there are."""
        if what == "put":
            self.put(place, encoded(place, *detail[0], detail[1]))
        elif what == "photo":
            self.put(place, detail and detail.encode())
        elif keys := self.keys(place):
            number, other = detail
            key = keys[number % len(keys)]
            if what == "replace":
                self.change_object("put", key, other)
            else:
                self.rename(key, other)

    def keys(self, folder: str) -> list[str]:
        """The keys of files in the folder; of the top folder, those that no other one has."""
        return sorted(
            key
            for key in self.objects
            if key.endswith(ENDINGS)
            and (key.startswith(folder) if folder else not key.startswith(("orders/", "sensors/")))
        )

    def rename(self, key: str, other: str | None) -> None:
        """Rename the file, or remove it. Without an ending in the other key, it keeps its own."""
        content = self.objects[key]
        if other is not None and not other.endswith(ENDINGS):
            other += ending_of(key)
        if other != key:
            self.put(key, None)
            if other is not None:
                self.put(other, content)

    def put(self, key: str, content: bytes | None) -> None:
        bucket = self.second if key.startswith("sensors/") else self.first
        self.touched.add((bucket.name, key))
        self.version += 1
        if content is not None:
            self.objects[key] = content
            bucket.put(key, content)
        elif self.objects.pop(key, None) is not None:
            bucket.remove(key)

    # -- declarations

    def declare(self, name: str, change: tuple[str, Any]) -> None:
        self.declarations.change(name, change)
        self.manager.declare(self.declared)

    def rebuild(self, name: str, change: Change, is_allowed: bool) -> None:  # noqa: FBT001
        """Change the declaration and rebuild, unless the dataset is paused or not declared.

        One that would lose most rows is refused without permission, and changes none.
        """
        if name in self.declarations.absent or self.declarations.known[name].is_paused:
            return
        self.declare(name, ("rebuild", change))
        table = self.declarations.known[name].table
        others = {one.name for one in self.declared} - {name}
        before = self.state(self.engine, others)
        try:
            self.manager.rebuild(name, allowed_retirements={name: None} if is_allowed else None)
        except RebuildRefused:
            assert not is_allowed
            assert self.state(self.engine, others) == before
            self.reshaped.add(name)
        else:
            self.reshaped.discard(name)
            live = [len(one.get(table, ())) for one in (before, self.state(self.engine, others))]
            lost = live[0] - live[1]
            assert is_allowed or lost <= holds.FLOOR or 2 * lost <= live[0]

    # -- runs

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
        failed = self.failing_run(dict.fromkeys(names) if allowed else None)
        self.touched.clear()
        with self.engine.connect() as connection:
            installed = declared.load(connection, "public").values
        assert [one for one in installed if one.name not in failed] == [
            one for one in self.declared if one.name not in failed
        ]
        compared = [
            replace(one, is_paused=one.is_paused or one.name in failed) for one in installed
        ]
        found = verify(self.settings, self.engine, datasets=compared)
        held = self.held()
        assert [one for one in found if not (one.is_held and held)] == []
        if allowed:
            assert held <= failed
        left_out = held | failed | {one.name for one in self.declared if one.is_paused}
        mine, other = self.state(self.engine, left_out), self.state_of_one_run(left_out)
        assert mine == other

    def failing_run(self, allowed: dict[str, None] | None) -> set[str]:
        """Make a run; return the datasets that it leaves as they are until they are rebuilt."""
        try:
            self.manager.run(Trigger.CLI, allowed_retirements=allowed)
        except DatasetsFailed as error:
            failed = set(str(error.facts["failed"]).split(", "))
            assert failed <= self.reshaped
            return failed
        return set()

    def complete(self) -> None:
        """Make what waits: paused datasets, rebuilds and held retirements."""
        self.declarations.resume()
        for name in sorted(self.reshaped):
            self.rebuild(name, lambda one: one, is_allowed=True)
        self.manager.declare(self.declared)
        self.reshaped.clear()
        self.run(allowed=True)

    def end(self) -> None:
        """Close the connections, and drop the database."""
        self.engine.dispose()
        for one in (self.manager, self.other):
            one.run_engine.dispose()
        self.site.fresh_database.drop(self.settings)

    def held(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.scalars(text("SELECT dataset FROM hold")))

    def state_of_one_run(self, left_out: set[str]) -> State:
        """That of a database that has seen nothing else; of the same content, the one before."""
        one_run = (self.declared, self.version)
        if self.one_run != one_run:
            self.site.other.empty()
            self.other.declare(self.declared)
            self.other.run(Trigger.CLI)
            self.one_run = one_run
        return self.state(self.site.other.engine, left_out)

    def state(self, engine: Engine, left_out: set[str]) -> State:
        """Everything but what DESIGN.md excepts, and the datasets left out."""
        with engine.connect() as connection:
            found: State = {}
            for one in self.declared:
                if one.name not in left_out:
                    found |= _tables(connection, one)
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


def _tables(connection: Connection, dataset: Dataset) -> State:
    """The rows and the declared columns of the dataset's tables, without those retired."""
    named = {
        "tables": [dataset.table, f"{dataset.table}_shadowed"],
        "columns": [
            *(*dataset.field_names, *path_names(dataset)),
            *(one.column for one in dataset.attachments),
        ],
    }
    columns = connection.execute(text(_COLUMNS), named).all()
    found: State = {f"columns of {dataset.table}": [tuple(row) for row in columns]}
    for name in sorted({row[0] for row in columns}):
        found[name] = _rows(connection.scalars(text(_CONTENT.format(in_text(name)))))
    return found


def _rows(found: Iterable[dict[str, Any]]) -> list[str]:
    """Rows as text, without their nulls: of columns added by data, all values may be null."""
    return sorted(
        json.dumps(
            {name: value for name, value in row.items() if value is not None}, sort_keys=True
        )
        for row in found
    )


@dataclass(frozen=True)
class Site:
    """Where a test makes its histories, one after the other.

    The readings are in the second bucket. The other database is that of single runs.
    """

    fresh_database: FreshDatabases
    second: TestBucket
    other: EmptiedDatabase


@pytest.fixture
def site(settings: Settings, store: ObjectStore, fresh_database: FreshDatabases) -> Iterator[Site]:
    name = settings.source_bucket.replace("src-", "plant-")
    store.ensure_bucket(name)
    second = TestBucket(settings.model_copy(update={"source_bucket": name}))
    other = EmptiedDatabase(fresh_database())
    yield Site(fresh_database, second, other)
    other.engine.dispose()


@pytest.fixture(autouse=True)
def low_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than half of a dataset is held from three rows on, which small histories reach."""
    monkeypatch.setattr(holds, "FLOOR", 2)


@contextmanager
def history_in(site: Site, thresholds: Thresholds) -> Iterator[History]:
    history = History(site, thresholds)
    history.first.clear()
    history.second.clear()
    try:
        yield history
    finally:
        history.end()


def check(steps: list[Step], site: Site, thresholds: Thresholds) -> None:
    with history_in(site, thresholds) as history:
        for step in steps:
            history.take(step)
        history.complete()


def test_rebuilds_that_are_refused_or_not_made_are_awaited(site: Site):
    orders = [["A", "1", "1"], ["B", "1.50", "1"], ["C", "2", "1"], ["D", "2", "1"]]
    readings = [["t1", "1"], ["t2", "2"]]
    text_of_celsius = with_type("celsius", type=FieldType.STRING, sql=None)
    with history_in(site, THRESHOLDS) as history:
        for step in (
            ("put", "orders/1.ndjson.gz", ((ORDER_COLUMNS, orders), Form.TYPED)),
            ("put", "sensors/a/1.parquet", ((READING_COLUMNS, readings), Form.TYPED)),
            ("run", "", None),
            ("rebuild", "orders", (with_key("updated"), False)),  # which would leave one row
            ("reshape", "readings", (text_of_celsius,)),
            ("run", "", None),
        ):
            history.take(step)
        assert history.failing_run(None) == {"orders", "readings"}
        history.complete()
        assert history.failing_run(None) == set()


def histories(most_steps: int, most: int) -> Callable[[Test], Test]:
    """Give the test so many lists of steps, one after the other."""

    def decorate(test: Test) -> Test:
        limited = hypothesis_settings(max_examples=most, suppress_health_check=list(HealthCheck))
        return limited(given(steps=st.lists(STEPS, min_size=4, max_size=most_steps))(test))

    return decorate


@histories(16, most=8)
def test_histories_of_objects_and_declarations_equal_a_fresh_run(steps: list[Step], site: Site):
    check(steps, site, THRESHOLDS)


@pytest.mark.usefixtures("compared")
@histories(16, most=4)
def test_comparison_with_stored_rows_equals_a_fresh_run(steps: list[Step], site: Site):
    check(steps, site, Thresholds(small=0))


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its examples take
@pytest.mark.usefixtures("compared")
@histories(40, most=300)
def test_long_histories_with_comparison_equal_a_fresh_run(steps: list[Step], site: Site):
    check(steps, site, THRESHOLDS)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its examples take
@pytest.mark.parametrize(
    "thresholds", [THRESHOLDS, Thresholds(small=0, many=1), Thresholds(small=0)]
)
@histories(40, most=300)
def test_long_histories_of_objects_and_declarations_equal_a_fresh_run(
    thresholds: Thresholds, steps: list[Step], site: Site
):
    check(steps, site, thresholds)

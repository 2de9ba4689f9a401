"""verify() with a real database and a real object store, neither of which it may trust."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text

from etl.db.tables import problem, run, source_object, users, users_shadowed
from etl.model.dataset import USERS, Constraints, Dataset, Field, FieldType
from etl.model.errors import ConfigurationError, ObjectStoreUnavailable
from etl.verify import Difference, store, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from etl.settings import Settings

TODAY = date(2024, 2, 29)
NOW = datetime(2024, 2, 29, tzinfo=UTC)
OBJECTS = {
    "a/1000.csv": "first_name, last_name, birthts, city\nAda, Lovelace, 7, Ulm\n",
    "img/1000.png": "not read",
    "many.csv": "user_id;first_name;last_name;birthts\n7;Old;B;0\n7;New;B;0\n8;C;;x\n",
    "empty.csv": "\n",
    "notes.txt": "hello",
    "a/.DS_Store": "ignored",
}
OUTPUT = "user_id,first_name,last_name,birthts,img_path\n1000,Ada,Lovelace,7,{}\n7,New,B,0,\n"
# key: kind, dataset, attachment, attachment_id, state, rows_read, rows_rejected
MANIFEST = {
    "a/1000.csv": ("data", "users", None, None, "loaded", 1, 0),
    "img/1000.png": ("image", "users", "img_path", "1000", "loaded", 0, 0),
    "many.csv": ("data", "users", None, None, "loaded", 3, 1),
    "empty.csv": ("data", "users", None, None, "quarantined", 0, 0),
    "notes.txt": ("other", "users", None, None, "quarantined", 0, 0),
}
PROBLEMS = [
    ("many.csv", 4, "missing-cell"),
    ("many.csv", 4, "not-an-integer"),
    ("empty.csv", None, "empty-file"),
    ("notes.txt", None, "unsupported-type"),
]

ANOTHER_USER = """
    INSERT INTO users
        (user_id, first_name, last_name, birthts, _source_key, _source_line, _run_id, _updated_at)
    VALUES ('9', 'A', 'B', 0, 'x.csv', 2, 2, now())
"""
ANOTHER_OBJECT = """
    INSERT INTO source_object
        (bucket, key, kind, dataset, etag, size, last_modified, state, rows_read, rows_rejected,
         run_id)
    SELECT bucket, 'x.csv', kind, dataset, etag, size, last_modified, state, 0, 0, run_id
    FROM source_object WHERE key = 'many.csv'
"""
ANOTHER_SHADOWED_ROW = """
    INSERT INTO users_shadowed
        (_source_key, _source_line, user_id, first_name, last_name, birthts, _run_id)
    VALUES ('many.csv', 9, '7', 'A', 'B', 0, 2)
"""
ANOTHER_PROBLEM = """
    INSERT INTO problem (run_id, bucket, dataset, key, etag, line, code, severity, note)
    SELECT {}, bucket, 'users', key, 'e', {}, '{}', 'error', 'n'
    FROM source_object WHERE key = 'many.csv'
"""


class SyncedTables:
    """Buckets and tables that agree, as after a run, for tests to put out of sync."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.client = store.connect(settings)
        self.datasets: tuple[Dataset, ...] = (USERS,)
        for key, content in OBJECTS.items():
            self.put(key, content)
        self.publish(OUTPUT.format(f"{settings.source_bucket}/img/1000.png"))
        with engine.begin() as connection:
            self._fill(connection)

    def put(self, key: str, content: str) -> None:
        self._put(self.settings.source_bucket, key, content)

    def publish(self, content: str) -> None:
        self._put(self.settings.processed_bucket, "output.csv", content)

    def _put(self, bucket: str, key: str, content: str) -> None:
        raw = content.encode()
        self.client.put_object(bucket, key, io.BytesIO(raw), len(raw))

    def take(self, key: str, content: str, state: str, rows_read: int, rows_rejected: int) -> None:
        """Put an object and its entry in the manifest."""
        self.put(key, content)
        (source,) = store.list_objects(self.client, self.settings.source_bucket, key)
        with self.engine.begin() as connection:
            connection.execute(
                insert(source_object).values(
                    bucket=self.settings.source_bucket, key=key, kind="data", run_id=2,
                    dataset="users", etag=source.etag, size=source.size,
                    last_modified=source.last_modified, state=state, rows_read=rows_read,
                    rows_rejected=rows_rejected,
                )
            )  # fmt: skip

    def remove(self, key: str) -> None:
        self.client.remove_object(self.settings.source_bucket, key)

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def differences(self, progress: Callable[[int, int], None] | None = None) -> list[Difference]:
        return verify(
            self.settings, self.engine, datasets=self.datasets, today=TODAY, progress=progress
        )

    def found(self) -> set[tuple[str, str]]:
        return {(difference.what, difference.name) for difference in self.differences()}

    def _fill(self, connection: Connection) -> None:
        for state in ("failed", "succeeded"):
            connection.execute(insert(run).values(trigger="cli", state=state))
        connection.execute(insert(source_object), self._manifest())
        connection.execute(insert(users), self._users())
        connection.execute(
            insert(users_shadowed).values(
                _source_key="many.csv", _source_line=2, user_id="7", _run_id=2,
                first_name="Old", last_name="B", birthts=0,
            )
        )  # fmt: skip
        connection.execute(
            insert(problem),
            [
                {"run_id": 2, "key": key, "line": line, "code": code, "etag": "e", "note": "n",
                 "severity": "error", "bucket": self.settings.source_bucket}
                for key, line, code in PROBLEMS
            ],
        )  # fmt: skip

    def _manifest(self) -> list[dict[str, object]]:
        listed = store.list_objects(self.client, self.settings.source_bucket)
        names = (
            "kind",
            "dataset",
            "attachment",
            "attachment_id",
            "state",
            "rows_read",
            "rows_rejected",
        )
        return [
            {"bucket": self.settings.source_bucket, "key": source.key, "etag": source.etag,
             "size": source.size, "last_modified": source.last_modified, "run_id": 2,
             **dict(zip(names, MANIFEST[source.key], strict=True))}
            for source in listed if source.key in MANIFEST
        ]  # fmt: skip

    def _users(self) -> list[dict[str, object]]:
        common = {"_run_id": 2, "_updated_at": NOW}
        return [
            common | {"user_id": "1000", "first_name": "Ada", "last_name": "Lovelace",
                      "birthts": 7, "_extra": {"city": "Ulm"}, "_source_key": "a/1000.csv",
                      "img_path": f"{self.settings.source_bucket}/img/1000.png",
                      "_source_line": 2},
            common | {"user_id": "7", "first_name": "New", "last_name": "B", "birthts": 0,
                      "img_path": None, "_extra": None, "_source_key": "many.csv",
                      "_source_line": 3},
        ]  # fmt: skip


@pytest.fixture
def synced(settings: Settings, engine: Engine) -> SyncedTables:
    """Buckets and tables that agree."""
    return SyncedTables(settings, engine)


def test_buckets_and_tables_that_agree_have_no_differences(synced: SyncedTables):
    assert synced.differences() == []


def test_an_empty_bucket_and_empty_tables_lack_only_the_output(settings: Settings, engine: Engine):
    (difference,) = verify(settings, engine, today=TODAY)
    assert difference.what == "output-missing"


@pytest.mark.parametrize(
    "change",
    [
        "first_name = 'x'",
        "last_name = 'x'",
        "birthts = 1",
        "img_path = NULL",
        "_extra = '{}'",
        "_source_key = 'x'",
        "_source_line = 3",
    ],
)
def test_differing_user_is_reported(synced: SyncedTables, change: str):
    synced.execute(f"UPDATE users SET {change} WHERE user_id = '1000'")
    (difference,) = synced.differences()
    assert (difference.what, difference.name) == ("user-differs", "1000")
    assert difference.note.endswith(f"disagree on {change.split(maxsplit=1)[0].lstrip('_')}.")


@pytest.mark.parametrize(
    "change",
    [
        "etag = 'x'",
        "size = 1",
        "last_modified = last_modified + interval '1 ms'",
        "kind = 'other'",
        "dataset = 'x'",
        "attachment = 'x'",
        "attachment_id = 'x'",
        "state = 'quarantined'",
        "rows_read = 2",
        "rows_rejected = 2",
    ],
)
def test_differing_manifest_entry_is_reported(synced: SyncedTables, change: str):
    synced.execute(f"UPDATE source_object SET {change} WHERE key = 'many.csv'")
    (difference,) = synced.differences()
    assert (difference.what, difference.name) == ("manifest-differs", "many.csv")
    assert difference.note.endswith(f"disagree on {change.split(maxsplit=1)[0]}.")


@pytest.mark.parametrize(
    ("statement", "what", "name"),
    [
        ("DELETE FROM users WHERE user_id = '7'", "user-missing", "7"),
        (ANOTHER_USER, "user-surplus", "9"),
        ("DELETE FROM source_object WHERE kind = 'image'", "manifest-missing", "img/1000.png"),
        (ANOTHER_OBJECT, "manifest-surplus", "x.csv"),
        ("DELETE FROM users_shadowed", "shadowed-missing", "many.csv 2 7"),
        (ANOTHER_SHADOWED_ROW, "shadowed-surplus", "many.csv 9 7"),
        ("DELETE FROM problem WHERE line = 4 AND code = 'missing-cell'", "problem-missing",
         "many.csv 4 missing-cell"),
        ("DELETE FROM problem WHERE key = 'notes.txt'", "problem-missing",
         "notes.txt unsupported-type"),
        ("UPDATE problem SET run_id = 1 WHERE key = 'empty.csv'", "problem-missing",
         "empty.csv empty-file"),
        (ANOTHER_PROBLEM.format(2, "NULL", "no-rows"), "problem-surplus", "many.csv no-rows"),
        (ANOTHER_PROBLEM.format(2, 3, "short-row"), "problem-surplus", "many.csv 3 short-row"),
        (ANOTHER_PROBLEM.format(2, 4, "missing-cell"), "problem-surplus",
         "many.csv 4 missing-cell"),
        (ANOTHER_PROBLEM.format(2, "NULL", "more-problems"), "problem-surplus",
         "many.csv more-problems"),
    ],
)  # fmt: skip
def test_missing_and_extra_rows_are_reported(
    synced: SyncedTables, statement: str, what: str, name: str
):
    synced.execute(statement)
    assert synced.found() == {(what, name)}


def test_retired_users_and_earlier_problems_are_ignored(synced: SyncedTables):
    synced.execute(
        "INSERT INTO users_retired (user_id, _source_key, _source_line, _run_id, _updated_at,"
        " _retired_at) VALUES ('9', 'x.csv', 2, 2, now(), now())"
    )
    synced.execute(ANOTHER_PROBLEM.format(1, "NULL", "guessed-encoding"))
    assert synced.differences() == []


LISTED_PROBLEMS = """
    INSERT INTO problem (run_id, bucket, key, etag, line, code, severity, note)
    SELECT 2, bucket, key, 'e', line, code, 'error', 'n'
    FROM source_object, (
        SELECT line, 'short-row' AS code FROM generate_series(2, 1001) AS line
        UNION ALL SELECT NULL, 'more-problems'
    ) AS listed
    WHERE key = 'wall.csv'
"""


def test_first_thousand_problems_of_an_object_are_compared(synced: SyncedTables):
    synced.take(
        "wall.csv", "first_name,last_name,birthts\n" + "A\n" * 1_200, "loaded", 1_200, 1_200
    )
    synced.execute(LISTED_PROBLEMS)
    assert synced.differences() == []
    synced.execute("UPDATE problem SET line = 1002 WHERE line = 1001")
    assert synced.found() == {
        ("problem-missing", "wall.csv 1001 short-row"),
        ("problem-surplus", "wall.csv 1002 short-row"),
    }
    synced.execute("DELETE FROM problem WHERE key = 'wall.csv' AND line IS NOT NULL")
    assert len(synced.differences()) == 1_000
    synced.execute("DELETE FROM problem WHERE key = 'wall.csv'")
    assert ("problem-missing", "wall.csv more-problems") in synced.found()


def test_an_object_refused_for_its_rows_leaves_no_user(synced: SyncedTables):
    synced.take("two.csv", "first_name,last_name,birthts\nA,B,0\nC,D,0\nE\n", "quarantined", 3, 3)
    synced.execute(ANOTHER_PROBLEM.format(2, "NULL", "rows-without-id").replace("many", "two"))
    assert synced.differences() == []
    synced.execute(ANOTHER_USER.replace("'9'", "'two'").replace("x.csv", "two.csv"))
    assert synced.found() == {("user-surplus", "two")}


def test_manifest_of_another_bucket_is_ignored(synced: SyncedTables):
    synced.execute(
        "INSERT INTO source_object (bucket, key, kind, etag, size, last_modified, state, rows_read,"
        " rows_rejected, run_id) SELECT 'other-bucket', key, kind, etag, size, last_modified,"
        " state, rows_read, rows_rejected, run_id FROM source_object"
    )
    assert synced.differences() == []


def test_new_object_is_missing_from_tables_and_output(synced: SyncedTables):
    synced.put("9.csv", "first_name,last_name,birthts\nA,B,0\n")
    assert synced.found() == {
        ("user-missing", "9"),
        ("manifest-missing", "9.csv"),
        ("output-missing", "9"),
    }


def test_removed_object_is_surplus_in_tables_and_output(synced: SyncedTables):
    synced.remove("a/1000.csv")
    assert synced.found() == {
        ("user-surplus", "1000"),
        ("manifest-surplus", "a/1000.csv"),
        ("output-surplus", "1000"),
    }


def test_removed_image_is_reported_with_its_user(synced: SyncedTables):
    synced.remove("img/1000.png")
    assert synced.found() == {
        ("user-differs", "1000"),
        ("manifest-surplus", "img/1000.png"),
        ("output-differs", "1000"),
    }


def test_outdated_output_is_reported(synced: SyncedTables):
    synced.publish(OUTPUT.format("").replace("New", "Old"))
    assert synced.found() == {("output-differs", "1000"), ("output-differs", "7")}


def test_an_object_replaced_while_verifying_is_read_again(synced: SyncedTables):
    def replace_it(done: int, _total: int) -> None:
        if done == 0:
            synced.put("a/1000.csv", OBJECTS["a/1000.csv"].replace("Ada", "Augusta"))

    by_what = {difference.what: difference for difference in synced.differences(replace_it)}
    assert by_what["user-differs"].expected == {"first_name": "Augusta"}
    assert by_what["manifest-differs"].name == "a/1000.csv"


def test_an_object_removed_while_verifying_is_gone(synced: SyncedTables):
    def remove_it(done: int, _total: int) -> None:
        if done == 0:
            synced.remove("a/1000.csv")

    found = {(difference.what, difference.name) for difference in synced.differences(remove_it)}
    assert ("user-surplus", "1000") in found
    assert ("manifest-surplus", "a/1000.csv") in found


def test_progress_counts_the_csvs(synced: SyncedTables):
    seen: list[tuple[int, int]] = []
    synced.differences(lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_missing_bucket_is_a_configuration_error(settings: Settings, engine: Engine):
    elsewhere = settings.model_copy(update={"source_bucket": "no-such-bucket"})
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        verify(elsewhere, engine)


def test_unavailable_store_is_a_transient_error(settings: Settings, engine: Engine):
    elsewhere = settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(ObjectStoreUnavailable, match=settings.source_bucket):
        verify(elsewhere, engine)


def test_verify_needs_an_endpoint(settings: Settings, engine: Engine):
    with pytest.raises(ConfigurationError, match="S3_ENDPOINT"):
        verify(settings.model_copy(update={"s3_endpoint": None}), engine)


# Held objects


def held(synced: SyncedTables) -> dict[tuple[str, str], bool]:
    return {(each.what, each.name): each.is_held for each in synced.differences()}


HOLD = """
    INSERT INTO held_object (bucket, key, dataset, rows)
    SELECT bucket, key, dataset, 1 FROM source_object WHERE key = 'a/1000.csv'
"""


def test_differences_of_held_objects_are_marked(synced: SyncedTables):
    synced.remove("a/1000.csv")
    synced.execute(HOLD)
    synced.execute("DELETE FROM users WHERE user_id = '7'")
    assert held(synced) == {
        ("user-surplus", "1000"): True,
        ("manifest-surplus", "a/1000.csv"): True,
        ("output-surplus", "1000"): True,
        ("user-missing", "7"): False,
    }


def test_row_that_a_held_object_hides_is_held_too(synced: SyncedTables):
    """The user of the held object wins over the row of another object, which is shadowed."""
    synced.remove("a/1000.csv")
    synced.execute(HOLD)
    synced.take("o.csv", "user_id,first_name,last_name,birthts\n1000,B,C,0\n", "loaded", 1, 0)
    synced.execute(ANOTHER_SHADOWED_ROW.replace("many.csv', 9, '7'", "o.csv', 2, '1000'"))
    assert held(synced) == {
        ("user-differs", "1000"): True,
        ("shadowed-surplus", "o.csv 2 1000"): True,
        ("manifest-surplus", "a/1000.csv"): True,
        ("output-differs", "1000"): True,
    }


def test_rows_that_a_foreign_key_keeps_are_held(synced: SyncedTables):
    synced.execute(
        ANOTHER_PROBLEM.format(2, 2, "retirement-blocked").replace("many.csv", "a/1000.csv")
    )
    assert synced.differences() == []
    synced.remove("a/1000.csv")
    assert set(held(synced).values()) == {True}
    synced.execute("UPDATE users SET _source_line = 3 WHERE user_id = '1000'")
    assert held(synced)["user-surplus", "1000"] is False


# Declared datasets


READINGS = Dataset(
    name="readings",
    table="Readings",
    include=("sensors/**",),
    path_columns="sensors/{site}/**",
    missing_values=("", "NULL"),
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="at", type=FieldType.DATETIME, timezone="Europe/Berlin"),
        Field(name="celsius", type=FieldType.NUMBER, sql="real"),
        Field(name="price", type=FieldType.NUMBER, sql="numeric(9,3)"),
        Field(name="facts", type=FieldType.OBJECT),
    ),
)
READING = (
    "sensor;at;celsius;price;facts;city\nT1;2024-07-01T12:00:00;0.1;1.5;"
    '"{""b"": 1.0, ""a"": [true]}";Ulm\nT2;NULL;NaN;;;\n'
)
TABLE = """
    CREATE TABLE public."Readings" (sensor text, at timestamptz, celsius real, price numeric(9,3),
        facts jsonb, site text, _extra jsonb, _source_key text, _source_line integer)
"""
STORED = """
    INSERT INTO "Readings" VALUES
    ('T1', '2024-07-01 10:00+00', 0.1, 1.500, '{"a": [true], "b": 1}', 'Ulm',
     '{"city": "Ulm"}', 'sensors/Ulm/1.csv', 2),
    ('T2', NULL, 'NaN', NULL, NULL, 'Ulm', NULL, 'sensors/Ulm/1.csv', 3)
"""


@pytest.fixture
def declared(synced: SyncedTables) -> SyncedTables:
    """With a dataset that competes with users, and agrees with its table."""
    synced.datasets = (USERS, READINGS)
    synced.take("sensors/Ulm/1.csv", READING, "loaded", 2, 0)
    synced.execute("UPDATE source_object SET dataset = 'readings' WHERE key LIKE 'sensors/%'")
    synced.execute(TABLE)
    synced.execute(STORED)
    return synced


def test_rows_of_a_declared_dataset_are_compared_by_value(declared: SyncedTables):
    assert declared.differences() == []


@pytest.mark.parametrize(
    "change",
    [
        *("sensor = 'x'", "at = at + interval '1 s'", "celsius = 0.2", "price = 1.501"),
        *('facts = \'{"a": [1], "b": 1}\'', "site = NULL", "_extra = NULL"),
    ],
)
def test_each_column_of_a_declared_dataset_is_compared(declared: SyncedTables, change: str):
    declared.execute(f'UPDATE "Readings" SET {change} WHERE _source_line = 2')
    (difference,) = declared.differences()
    assert (difference.what, difference.name) == ("row-differs", "sensors/Ulm/1.csv 2")
    assert difference.dataset == "readings"
    assert difference.note.endswith(f"disagree on {change.partition(' ')[0]}.")


def test_paused_datasets_are_not_compared(declared: SyncedTables):
    declared.execute('DELETE FROM "Readings"')
    assert len(declared.differences()) == 2
    declared.datasets = (USERS, replace(READINGS, is_paused=True))
    assert declared.differences() == []


def test_table_that_does_not_exist_yet_lacks_all_rows(declared: SyncedTables):
    declared.execute('DROP TABLE "Readings"')
    assert [each.what for each in declared.differences()] == ["row-missing", "row-missing"]

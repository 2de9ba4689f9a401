"""The data rules, as a user of the bucket observes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from etl.db.runs import request_run
from etl.db.tables import metadata
from etl.model.errors import ConfigurationError, MassRetirement
from etl.model.values import Counts, RunState, SourceFile, SourceObject, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket, minio_client

Query = Callable[[str], list[tuple[Any, ...]]]
Run = Callable[[], Counts]
HEADER = "first_name,last_name,birthts"


@pytest.fixture
def query(engine: Engine) -> Query:
    def ask(statement: str) -> list[tuple[Any, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    return ask


@pytest.fixture
def run(manager: DataManager, settings: Settings, engine: Engine) -> Run:
    """Make a run that must succeed and leave no difference from the bucket."""

    def go() -> Counts:
        report = manager.run(Trigger.CLI)
        assert report.state is RunState.SUCCEEDED
        assert report.error is None
        assert verify(settings, engine) == []
        return report.counts

    return go


def test_corrected_file_under_the_same_key_replaces_its_row(
    bucket: TestBucket, run: Run, query: Query
):
    bucket.user("1.csv", "Ann", "Lee", 5)
    run()
    bucket.user("1.csv", "Anna", "Lee", 6)
    counts = run()
    assert counts.objects_modified == counts.rows_loaded == counts.users_updated == 1
    assert query("SELECT first_name, birthts FROM users") == [("Anna", 6)]


def test_replacement_with_fewer_rows_retires_the_missing_users(
    bucket: TestBucket, run: Run, query: Query
):
    header = "user_id,first_name,last_name,birthts\n"
    bucket.put("all.csv", header + "a,A,A,1\nb,B,B,2\nc,C,C,3\n")
    run()
    bucket.put("all.csv", header + "a,A,A,1\n")
    counts = run()
    assert (counts.rows_read, counts.rows_unchanged, counts.users_retired) == (1, 1, 2)
    assert query("SELECT user_id FROM users") == [("a",)]


def test_removed_object_retires_its_user_until_it_returns(
    bucket: TestBucket, run: Run, query: Query
):
    bucket.user("1.csv")
    bucket.user("2.csv")
    run()
    bucket.remove("1.csv")
    assert run().users_retired == 1
    assert query("SELECT user_id FROM users") == [("2",)]
    assert query("SELECT user_id FROM users_retired") == [("1",)]
    bucket.user("1.csv")
    counts = run()
    assert (counts.users_restored, counts.users_updated, counts.users_live) == (1, 0, 2)
    assert (counts.users_inserted, counts.users_retired) == (0, 0)
    assert query("SELECT count(*) FROM users") == [(2,)]
    assert query("SELECT count(*) FROM users_retired") == [(0,)]


def test_retired_table_holds_the_newest_version_of_each_user(
    bucket: TestBucket, run: Run, query: Query
):
    """A user that is retired twice is in it once."""
    for name in ("Ann", "Bob"):
        bucket.user("1.csv", name)
        run()
        bucket.remove("1.csv")
        run()
    assert query("SELECT user_id, first_name, _source_key FROM users_retired") == [
        ("1", "Bob", "1.csv")
    ]


def test_image_may_precede_its_user_and_be_removed(
    bucket: TestBucket, run: Run, query: Query, settings: Settings
):
    bucket.put("faces/1.PNG", b"image")
    assert run().users_live == 0
    bucket.user("1.csv")
    run()
    assert query("SELECT img_path FROM users") == [(f"{settings.source_bucket}/faces/1.PNG",)]
    bucket.remove("faces/1.PNG")
    counts = run()
    assert (counts.objects_removed, counts.users_updated, counts.rows_read) == (1, 1, 0)
    assert query("SELECT img_path FROM users") == [(None,)]


NFC, NFD, MIXED = "\u1ebf Jos\xe9", "e\u0302\u0301 Jose\u0301", "\xea\u0301 Jose\u0301"


def images_of(query: Query) -> list[tuple[Any, ...]]:
    return query("SELECT user_id, split_part(img_path, '/', 2) FROM users ORDER BY user_id")


@pytest.mark.parametrize("name", [NFC, NFD, MIXED])
@pytest.mark.parametrize("image", [NFC, NFD, MIXED])
def test_image_matches_its_user_in_any_unicode_form(
    bucket: TestBucket, run: Run, query: Query, name: str, image: str
):
    bucket.user(f"{name}.csv")
    run()
    bucket.put(f"{image}.png", b"image")  # after its user
    assert run().users_updated == 1
    assert images_of(query) == [(name, f"{image}.png")]
    bucket.remove(f"{image}.png")
    assert run().users_updated == 1
    bucket.remove(f"{name}.csv")
    bucket.put(f"{image}.png", b"image")  # before its user
    run()
    bucket.user(f"{name}.csv")
    assert run().users_restored == 1
    assert images_of(query) == [(name, f"{image}.png")]


def test_image_belongs_to_every_user_with_the_same_nfc_id(
    bucket: TestBucket, run: Run, query: Query
):
    for name in (NFC, NFD, MIXED):
        bucket.user(f"{name}.csv")
    bucket.put(f"z/{NFD}.png", b"old")
    counts = run()
    assert (counts.users_live, counts.users_with_image) == (3, 3)
    until_later(bucket, f"z/{NFD}.png")
    bucket.put(f"{MIXED}.png", b"new")
    assert run().users_updated == 3
    assert {image for _, image in images_of(query)} == {f"{MIXED}.png"}
    bucket.remove(f"{MIXED}.png")
    assert run().users_updated == 3
    assert {image for _, image in images_of(query)} == {"z"}
    bucket.remove(f"{NFC}.csv")
    bucket.remove(f"z/{NFD}.png")
    counts = run()
    assert (counts.users_retired, counts.users_with_image) == (1, 0)


def test_a_name_that_only_nfc_makes_ascii_stays_itself(bucket: TestBucket, run: Run, query: Query):
    kelvin = "\u212a"
    bucket.user(f"{kelvin}.csv")
    bucket.user("K.csv")
    bucket.put("K.png", b"image")
    run()
    assert images_of(query) == [("K", "K.png"), (kelvin, None)]
    bucket.put(f"{kelvin}.png", b"image")
    run()
    assert images_of(query) == [("K", "K.png"), (kelvin, f"{kelvin}.png")]


def test_first_load_matches_images_in_any_unicode_form(bucket: TestBucket, run: Run, query: Query):
    rows = "".join(f"{n:05},A,B,{n}\n" for n in range(10_000))
    bucket.put("all.csv", f"user_id,{HEADER}\n{rows}{NFD},A,B,1\n{NFC},A,B,1\n")
    bucket.put(f"{NFC}.png", b"image")
    bucket.put("00007.png", b"image")
    assert run().users_with_image == 3
    assert query("SELECT user_id FROM users WHERE img_path IS NOT NULL ORDER BY user_id") == [
        ("00007",),
        (NFD,),
        (NFC,),
    ]


def test_of_several_images_the_newest_is_the_users(
    bucket: TestBucket, run: Run, query: Query, settings: Settings
):
    bucket.user("1.csv")
    bucket.put("z/1.png", b"old")
    until_later(bucket, "z/1.png")
    bucket.put("a/1.jpg", b"new")
    run()
    assert query("SELECT img_path FROM users") == [(f"{settings.source_bucket}/a/1.jpg",)]
    bucket.remove("a/1.jpg")
    run()
    assert query("SELECT img_path FROM users") == [(f"{settings.source_bucket}/z/1.png",)]


def test_newest_object_wins_until_removed_and_shadow_returns(
    bucket: TestBucket, run: Run, query: Query
):
    bucket.user("z/1.csv", "Old")
    until_later(bucket, "z/1.csv")
    bucket.user("a/1.csv", "New")
    counts = run()
    assert (counts.rows_read, counts.rows_loaded, counts.rows_shadowed) == (2, 1, 1)
    assert query("SELECT first_name, _source_key FROM users") == [("New", "a/1.csv")]
    assert query("SELECT first_name, _source_key FROM users_shadowed") == [("Old", "z/1.csv")]
    bucket.remove("a/1.csv")
    counts = run()
    assert (counts.users_updated, counts.users_retired) == (1, 0)
    assert query("SELECT first_name FROM users") == [("Old",)]
    assert query("SELECT count(*) FROM users_shadowed") == [(0,)]


def test_the_same_bytes_uploaded_again_win_as_the_newest(
    bucket: TestBucket, run: Run, query: Query
):
    bucket.user("a/1.csv", "A")
    until_later(bucket, "a/1.csv")
    bucket.user("b/1.csv", "B")
    run()
    assert query("SELECT first_name FROM users") == [("B",)]
    until_later(bucket, "b/1.csv")
    bucket.user("a/1.csv", "A")
    run()
    assert query("SELECT first_name FROM users") == [("A",)]


def test_of_several_lines_for_one_user_the_last_wins(bucket: TestBucket, run: Run, query: Query):
    bucket.put("1.csv", f"user_id,{HEADER}\n1,A,A,1\n1,B,B,2\n1,C,C,3\n")
    counts = run()
    assert (counts.rows_read, counts.rows_loaded, counts.rows_shadowed) == (3, 1, 2)
    assert query("SELECT first_name, _source_line FROM users") == [("C", 4)]


def test_equal_rows_of_a_file_without_ids_are_shadowed(bucket: TestBucket, run: Run, query: Query):
    bucket.put("1.csv", f"{HEADER},nick\nA,A,0,\nA,A,1970-01-01,\n A ,A,0.0\nA,A,x,y\n")
    counts = run()
    assert (counts.rows_read, counts.rows_shadowed, counts.rows_rejected) == (4, 2, 1)
    assert query("SELECT user_id, _source_line FROM users") == [("1", 4)]


@pytest.mark.parametrize("other", ["B,A,0,", "A,B,0,", "A,A,1,", "A,A,0,nick"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_rows_that_differ_without_ids_refuse_the_file(
    bucket: TestBucket, run: Run, query: Query, other: str, quote: str
):
    bucket.user("2.csv")
    bucket.put("1.csv", f"{HEADER},{quote}nick{quote}\nA,A,0,\nA,A,x,\nshort\nA,A,0,\n{other}\n")
    counts = run()
    assert (counts.rows_read, counts.rows_rejected, counts.rows_shadowed) == (6, 5, 0)
    assert counts.objects_quarantined == 1
    assert query("SELECT user_id FROM users") == [("2",)]
    assert query("SELECT key, line, code, severity FROM problem") == [
        ("1.csv", None, "rows-without-id", "error")
    ]


def test_file_that_becomes_ambiguous_retires_its_user(bucket: TestBucket, run: Run, query: Query):
    bucket.put("1.csv", f"{HEADER}\nA,A,1\n")
    run()
    bucket.put("1.csv", f"{HEADER}\nA,A,1\nB,B,1\n")
    assert run().users_retired == 1
    bucket.put("1.csv", f"{HEADER}\nB,B,1\n")
    assert run().users_restored == 1
    assert query("SELECT first_name FROM users") == [("B",)]


def test_birth_times_of_iso_8601_and_integral_floats_are_loaded(
    bucket: TestBucket, run: Run, query: Query
):
    texts = ("326160000000.0", "1980-05-03", "1980-05-03T05:30+05:30", "1980-05-02 23:59:59.5-00")
    rows = "".join(f"{n},A,B,{text}\n" for n, text in enumerate(texts))
    bucket.put("all.csv", f"user_id,{HEADER}\n{rows}x,A,B,03.05.1980\n")
    assert run().rows_rejected == 1
    assert query("SELECT birthts, birthdate::text FROM users ORDER BY user_id") == [
        (326_160_000_000, "1980-05-03"),
        (326_160_000_000, "1980-05-03"),
        (326_160_000_000, "1980-05-03"),
        (326_159_999_500, "1980-05-02"),
    ]
    ((note,),) = query("SELECT note FROM problem")
    assert "ambiguous" in note


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        (["612302400"], True),
        (["612302400", "612302400.0", "0", "soon", ""], True),
        (["612302400", "86399", "5097599999"], False),  # in seconds, the last is in 2131
        (["612302400", "5097600000"], False),
        (["612302400", "-1"], False),
        (["612302400", "1970-01-08"], False),
        (["0", "86399"], False),
        (["86400"], True),
        (["soon"], False),
    ],
)
def test_birthdates_that_could_be_seconds_are_a_warning(
    bucket: TestBucket,
    run: Run,
    query: Query,
    values: list[str],
    warned: bool,  # noqa: FBT001
):
    rows = "".join(f"{n},A,B,{value}\n" for n, value in enumerate(values))
    bucket.put("all.csv", f"user_id,{HEADER}\n{rows}")
    bucket.user("1000.csv", birthts=612_302_400_000)
    run()
    found = query("SELECT key, line, severity FROM problem WHERE code = 'epoch-seconds'")
    assert found == [("all.csv", None, "warning")] * warned


def test_future_seconds_become_a_warning_once_past(
    bucket: TestBucket, settings: Settings, query: Query
):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    tomorrow = int(datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp())
    bucket.user("1.csv", birthts=tomorrow)
    assert DataManager(settings, clock=lambda: noon).run(Trigger.CLI).counts.problems == 0
    DataManager(settings, clock=lambda: noon + timedelta(days=1)).run(Trigger.CLI)
    assert query("SELECT code FROM problem") == [("epoch-seconds",)]


def test_exports_joined_to_one_file_are_loaded(bucket: TestBucket, run: Run, query: Query):
    header = f"\ufeffuser_id,{HEADER}\r\n"
    parts = [f"{header}a{n},Zoë,Lee,{n}\r\n".encode() for n in range(3)]
    bucket.put("all.csv", b"".join([*parts, "b,Ren\xe9,Lee,3\r\n".encode("cp1252")]))
    counts = run()
    assert (counts.rows_read, counts.rows_loaded, counts.rows_rejected) == (4, 4, 0)
    assert query("SELECT user_id, first_name FROM users ORDER BY 1") == [
        *((f"a{n}", "Zoë") for n in range(3)),
        ("b", "René"),
    ]
    assert query("SELECT code, severity FROM problem ORDER BY 1") == [
        ("guessed-encoding", "warning"),
        ("repeated-header", "warning"),
    ]


def test_rows_without_delimiters_at_their_end_are_loaded(
    bucket: TestBucket, run: Run, query: Query
):
    bucket.put("all.csv", f"user_id,{HEADER},nick,city\nx1,A,B,1,C,D\nx2,A,B,2\nx3,A,B\n")
    assert (run().rows_loaded, run().rows_rejected) == (2, 0)
    assert query("SELECT user_id, _extra FROM users ORDER BY 1") == [
        ("x1", {"nick": "C", "city": "D"}),
        ("x2", None),
    ]
    assert query("SELECT line, code FROM problem ORDER BY code") == [
        (None, "missing-trailing-cells"),
        (4, "short-row"),
    ]


def test_first_thousand_problems_are_stored_and_the_rest_counted(
    bucket: TestBucket, run: Run, query: Query
):
    rows = "x\n" * 700 + "a,A,B,soon\n" * 700 + "b,A,B,1\n"
    bucket.put("all.csv", f"user_id,{HEADER}\n{rows}")
    bucket.put("few.csv", f"user_id,{HEADER}\n{'x' * 3}\n")
    counts = run()
    assert (counts.rows_read, counts.rows_rejected, counts.rows_loaded) == (1_402, 1_401, 1)
    assert counts.problems == 1_002
    assert counts.objects_quarantined == 0
    assert query("SELECT count(*), max(line) FROM problem WHERE key = 'all.csv'") == [
        (1_001, 1_001)
    ]
    ((severity, note),) = query("SELECT severity, note FROM problem WHERE code = 'more-problems'")
    assert severity == "error"
    assert note.startswith("400 more row problems are not listed individually: 400 not-an-int")


def test_ids_are_text(bucket: TestBucket, run: Run, query: Query):
    for key in ("1.csv", "01.csv", "0001.csv"):
        bucket.user(key)
    run()
    assert query("SELECT user_id FROM users ORDER BY 1") == [("0001",), ("01",), ("1",)]


def test_system_files_are_counted_and_ignored(bucket: TestBucket, run: Run, query: Query):
    bucket.user("1.csv")
    ignored = ("._1.csv", "a/.DS_Store", "__MACOSX/2.csv", "Thumbs.db", "desktop.ini", "~$1.csv")
    folders = (
        ".AppleDouble",
        ".ipynb_checkpoints",
        "$RECYCLE.BIN",
        "a/$Recycle.Bin",
        ".bucketline",
    )
    for key in (*ignored, *(f"{folder}/1.csv" for folder in folders)):
        bucket.put(key, b"ignored")
    counts = run()
    assert (counts.objects_listed, counts.objects_ignored, counts.problems) == (12, 11, 0)
    assert query("SELECT key FROM source_object") == [("1.csv",)]


def test_unknown_columns_are_kept(bucket: TestBucket, run: Run, query: Query):
    bucket.put("1.csv", 'last_name;Team ;birthts;FIRST_NAME\nLee;A "Red" team;7;Ann\n')
    run()
    assert query("SELECT first_name, last_name, birthts, _extra FROM users") == [
        ("Ann", "Lee", 7, {"Team": 'A "Red" team'})
    ]


def test_bad_rows_and_objects_become_problems_and_stop_no_run(
    bucket: TestBucket, run: Run, query: Query
):
    bucket.user("1.csv", "Good")
    bucket.put("2.csv", "first_name,last_name,birthts\nNo,Number,soon\n")
    bucket.put("3.csv", "name,birthts\nx,1\n")
    bucket.put("4.csv", b"")
    bucket.put("notes.txt", b"hello")
    counts = run()
    assert (counts.users_live, counts.rows_rejected, counts.objects_quarantined) == (1, 1, 3)
    assert query('SELECT key, line, "column", code, value FROM problem ORDER BY key') == [
        ("2.csv", 2, "birthts", "not-an-integer", "soon"),
        ("3.csv", None, None, "missing-column", "name,birthts"),
        ("4.csv", None, None, "empty-file", None),
        ("notes.txt", None, None, "unsupported-type", None),
    ]


def test_object_that_becomes_invalid_retires_its_user(bucket: TestBucket, run: Run, query: Query):
    bucket.user("1.csv")
    run()
    bucket.put("1.csv", "nonsense")
    assert run().users_retired == 1
    bucket.user("1.csv")
    run()
    assert query("SELECT count(*) FROM users") == [(1,)]


def test_names_are_never_interpreted_as_syntax(bucket: TestBucket, run: Run, query: Query):
    bucket.put(
        "o'1.csv",
        'first_name,last_name,birthts\n"a\n\\.\nb","x"";DROP TABLE users;--",1\n',
    )
    bucket.put("2.csv", "first_name,last_name,birthts\n\\N,NULL,2\n")
    run()
    assert query("SELECT user_id, first_name, last_name FROM users ORDER BY birthts") == [
        ("o'1", "a\n\\.\nb", 'x";DROP TABLE users;--'),
        ("2", "\\N", "NULL"),
    ]


def test_the_day_a_birthdate_falls_on_is_that_of_utc(bucket: TestBucket, run: Run, query: Query):
    late = int(datetime(1989, 12, 31, 21, tzinfo=UTC).timestamp() * 1000)
    bucket.user("1.csv", birthts=late)
    bucket.user("2.csv", birthts=-1)
    run()
    assert query("SELECT user_id, birthdate::text FROM users ORDER BY 1") == [
        ("1", "1989-12-31"),
        ("2", "1969-12-31"),
    ]


def test_future_birthdate_is_loaded_once_its_day_arrives(
    bucket: TestBucket, settings: Settings, query: Query
):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    bucket.user("1.csv", birthts=int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000))
    bucket.user("2.csv")
    today = DataManager(settings, clock=lambda: noon).run(Trigger.CLI).counts
    assert (today.rows_loaded, today.rows_rejected) == (1, 1)
    tomorrow = DataManager(settings, clock=lambda: noon + timedelta(days=1)).run(Trigger.CLI).counts
    assert (tomorrow.objects_modified, tomorrow.rows_loaded) == (1, 1)
    assert query("SELECT user_id FROM users ORDER BY 1") == [("1",), ("2",)]


@pytest.fixture
def crowd(bucket: TestBucket) -> TestBucket:
    rows = "".join(f"{n},A,B,1\n" for n in range(250))
    bucket.put("crowd.csv", "user_id,first_name,last_name,birthts\n" + rows)
    return bucket


def test_a_mass_retirement_is_refused_until_allowed_by_name(
    crowd: TestBucket, run: Run, manager: DataManager, query: Query
):
    run()
    crowd.remove("crowd.csv")
    with pytest.raises(MassRetirement, match="250 of 250"):
        manager.run(Trigger.CLI)
    assert query("SELECT count(*) FROM users") == [(250,)]
    assert query("SELECT state, error->>'code' FROM run ORDER BY id DESC LIMIT 1") == [
        ("failed", "MassRetirement")
    ]
    report = manager.run(Trigger.CLI, allowed_retirements={"users": None})
    assert report.counts.users_retired == 250
    assert run().objects_changed == 0


def test_missing_bucket_is_an_error_and_not_an_empty_one(
    crowd: TestBucket, run: Run, settings: Settings, query: Query
):
    run()
    gone = settings.model_copy(update={"source_bucket": "no-such-bucket"})
    with pytest.raises(ConfigurationError, match="SOURCE_BUCKET"):
        DataManager(gone).run(Trigger.CLI)
    crowd.clear()
    minio_client(settings).remove_bucket(settings.source_bucket)
    with pytest.raises(ConfigurationError, match="does not exist"):
        DataManager(settings).run(Trigger.CLI, allowed_retirements={"users": None})
    assert query("SELECT count(*) FROM users") == [(250,)]


def test_a_lost_or_altered_output_is_published_again(
    bucket: TestBucket, run: Run, settings: Settings
):
    bucket.user("1.csv")
    run()
    minio_client(settings).remove_object(settings.processed_bucket, "output.csv")
    assert run().objects_changed == 0
    TestBucket(settings.model_copy(update={"source_bucket": settings.processed_bucket})).put(
        "output.csv", "tampered"
    )
    run()


def until_later(bucket: TestBucket, key: str) -> None:
    """Put probes until the store's clock has left the millisecond of the key's last_modified."""
    stamp = bucket.client.list_objects(bucket.name, prefix=key, recursive=True)
    moment = next(iter(stamp)).last_modified
    while True:
        bucket.put(".DS_Store", b"probe")
        probe = next(iter(bucket.client.list_objects(bucket.name, prefix=".DS_Store")))
        if probe.last_modified > moment:
            bucket.remove(".DS_Store")
            return


def test_a_first_load_of_many_users_leaves_every_index_in_place(
    bucket: TestBucket, run: Run, engine: Engine
):
    rows = "".join(f"{n:05},A,B,{n}\n" for n in range(12_000))
    bucket.put("many.csv", "user_id,first_name,last_name,birthts\n" + rows)
    assert run().users_inserted == 12_000
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    bucket.put("many.csv", "user_id,first_name,last_name,birthts\n" + rows + "x,New,One,1\n")
    counts = run()
    assert (counts.rows_unchanged, counts.rows_loaded) == (12_000, 1)


def test_object_removed_before_its_fetch_is_counted_separately(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    class Vanishing(ObjectStore):
        def fetch(self, bucket_name: str, source: SourceObject) -> SourceFile | None:
            if source.key.startswith("gone"):
                bucket.remove(source.key)
            return super().fetch(bucket_name, source)

    bucket.user("gone1.csv")
    bucket.user("stays.csv")
    manager = DataManager(settings, store=Vanishing(settings))
    counts = manager.run(Trigger.CLI).counts
    assert (counts.objects_listed, counts.objects_added, counts.objects_vanished) == (2, 1, 1)
    assert verify(settings, engine) == []


def test_live_users_are_those_of_the_run_that_ended_last(
    bucket: TestBucket, manager: DataManager, engine: Engine
):
    """A requested run gets its id long before it starts."""
    bucket.user("1.csv")
    with engine.begin() as connection:
        request_run(connection, Trigger.REQUEST)
    assert manager.run(Trigger.CLI).counts.users_live == 1
    bucket.user("2.csv")
    assert manager.run_requested().counts.users_live == 2
    assert manager.run(Trigger.CLI).counts.users_live == 2


def test_future_birthdate_padded_with_zeros_is_read_again(bucket: TestBucket, settings: Settings):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    tomorrow = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
    bucket.put("1.csv", f"first_name,last_name,birthts\nA,B,{'0' * 120}{tomorrow}\n")
    assert DataManager(settings, clock=lambda: noon).run(Trigger.CLI).counts.rows_rejected == 1
    later = DataManager(settings, clock=lambda: noon + timedelta(days=1)).run(Trigger.CLI)
    assert later.counts.rows_loaded == 1

"""Huge CSVs are read in parts: with the same rows, even if an object changes meanwhile."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, text

from etl.db.dataset_sql import DatasetSql
from etl.db.engine import connect_unpooled
from etl.model.dataset import USERS
from etl.model.errors import ObjectChanged, ObjectStoreUnavailable
from etl.model.values import Change, ChangeKind, ObjectState, RunState, SourceObject, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import batch, stage, staging_tables, stream
from etl.sync.batch import Batch
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket

USERS_SQL = DatasetSql(USERS, "public")
TODAY = date(2026, 11, 21)
HEADER = "user_id,first_name,last_name,birthts\n"
GOOD = HEADER + "".join(f"u{n},Ann,Lee,{n}\n" for n in range(400))
ODD = GOOD + '"q1","A\nnn",Lee,1\nshort,1\n"open,Lee,1\ne,,Lee,1\nf,A,B,99999999999999\n'
UNNAMED = "first_name,last_name,birthts\n"
CONTENTS = {
    "plain": GOOD.encode(),
    "with faults in some rows": ODD.encode(),
    "in UTF-16": ODD.encode("utf-16"),
    "in cp1252, as its end tells": (ODD + "g,Ren\xe9,Lee,1\n").encode("cp1252"),
    "in no encoding, as its end tells": ODD.encode() + b"\x81",
    "with a useless header": b"name,birth\n" + b"a,1\n" * 500,
    "blank": b"\n" * 2_000,
    "of a header and no rows": HEADER.encode() + b"\n" * 2_000,
    "in lines of many encodings": HEADER.encode()
    + b"".join(
        b"u%d,Ren\xe9,Lee,1\nv%d,Jos\xc3\xa9,Lee,1\nw%d,\xed\xa0\xbd,Lee,1\n" % (n, n, n)
        for n in range(80)
    ),
    "joined from exports": (GOOD + "\ufeff" + GOOD.replace("u", "v", 1) + HEADER.upper()).encode(),
    "without trailing cells": GOOD.replace("birthts\n", "birthts,nick,city\n").encode(),
    "in seconds": HEADER.encode() + b"".join(b"u%d,A,B,6123%05d\n" % (n, n) for n in range(200)),
    "in seconds but for the last": HEADER.encode()
    + b"".join(b"u%d,A,B,6123%05d\n" % (n, n) for n in range(200))
    + b"x,A,B,1989-05-27\n",
    "in seconds that are still to come": HEADER.encode() + b"u,A,B,1795305600\n" * 100,
    "of one user, all rows equal": UNNAMED.encode() + b"Ann,Lee,1\n" * 400,
    "of one user, the last row unlike": UNNAMED.encode() + b"Ann,Lee,1\n" * 400 + b"Bo,Li,1\n",
    "of one user, every row unlike": UNNAMED.encode()
    + b"short\n,Lee,1\n" * 100
    + b"".join(b"Ann,Lee,%d\nRen\xe9,Lee,x\n" % n for n in range(400)),
    "of one user, the other row refused": UNNAMED.encode() + b"Ann,Lee,1\n" * 400 + b"Bo,Li,x\n",
    "with more faults than are stored": GOOD.encode()
    + b"short\n,Lee,x\n" * 1_200
    + b"".join(b"f%d,A,B,%d\n" % (n, 99_999_999_999_999) for n in range(50)),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch):
    """Treat objects of 1,000 bytes and more as huge, and read 100 bytes at a time."""
    monkeypatch.setattr(batch, "MAX_BYTES", 1_000)
    monkeypatch.setattr(stream, "PART_BYTES", 100)


def change_of(store: ObjectStore, bucket: TestBucket, kind: ChangeKind) -> Change:
    (source,) = store.list_objects(bucket.name)
    return Change(kind, source)


def stage_all(settings: Settings, batches: Iterator[Batch]) -> list[Batch]:
    """Stage the batches as a run does, and return them."""
    engine = connect_unpooled(settings)
    found = []
    with engine.connect() as connection:
        for done in batches:
            stage.stage(connection, done, settings.source_bucket)
            found.append(done)
    engine.dispose()
    return found


def read(store: ObjectStore, bucket: str, changes: list[Change], today: date) -> Iterator[Batch]:
    return stream.read(store, bucket, stream.fetch(store, bucket, changes), today)


def staged(engine: Engine) -> list[list[tuple[object, ...]]]:
    """The contents of the staging tables."""
    statements = (
        "SELECT * FROM staging_users ORDER BY _source_key, _source_line",
        "SELECT * FROM staging_object ORDER BY key",
        'SELECT * FROM staging_problem ORDER BY key, line, "column", code',
    )
    with engine.connect() as connection:
        return [[tuple(row) for row in connection.execute(text(one))] for one in statements]


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_huge_object_is_staged_as_it_would_be_whole(
    content: bytes, store: ObjectStore, bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("a/1000.csv", content)
    change = change_of(store, bucket, ChangeKind.ADDED)
    batches = stage_all(settings, read(store, bucket.name, [change], TODAY))
    in_parts = staged(engine)
    with connect_unpooled(settings).connect() as connection:
        staging_tables.empty_staging(connection, [USERS_SQL])
        whole = batch.check(batch.fetch(store, bucket.name, [change]), TODAY)
        stage.stage(connection, whole, bucket.name)
    assert in_parts == staged(engine)
    assert [len(done.objects) for done in batches[:-1]] == [0] * (len(batches) - 1)
    assert len(batches) > len(content) // 100


def test_a_huge_file_of_one_user_is_refused_when_its_rows_differ(
    store: ObjectStore, bucket: TestBucket, settings: Settings, engine: Engine
):
    rows = "".join(f"short\nAnn,Lee,{1 if n < 300 else n}\n" for n in range(600))
    bucket.put("1000.csv", UNNAMED + rows)
    change = change_of(store, bucket, ChangeKind.ADDED)
    batches = stage_all(settings, read(store, bucket.name, [change], TODAY))
    assert sum(len(done.rows) for done in batches) > 100  # staged before a different row appeared
    held, (entry,), (problem,) = staged(engine)
    assert held == []
    assert entry[7:] == ("quarantined", 1_200, 1_200, None)
    assert problem[4:6] == ("rows-without-id", "error")


def test_a_huge_file_stores_a_thousand_of_its_problems(
    store: ObjectStore, bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("1000.csv", GOOD + "short\n,,Lee,x\n" * 1_200)
    change = change_of(store, bucket, ChangeKind.ADDED)
    batches = stage_all(settings, read(store, bucket.name, [change], TODAY))
    assert max(len(done.problems) for done in batches) < 100
    _, (entry,), problems = staged(engine)
    assert entry[7:10] == ("loaded", 2_800, 2_400)
    assert len(problems) == 1_001
    assert {row[2] for row in problems if row[2] is not None} == set(range(402, 902))
    more = next(row[7] for row in problems if row[4] == "more-problems")
    assert more.startswith("3,800 more row problems")


def test_a_run_loads_huge_objects_between_small_ones(
    manager: DataManager, bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("big.csv", ODD)
    bucket.put("bigger.csv", ODD.replace("u", "v").replace("vser", "user"))
    for number in range(20):
        bucket.user(f"{number}.csv")
    report = manager.run(Trigger.CLI)
    assert report.state is RunState.SUCCEEDED
    assert (report.counts.objects_added, report.counts.rows_read) == (22, 20 + 2 * 405)
    assert verify(settings, engine) == []
    assert manager.run(Trigger.CLI).counts.objects_changed == 0


def test_object_replaced_while_read_is_read_in_its_new_version(
    store: ObjectStore, bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("1.csv", GOOD)
    batches = read(store, bucket.name, [change_of(store, bucket, ChangeKind.ADDED)], TODAY)
    begun = [next(batches) for _ in range(5)]
    for new in (GOOD.replace("Ann", "Bea"), HEADER + "u1,Cleo,Lee,1\n"):
        bucket.put("1.csv", new)
        begun.append(next(batches))
    stage_all(settings, iter([*begun, *batches]))
    rows, objects, _ = staged(engine)
    assert [row[:3] for row in rows] == [("u1", "Cleo", "Lee")]
    now = next(store.list_objects(bucket.name))
    with engine.connect() as connection:
        entry = connection.execute(text("SELECT etag, size, rows_read FROM staging_object")).one()
    assert tuple(entry) == (now.etag, now.size, 1)
    assert len(objects) == 1


@pytest.mark.parametrize(
    ("kind", "left"), [(ChangeKind.ADDED, []), (ChangeKind.MODIFIED, ["removed"])]
)
def test_object_removed_while_read_leaves_no_row(
    bucket: TestBucket, settings: Settings, engine: Engine, kind: ChangeKind, left: list[str]
):
    bucket.put("1.csv", ODD)
    store = ObjectStore(settings)
    batches = read(store, bucket.name, [change_of(store, bucket, kind)], TODAY)
    begun = [next(batches) for _ in range(5)]
    bucket.remove("1.csv")
    stage_all(settings, iter([*begun, *batches]))
    rows, objects, problems = staged(engine)
    assert (rows, problems) == ([], [])
    assert [row[0] for row in objects] == left


def test_object_that_keeps_changing_is_left_to_the_next_run(
    store: ObjectStore, bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("1.csv", GOOD)
    found = []
    for done in read(store, bucket.name, [change_of(store, bucket, ChangeKind.ADDED)], TODAY):
        found.append(done)
        bucket.put("1.csv", GOOD + f"x,Ann,Lee,{len(found)}\n")
    stage_all(settings, iter(found))
    rows, objects, problems = staged(engine)
    assert (rows, objects) == ([], [])
    assert len(problems) == 1
    assert [done.unreadable for done in found if done.unreadable] == [["1.csv"]]


def test_parts_of_another_version_are_not_returned(store: ObjectStore, bucket: TestBucket):
    bucket.put("1.csv", b"0123456789" * 10)
    (source,) = store.list_objects(bucket.name)
    for new in (b"9876543210" * 10, b"short", None):
        bucket.put("1.csv", new) if new else bucket.remove("1.csv")
        for start in (source, SourceObject("1.csv", source.etag, 100_000, source.last_modified)):
            with pytest.raises(ObjectChanged):
                b"".join(store.fetch_in_parts(bucket.name, start, 60))


@pytest.mark.parametrize("key", ["a b.csv", "tab\t.csv", "😀.csv"])
def test_parts_of_any_key_make_the_whole(store: ObjectStore, bucket: TestBucket, key: str):
    content = bytes(range(256)) * 10
    bucket.put(key, content)
    (source,) = store.list_objects(bucket.name)
    for part_bytes in (1, 999, 2_560, 10_000):
        if part_bytes > 1:
            assert b"".join(store.fetch_in_parts(bucket.name, source, part_bytes)) == content


def test_store_outage_while_reading_fails_the_run(settings: Settings, engine: Engine):
    down = ObjectStore(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    source = SourceObject("1.csv", "etag", 5_000, datetime.now(UTC))
    with pytest.raises(ObjectStoreUnavailable):
        list(read(down, "bucket", [Change(ChangeKind.ADDED, source)], TODAY))
    assert staged(engine) == [[], [], []]


class Relay(socketserver.ThreadingTCPServer):
    """Forwards connections to the store up to a number of bytes, then none."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, endpoint: str, allowed_bytes: int) -> None:
        host, _, port = endpoint.removeprefix("http://").rpartition(":")
        self.upstream = (host, int(port))
        self.left = allowed_bytes
        super().__init__(("127.0.0.1", 0), Passing)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Passing(socketserver.BaseRequestHandler):
    """One connection, both ways."""

    server: Relay

    def handle(self) -> None:
        with socket.create_connection(self.server.upstream) as upstream:
            ends = {self.request: upstream, upstream: self.request}
            while self.server.left > 0:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(4_096)
                    if not data:
                        return
                    self.server.left -= len(data) if end is upstream else 0
                    ends[end].sendall(data)


def test_run_after_an_outage_within_an_object_is_complete(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.put("1.csv", ODD * 5)
    assert settings.s3_endpoint
    with Relay(settings.s3_endpoint, 12_000) as relay:
        serving = threading.Thread(target=relay.serve_forever)
        serving.start()
        cut_off = settings.model_copy(update={"s3_endpoint": relay.endpoint})
        with pytest.raises(ObjectStoreUnavailable):
            DataManager(cut_off).run(Trigger.CLI)
        relay.shutdown()
        serving.join()
    rows, objects, _ = staged(engine)
    assert rows
    assert objects == []
    assert DataManager(settings).run(Trigger.CLI).state is RunState.SUCCEEDED
    assert verify(settings, engine) == []


def test_counters_of_an_object_cover_all_its_parts(store: ObjectStore, bucket: TestBucket):
    tomorrow = 1_795_305_600_000  # 2026-11-22
    late = f"x,A,B,{tomorrow + 86_400_000}\n" + "y,A,B,1\n" * 50 + f"z,A,B,{tomorrow}\n"
    bucket.put("1.csv", ODD + late)
    change = change_of(store, bucket, ChangeKind.ADDED)
    *_, last = read(store, bucket.name, [change], TODAY)
    (entry,) = last.objects
    assert (entry.rows_read, entry.rows_rejected) == (457, 6)
    assert (entry.reread_on, entry.state) == (date(2026, 11, 22), ObjectState.LOADED)

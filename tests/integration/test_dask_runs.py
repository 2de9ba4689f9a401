"""Runs whose batches are read on Dask workers: as in threads, and each batch once."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

pytest.importorskip("distributed")

from etl.db import active_runs
from etl.db.active_runs import Canceled
from etl.db.dataset_sql import DatasetSql
from etl.db.engine import connect
from etl.model.dataset import USERS, Constraints, Dataset, Field, FieldType
from etl.model.errors import (
    ConfigurationError,
    DaskUnavailable,
    DatabaseUnavailable,
    RunCanceled,
)
from etl.model.values import RunState, Trigger
from etl.read.parquet import row_groups
from etl.settings import Settings
from etl.sync import batch
from etl.sync.batch import Batch
from etl.sync.dask import cluster, cut_file, flight
from etl.sync.dask.cut_file import CutFile
from etl.sync.manager import DataManager
from etl.sync.reading import BucketReading
from etl.sync.run import no_progress
from etl.sync.run_tables import ReadBatch, RunTables
from etl.verify import verify
from tests.conftest import FreshDatabases, TestBucket, wait_until
from tests.dask_processes import DaskProcesses, dask_processes
from tests.processes import ROOT, environment

pytestmark = pytest.mark.filterwarnings("ignore")  # Dask's own

STORED = (
    "SELECT user_id, first_name, last_name, birthts, img_path, _extra, _source_key, _source_line"
    " FROM users ORDER BY user_id"
)
MANIFEST = (
    "SELECT key, etag, size, state, rows_read, rows_rejected, attachment_id"
    " FROM source_object ORDER BY key"
)
PROBLEMS = 'SELECT key, line, "column", code, value FROM problem ORDER BY 1, 2, 3, 4'


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """Workers that all tests share which kill none."""
    with dask_processes(tmp_path_factory.mktemp("dask")) as started:
        yield started


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_OBJECTS", 40)


@pytest.fixture
def on_dask() -> Iterator[Callable[..., DataManager]]:
    """Makes managers that read on these processes."""
    made: list[DataManager] = []

    def manager(
        settings: Settings,
        dask: DaskProcesses,
        progress: Callable[[str, int], None] = no_progress,
        datasets: tuple[Dataset, ...] = (USERS,),
    ) -> DataManager:
        there = settings.model_copy(update={"dask_scheduler": dask.address})
        made.append(DataManager(there, progress=progress, datasets=datasets))
        return made[-1]

    yield manager
    for one in made:
        one.close()


def put_users(bucket: TestBucket, count: int = 200) -> None:
    for number in range(count):
        last = "x" if number % 50 == 7 else number * 1_000
        bucket.put(f"a/u{number}.csv", f"first_name,last_name,birthts\nAnn,Lee{number},{last}\n")
    bucket.put(
        "b/many.csv", "user_id,first_name,last_name,birthts\nu3,Bo,Li,5\nm1,Cy,Ng,6\nshort\n"
    )
    bucket.put("b/u3.png", b"no image")
    bucket.put("readme.txt", "no rows")


def state_of(engine: Engine) -> list[list[Any]]:
    return [rows_of(engine, statement) for statement in (STORED, MANIFEST, PROBLEMS)]


def rows_of(engine: Engine, statement: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def staging_left(engine: Engine) -> list[str]:
    named = "SELECT relname FROM pg_class WHERE relname ~ '^staging_[0-9]' AND relkind = 'r'"
    with engine.connect() as connection:
        return list(connection.scalars(text(named)))


@pytest.mark.usefixtures("small_batches")
def test_run_on_workers_ends_as_a_run_in_threads(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    fresh_database: FreshDatabases,
    dask: DaskProcesses,
    on_dask: Callable[..., DataManager],
):
    put_users(bucket)
    one_user = "first_name,last_name,birthts\n" + "Ann,Lee,1\n" * 230_000 + "Bo,Li,1\n"
    bucket.put("c/one.csv", one_user)  # read in parts, the last of which discards the others
    manager = on_dask(settings, dask)
    report = manager.run(Trigger.CLI)
    other = fresh_database()
    expected = DataManager(other).run(Trigger.CLI)
    assert report.counts == expected.counts
    assert report.state is RunState.SUCCEEDED
    threads = connect(other)
    assert state_of(engine) == state_of(threads)
    threads.dispose()
    assert staging_left(engine) == []
    bucket.remove("c/one.csv")
    for number in range(0, 200, 3):
        bucket.put(f"a/u{number}.csv", f"first_name,last_name,birthts\nBea,Lee{number},77\n")
    for number in range(1, 200, 3):
        bucket.remove(f"a/u{number}.csv")
    report = manager.run(Trigger.CLI)
    assert (report.counts.objects_modified, report.counts.objects_removed) == (67, 68)
    assert verify(settings, engine) == []


def csv_with_everything(count: int) -> bytes:
    """A CSV of that many groups of lines, with quoted newlines, faulty and blank rows."""
    group = (
        'u{n},"Ann\r\n{n}",Lee,{n}\r\n'
        'v{n},"B""o,\n\n",Li,-{n}\n'
        "w{n},Cy,Ng,x\n\n"
        'broken{n},"open,Ng,1\n'
        "y{n},Di,Oz,5\n"
        "u{n},Eve,Old,7\n"
    )
    text = "".join(group.format(n=n) for n in range(count))
    return f"user_id,first_name,last_name,birthts\n{text}".encode() + b"z,Ren\xe9,Li,1\n"


@pytest.fixture
def parts_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of parts of each file that was read in parts; ranges are small."""
    found: list[int] = []
    completed = CutFile.completed

    def complete(file: CutFile, reading: BucketReading) -> Batch | None:
        found.append(len(file.staged))
        return completed(file, reading)

    monkeypatch.setattr(cut_file, "RANGE_BYTES", 60_000)
    monkeypatch.setattr(cut_file, "GROUP_BYTES", 30_000)
    monkeypatch.setattr(row_groups, "LEAST_BYTES", 1)
    monkeypatch.setattr(CutFile, "completed", complete)
    return found


def test_large_csv_is_read_in_parts_as_in_threads(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    fresh_database: FreshDatabases,
    dask: DaskProcesses,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
):
    bucket.put("c/many.csv", csv_with_everything(4_000))
    report = on_dask(settings, dask).run(Trigger.CLI)
    assert parts_read == [8]
    other = fresh_database()
    expected = DataManager(other).run(Trigger.CLI)
    assert report.counts == expected.counts
    assert report.counts.rows_read == 24_001
    threads = connect(other)
    assert state_of(engine) == state_of(threads)
    threads.dispose()
    assert staging_left(engine) == []
    assert verify(settings, engine) == []


READINGS = Dataset(
    name="readings",
    table="readings",
    include=("*.parquet",),
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="celsius", type=FieldType.NUMBER),
    ),
)
STORED_READINGS = "SELECT sensor, celsius, _extra, _source_line FROM readings ORDER BY 4"


def parquet_with_faults(rows: int, **options: Any) -> bytes:  # noqa: ANN401
    columns = {
        "sensor": [None if n % 9 == 5 else f"s{n}" for n in range(rows)],
        "celsius": ["hot" if n % 1_000 == 1 else str(n / 4) for n in range(rows)],
        "site": ["berlin"] * rows,
    }
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, **options)
    return content.getvalue()


def test_large_parquet_file_is_read_by_row_groups_as_in_threads(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    fresh_database: FreshDatabases,
    dask: DaskProcesses,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
):
    bucket.put("a.parquet", parquet_with_faults(30_000, row_group_size=3_000))
    report = on_dask(settings, dask, datasets=(READINGS,)).run(Trigger.CLI)
    assert parts_read == [10]
    other = fresh_database()
    expected = DataManager(other, datasets=(READINGS,)).run(Trigger.CLI)
    assert report.counts == expected.counts
    assert report.counts.rows_rejected == 3_360
    threads = connect(other)
    for statement in (STORED_READINGS, MANIFEST, PROBLEMS):
        assert rows_of(engine, statement) == rows_of(threads, statement)
    threads.dispose()
    assert verify(settings, engine, datasets=(READINGS,)) == []


def test_file_replaced_while_its_parts_are_read_is_read_as_a_whole(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    dask: DaskProcesses,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.put("c/many.csv", csv_with_everything(4_000))
    add_part = CutFile.add_part

    def replace_object(file: CutFile, place: int, found: ReadBatch) -> bool:
        if place == 0:
            bucket.put("c/many.csv", csv_with_everything(2_000))
        return add_part(file, place, found)

    monkeypatch.setattr(CutFile, "add_part", replace_object)
    report = on_dask(settings, dask).run(Trigger.CLI)
    assert parts_read == []
    assert (report.counts.objects_added, report.counts.rows_read) == (1, 12_001)
    assert verify(settings, engine) == []
    monkeypatch.setattr(CutFile, "add_part", add_part)
    bucket.put("c/many.csv", csv_with_everything(3_000))
    bucket.put("c/more.csv", csv_with_everything(2_000))
    report = on_dask(settings, dask).run(Trigger.CLI)
    assert (report.counts.objects_modified, report.counts.objects_added) == (1, 1)
    assert sorted(parts_read) == [4, 6]
    assert verify(settings, engine) == []


def test_file_whose_quotes_do_not_show_where_records_begin_is_read_as_a_whole(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    dask: DaskProcesses,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
):
    rows = 'a,b,c,"\n' * 20_000  # records of two lines, which begin on odd or on even ones
    bucket.put("c/many.csv", "user_id,first_name,last_name,birthts\n" + rows)
    report = on_dask(settings, dask).run(Trigger.CLI)
    assert parts_read == []
    assert report.counts.rows_read == 10_000
    assert verify(settings, engine) == []


def test_file_with_too_many_faulty_rows_in_all_parts_is_refused(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    dask: DaskProcesses,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
):
    strict = replace(USERS, refuse_object_above=Fraction(1, 10))
    bucket.put("c/many.csv", csv_with_everything(4_000))
    report = on_dask(settings, dask, datasets=(strict,)).run(Trigger.CLI)
    assert parts_read == [8]
    assert (report.counts.rows_rejected, report.counts.users_live) == (24_001, 0)
    stored, _, problems = state_of(engine)
    assert stored == []
    assert len(problems) == 1_000 + 3  # rows that are not listed, the encoding, the refusal


@pytest.mark.usefixtures("small_batches")
def test_killed_workers_and_a_killed_scheduler_cost_time_only(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    tmp_path: Path,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
):
    put_users(bucket, 400)
    bucket.put("c/many.csv", csv_with_everything(4_000))
    staged: list[int] = []
    with dask_processes(tmp_path, workers=0) as own, own.replacing_workers():

        def kill(step: str, done: int) -> None:
            if step != "read" or not done or len(staged) > 2:
                return
            staged.append(done)
            if len(staged) < 3:
                own.workers[-1].kill()
            else:
                own.restart_scheduler()

        manager = on_dask(settings, own, kill)
        report = manager.run(Trigger.CLI)
        log = own.log
    assert len(staged) == 3
    assert report.counts.objects_added == 404
    assert parts_read == [8]
    assert verify(settings, engine) == []
    assert staging_left(engine) == []
    assert settings.s3_secret_key is not None
    assert "Register worker" in log
    assert settings.s3_secret_key.get_secret_value() not in log
    assert settings.sqlalchemy_url not in log


RUN_IN_SMALL_BATCHES = """
import sys
from etl.sync import batch
batch.MAX_OBJECTS = 20
from etl.cli.main import main
sys.argv = ["etl", "run", "--json"]
main()
"""


def test_run_after_a_killed_one_ends_as_if_nothing_had_happened(
    settings: Settings, engine: Engine, bucket: TestBucket, dask: DaskProcesses
):
    put_users(bucket, 300)
    there = settings.model_copy(update={"dask_scheduler": dask.address})
    killed = subprocess.Popen(
        [sys.executable, "-c", RUN_IN_SMALL_BATCHES],
        cwd=ROOT,
        env=environment(there),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with killed:
        wait_until(lambda: killed.poll() is not None or has_staged(engine), pause=0.005)
        killed.kill()
    report = DataManager(settings).run(Trigger.CLI, wait_seconds=30)
    assert report.counts.objects_added == 303
    assert staging_left(engine) == []
    assert verify(settings, engine) == []


def has_staged(engine: Engine) -> bool:
    """Whether a worker has staged a batch, of which the run does not know yet."""
    with engine.connect() as connection:
        named = "SELECT relname FROM pg_class WHERE relname ~ '^staging_[0-9]+__claim$'"
        table = connection.scalar(text(named))
        return bool(table and connection.scalar(text(f"SELECT count(*) FROM {table}")))


@pytest.mark.usefixtures("small_batches")
def test_scheduler_that_stands_still_ends_the_run_in_time(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    tmp_path: Path,
    on_dask: Callable[..., DataManager],
    monkeypatch: pytest.MonkeyPatch,
):
    put_users(bucket, 100)
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(cluster, "AWAY_SECONDS", 3)
    stopped: list[str] = []
    with dask_processes(tmp_path) as own:

        def stop(step: str, _done: int) -> None:
            if step == "read" and not stopped and own.scheduler is not None:
                own.scheduler.send_signal(signal.SIGSTOP)
                stopped.append(step)

        manager = on_dask(settings, own, stop)
        own.wait_for_workers(2)
        for worker in own.workers:
            worker.send_signal(signal.SIGSTOP)  # or the run would be over too soon
        with pytest.raises(DaskUnavailable, match="does not answer"):
            manager.run(Trigger.CLI)
        assert own.scheduler is not None
        for process in (own.scheduler, *own.workers):
            process.send_signal(signal.SIGCONT)
        assert manager.run(Trigger.CLI).counts.objects_added == 103
    assert verify(settings, engine) == []


@pytest.mark.long
@pytest.mark.usefixtures("small_batches")
def test_object_that_kills_workers_is_left_for_the_next_run(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    tmp_path: Path,
    on_dask: Callable[..., DataManager],
    monkeypatch: pytest.MonkeyPatch,
):
    put_users(bucket, 100)
    bucket.user("a/poison.csv")
    monkeypatch.setattr(flight, "PARTS", 40)
    (tmp_path / "poison.py").write_text(POISON)
    with dask_processes(tmp_path, workers=0) as own, own.replacing_workers("poison.py"):
        report = on_dask(settings, own).run(Trigger.CLI)
    assert (report.counts.objects_added, report.counts.objects_unreadable) == (103, 1)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT key FROM problem WHERE code = 'reader-killed'"))
        assert found.all() == [("a/poison.csv",)]
        kept = connection.scalar(text("SELECT count(*) FROM source_object WHERE key LIKE '%pois%'"))
        assert kept == 0
    assert DataManager(settings).run(Trigger.CLI).counts.objects_added == 1
    assert verify(settings, engine) == []


@pytest.mark.long
def test_file_whose_parts_kill_workers_is_read_by_one_of_them(  # noqa: PLR0913, PLR0917
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    tmp_path: Path,
    on_dask: Callable[..., DataManager],
    parts_read: list[int],
):
    bucket.put("c/many.csv", csv_with_everything(4_000))
    (tmp_path / "poison.py").write_text(POISONED_PART)
    with dask_processes(tmp_path, workers=0) as own, own.replacing_workers("poison.py"):
        report = on_dask(settings, own).run(Trigger.CLI)
    assert parts_read == []
    assert (report.counts.objects_added, report.counts.rows_read) == (1, 24_001)
    assert verify(settings, engine) == []


POISONED_PART = """
import os
from etl.read.csv import ranges
def dying(read):
    def read_or_die(source, dataset, head, lines, contents, notices):
        if lines.first_line > 30_000:
            os._exit(9)
        return read(source, dataset, head, lines, contents, notices)
    return read_or_die
ranges.read_lines = dying(ranges.read_lines)
"""


POISON = """
import os
from etl.storage.client import ObjectStore
def dying(fetch):
    def fetch_or_die(self, bucket, source):
        if "poison" in source.key:
            os._exit(9)
        return fetch(self, bucket, source)
    return fetch_or_die
ObjectStore.fetch = dying(ObjectStore.fetch)
"""


@pytest.mark.long
@pytest.mark.usefixtures("small_batches")
def test_worker_of_another_version_is_refused(
    settings: Settings,
    bucket: TestBucket,
    tmp_path: Path,
    on_dask: Callable[..., DataManager],
):
    put_users(bucket, 100)
    (tmp_path / "old.py").write_text("import etl\netl.__version__ = '0.0.1'\n")
    with dask_processes(tmp_path, workers=0) as own:
        own.start_worker("old.py")
        own.wait_for_workers(1)
        with pytest.raises(ConfigurationError, match=r"worker .* has bucketline 0\.0\.1 instead"):
            on_dask(settings, own).run(Trigger.CLI)


@pytest.mark.long
@pytest.mark.usefixtures("small_batches")
def test_run_on_workers_can_be_canceled(
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    tmp_path: Path,
    on_dask: Callable[..., DataManager],
):
    put_users(bucket, 100)
    with dask_processes(tmp_path) as own:
        manager = on_dask(settings, own)
        own.wait_for_workers(2)
        for worker in own.workers:
            worker.send_signal(signal.SIGSTOP)  # they answer nothing, but are not gone

        def cancel() -> None:
            wait_until(lambda: cancel_active(engine))

        with ThreadPoolExecutor(1) as thread:
            canceling = thread.submit(cancel)
            with pytest.raises(RunCanceled):
                manager.run(Trigger.CLI)
            canceling.result()
    assert staging_left(engine) == []


def cancel_active(engine: Engine) -> bool:
    with engine.begin() as connection:
        run_id = connection.scalar(text("SELECT max(id) FROM run WHERE state = 'running'"))
        return run_id is not None and active_runs.cancel(connection, run_id) is Canceled.CANCELING


def test_few_changes_need_no_workers(settings: Settings, engine: Engine, bucket: TestBucket):
    put_users(bucket, 20)
    away = settings.model_copy(update={"dask_scheduler": "tcp://127.0.0.1:1"})
    assert DataManager(away).run(Trigger.CLI).counts.objects_added == 23
    assert verify(settings, engine) == []


# -- the staging tables of a run


@pytest.fixture
def tables(engine: Engine) -> RunTables:
    made = RunTables(7)
    with engine.connect() as connection:
        made.create(connection)
        made.create_for(connection, [DatasetSql(USERS, "public")])
    return made


def stage_row(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO staging_7_users (user_id, first_name, last_name, birthts,"
            " _source_key, _source_line) VALUES ('1', 'A', 'B', 1, '1.csv', 2)"
        )
    )


def rows_staged(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM staging_7_users")) or 0)


def test_second_attempt_of_a_batch_writes_nothing(tables: RunTables, engine: Engine):
    first, second = ReadBatch(rows={"users": 1}), ReadBatch(rows={"users": 1}, cpu_seconds=2)
    with engine.connect() as one, engine.connect() as other:
        assert tables.begin_attempt(one, 1) is tables.begin_attempt(other, 1) is None
        stage_row(one)
        stage_row(other)
        assert tables.end_attempt(one, 1, first) == first
        assert tables.end_attempt(other, 1, second) == first
        assert tables.begin_attempt(other, 1) == first
    assert rows_staged(engine) == 1
    with engine.connect() as connection:
        assert tables.collect(connection, "any", ["users"]) == 0


def test_batch_that_was_given_up_cannot_be_committed(tables: RunTables, engine: Engine):
    with engine.connect() as attempt, engine.connect() as run:
        tables.begin_attempt(attempt, 1)
        stage_row(attempt)
        assert tables.give_up(run, 1) is None
        with pytest.raises(LookupError):
            tables.end_attempt(attempt, 1, ReadBatch(rows={"users": 1}))
        with pytest.raises(LookupError):
            tables.begin_attempt(attempt, 1)
    assert rows_staged(engine) == 0


def test_attempt_that_hangs_before_its_commit_is_ended(tables: RunTables, engine: Engine):
    with engine.connect() as attempt, engine.connect() as run:
        tables.begin_attempt(attempt, 1)
        stage_row(attempt)
        attempt.execute(text(CLAIM_OF_7))
        assert tables.give_up(run, 1) is None
        with pytest.raises(DBAPIError):
            attempt.commit()
    assert rows_staged(engine) == 0


CLAIM_OF_7 = "INSERT INTO staging_7__claim VALUES (1, CAST(pg_current_xact_id() AS xid), '{}')"


def test_batch_that_had_committed_is_not_given_up(tables: RunTables, engine: Engine):
    staged = ReadBatch(rows={"users": 1}, unreadable=["x"])
    with engine.connect() as attempt, engine.connect() as run:
        tables.begin_attempt(attempt, 1)
        stage_row(attempt)
        tables.end_attempt(attempt, 1, staged)
        assert tables.give_up(run, 1) == staged


@pytest.mark.parametrize("claimed", [0, 2])
def test_rows_that_are_not_those_claimed_fail_the_run(
    tables: RunTables, engine: Engine, claimed: int
):
    with engine.connect() as attempt:
        tables.begin_attempt(attempt, 1)
        stage_row(attempt)
        tables.end_attempt(attempt, 1, ReadBatch(rows={"users": claimed}))
    with engine.connect() as run, pytest.raises(DatabaseUnavailable, match=f"1 of the {claimed}"):
        tables.collect(run, "any", ["users"])


def test_next_run_drops_the_tables_and_ends_attempts_that_use_them(
    tables: RunTables, engine: Engine, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    with engine.connect() as attempt:
        tables.begin_attempt(attempt, 1)
        stage_row(attempt)
        assert manager.run(Trigger.CLI).counts.rows_inserted == 1
        assert staging_left(engine) == []
        with pytest.raises(DBAPIError):
            stage_row(attempt)


@pytest.mark.usefixtures("tables")
def test_table_that_another_client_locks_stays_for_a_later_run(
    engine: Engine, manager: DataManager
):
    with engine.connect() as reader:
        reader.execute(text("SELECT FROM staging_7_users"))
        manager.run(Trigger.CLI)
        assert staging_left(engine) == ["staging_7_users"]
    manager.run(Trigger.CLI)
    assert staging_left(engine) == []

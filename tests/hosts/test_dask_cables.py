"""Runs that read on Dask workers, on hosts whose cables are pulled meanwhile."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from sqlalchemy import Engine, text

from etl.db.engine import connect
from etl.db.runs import request_run, run_row
from etl.model.values import RunState, Trigger
from etl.sync.run_tables import READER
from etl.verify import verify
from tests.conftest import minio_client, wait_until
from tests.installation import (
    DASK,
    DASK_COMMANDS,
    DATABASE_HOST,
    IMPATIENT,
    SCHEDULER,
    WORKERS,
    Installation,
    installed,
    measure,
)
from tests.tallies import wrong_tallies

pytest.importorskip("distributed")

# A connection of Dask whose other end is silent ends after 11 s, its least, instead of 30 s.
IMPATIENT_DASK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}
FILES, ROWS = 600, 10
MOST_SECONDS = 150  # of a run, whatever is cut off: 30 s to notice, and a minute of waiting

# So that a few small files are many batches.
SCHEDULE_IN_SMALL_BATCHES = """
import sys
from etl.sync import batch
batch.MAX_OBJECTS = 5
from etl.cli.main import main
sys.argv = ["etl", "schedule"]
main()
"""
_COMMANDS = {**DASK_COMMANDS, SCHEDULER: ("-c", SCHEDULE_IN_SMALL_BATCHES)}

_READS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = :reader"
    " AND state <> 'idle' AND host(client_addr) = :address"
)


@dataclass
class Reading:
    """An installation whose runs read many files on Dask workers."""

    made: Installation
    engine: Engine
    store: Minio
    version: int = 0
    run_id: int = -1

    def change(self) -> None:
        """Replace all files."""
        self.version += 1
        bucket = self.made.settings.source_bucket
        for number in range(FILES):
            lines = (f"{number}-{row},{self.version},Lee,{row}\n" for row in range(ROWS))
            content = "".join(["user_id,first_name,last_name,birthts\n", *lines]).encode()
            self.store.put_object(bucket, f"f{number}.csv", io.BytesIO(content), len(content))

    def request(self) -> int:
        with self.engine.begin() as connection:
            return request_run(connection, Trigger.REQUEST)

    def run(self, run_id: int) -> dict[str, Any]:
        with self.engine.connect() as connection:
            return dict(run_row(connection, run_id) or {})

    def has_ended(self, run_id: int) -> bool:
        return self.run(run_id)["finished_at"] is not None

    def has_run_ended(self) -> bool:
        return self.has_ended(self.run_id)

    def reads(self, name: str) -> bool:
        """Whether a worker reads a batch now."""
        named = {"reader": READER, "address": self.made.lan.address(name)}
        with self.engine.connect() as connection:
            return bool(connection.scalar(text(_READS), named))

    def begin(self, name: str) -> bool:
        """Begin a run over changed files in which this worker reads."""
        self.run_id = -1
        while self.run_id < 0:
            self.change()
            run_id = self.request()
            wait_until(lambda run_id=run_id: self.reads(name) or self.has_ended(run_id), pause=0)
            if not self.has_ended(run_id):
                self.run_id = run_id
        return True

    @contextmanager
    def during_run(self, cut: AbstractContextManager[None]) -> Iterator[None]:
        """Begin a run, and cut something while the block runs."""
        self.begin(WORKERS[0])
        with cut:
            assert not self.has_run_ended()
            yield

    def measure_run(self, what: str) -> None:
        measure(f"{what}: run ended", self.has_run_ended, MOST_SECONDS)
        self.check(self.run_id)

    def measure_return(self, what: str) -> None:
        """Measure the time until the first worker reads again; check that run."""
        measure(f"{what}: worker reads", lambda: self.begin(WORKERS[0]), MOST_SECONDS)
        self.measure_run(what)

    def check(self, run_id: int) -> None:
        """Check that the run loaded the newest version of each row, once."""
        run = self.run(run_id)
        assert run["state"] == RunState.SUCCEEDED, run
        assert run["counts"]["rows_read"] == FILES * ROWS
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT user_id, first_name FROM users")).all()
        assert {tuple(row) for row in found} == {
            (f"{number}-{row}", str(self.version)) for number in range(FILES) for row in range(ROWS)
        }
        wait_until(lambda: not self.staging_left(run_id))
        assert verify(self.made.settings, self.engine) == []
        assert wrong_tallies(self.engine) == {}

    def staging_left(self, run_id: int) -> bool:
        """Whether tables of the run are left, which it drops once it has ended."""
        query = "SELECT count(*) FROM pg_class WHERE relname ~ :name"
        with self.engine.connect() as connection:
            return bool(connection.scalar(text(query), {"name": f"^staging_{run_id}_"}))


@contextmanager
def reading(options: str = "", variables: dict[str, str] | None = None) -> Iterator[Reading]:
    """An installation that has made a first run on its workers."""
    with tempfile.TemporaryDirectory(
        prefix="bucketline-hosts-", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL runs under another account
        with (
            installed(Path(folder), options, _COMMANDS, variables, event_listen=False) as made,
            made.restarting(*WORKERS),  # they end when they lose the Dask scheduler
        ):
            engine = connect(made.settings)
            try:
                now = Reading(made, engine, minio_client(made.settings))
                now.measure_return("nothing is cut off")
                yield now
            except BaseException:
                for name in _COMMANDS:
                    print(f"-- {name}", made.log(name)[-3000:], sep="\n")  # noqa: T201
                raise
            engine.dispose()


def test_run_goes_on_when_a_dask_worker_is_cut_off():
    with reading(IMPATIENT, IMPATIENT_DASK) as now:
        with now.during_run(now.made.lan.pulled(WORKERS[0])):
            now.measure_run("worker is cut off")
        assert "Traceback" not in now.made.log(SCHEDULER)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_cables_of_dask_pulled_for_as_long_as_it_takes():
    """With the limits of an installation that sets none."""
    with reading() as now:
        lan = now.made.lan
        with now.during_run(lan.parted(WORKERS[0], DATABASE_HOST)):
            now.measure_run("worker is cut off from the database")
        now.measure_return("worker is back")
        with now.during_run(lan.pulled(WORKERS[0])):
            now.measure_run("worker is cut off")
        now.measure_return("worker is back")
        with now.during_run(lan.pulled(DASK)):
            lost = "lost the Dask scheduler"
            measure("Dask is cut off: noticed", lambda: lost in now.made.log(SCHEDULER))
        now.measure_run("Dask is back")
        with now.during_run(lan.pulled(DASK)):
            measure("Dask stays cut off: run ended", now.has_run_ended, MOST_SECONDS)
        assert now.run(now.run_id)["error"]["code"] == "DaskUnavailable"
        now.run_id = now.request()
        now.measure_run("Dask is back, without changes")

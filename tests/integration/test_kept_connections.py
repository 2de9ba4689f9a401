"""The connection of runs, which stays open between them and is as good as a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

import pytest
from sqlalchemy import Connection, Engine, event, text

from etl.db.engine import connect_keeping_one, connect_unpooled
from etl.db.locks import image_lock, run_lock
from etl.model.errors import NewerSchema, OlderSchema
from etl.settings import Settings


@pytest.fixture
def keeping(settings: Settings) -> Iterator[Engine]:
    engine = connect_keeping_one(settings)
    yield engine
    engine.dispose()


def server_process(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


def used(engine: Engine) -> int:
    with run_lock(engine) as connection:
        return server_process(connection)


def test_next_run_uses_the_same_connection(keeping: Engine):
    assert used(keeping) == used(keeping)


def fail_within_a_run(engine: Engine) -> int:
    with suppress(ZeroDivisionError), run_lock(engine) as connection:
        process = server_process(connection)
        connection.execute(text("CREATE TEMPORARY TABLE users (id integer)"))
        connection.execute(text("SET search_path = pg_temp"))
        connection.commit()
        connection.execute(text("LOCK TABLE public.users IN ACCESS EXCLUSIVE MODE"))
        raise ZeroDivisionError
    return process


def test_failed_run_leaves_neither_locks_nor_tables_nor_settings(
    keeping: Engine, settings: Settings
):
    before = fail_within_a_run(keeping)
    assert used(connect_unpooled(settings)) != before
    with run_lock(keeping) as connection:
        assert server_process(connection) == before
        assert connection.execute(text("SELECT user_id FROM users")).all() == []
        assert connection.scalar(text("SHOW search_path")) == "bucketline, public"


@pytest.mark.parametrize("lock", [run_lock, image_lock])
@pytest.mark.parametrize("fails", [False, True])
def test_lock_is_free_before_its_connection_closes(
    settings: Settings, lock: Callable[[Engine], AbstractContextManager[Connection]], *, fails: bool
):
    """PostgreSQL notices later that it closed."""
    holder, other = connect_unpooled(settings), connect_unpooled(settings)
    taken = []

    def take(*_: object) -> None:
        with lock(other):
            taken.append(True)

    event.listen(holder, "close", take)
    with suppress(ZeroDivisionError), lock(holder):
        if fails:
            raise ZeroDivisionError
    assert taken == [True]


def terminate(engine: Engine, process: int) -> None:
    with engine.begin() as connection:
        ended = "SELECT pg_terminate_backend(:process, 5000)"
        assert connection.scalar(text(ended), {"process": process})


def test_run_after_a_restart_of_postgresql_connects_again(keeping: Engine, engine: Engine):
    before = used(keeping)
    terminate(engine, before)
    assert used(keeping) != before


def test_connection_that_a_failed_run_lost_is_replaced_without_a_traceback_in_the_log(
    keeping: Engine, engine: Engine, caplog: pytest.LogCaptureFixture
):
    """As when the store failed, and PostgreSQL has ended the session of a host that was cut off."""
    with suppress(ZeroDivisionError), run_lock(keeping) as connection:
        before = server_process(connection)
        connection.commit()
        terminate(engine, before)
        raise ZeroDivisionError
    assert used(keeping) != before
    assert caplog.records == []


@pytest.mark.parametrize(("version", "error"), [("9999", NewerSchema), ("0001", OlderSchema)])
def test_kept_connection_compares_versions_again(
    keeping: Engine, engine: Engine, version: str, error: type[Exception]
):
    used(keeping)
    with engine.begin() as connection:
        change = text("UPDATE alembic_version SET version_num = :version")
        connection.execute(change, {"version": version})
    with pytest.raises(error, match=version):
        used(keeping)

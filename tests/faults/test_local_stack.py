"""The embedded object store and PostgreSQL under kills, concurrent use, moves and lost files."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from minio import Minio
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from etl.local import notes, recorded, running
from etl.local.accounts import identity, unprivileged_account
from etl.local.ports import any_free_port, choose_port
from etl.local.postgres_binaries import Binaries, accessible, find_binaries
from etl.local.processes import is_alive, stop_leftover, was_started_with
from etl.local.record import read_record, running_record, supervisor_lock_path
from etl.model.errors import ConfigurationError, DatabaseUnavailable
from etl.runtime.locks import FileLock, is_held
from etl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etl.local.record import StackRecord

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0
IS_ROOT = os.geteuid() == 0

# A process that uses the stack: prints one line when the stack is up, ends when its input ends.
USER = """
import json, os, sys
from pathlib import Path
from etl.local import running
from etl.settings import Settings
settings = Settings(_env_file=None, local_dir=Path(sys.argv[1]))
with running(settings) as full:
    print(json.dumps([full.s3_endpoint, full.database_url.get_secret_value(), os.geteuid()]))
    sys.stdout.flush()
    sys.stdin.read()
"""

# Takes a shared lock, forks a child that keeps running, and is killed.
FORKING_HOLDER = """
import os, signal, sys
from pathlib import Path
from etl.local.accounts import identity, unprivileged_account
from etl.runtime.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.try_shared()
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "DATABASE_URL", "LOCAL_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def kept_dir() -> Iterator[Path]:
    """One LOCAL_DIR for all tests here: created once and started often, as users do."""
    with a_local_dir() as path:
        yield path


@pytest.fixture
def local_dir(kept_dir: Path) -> Path:
    """The LOCAL_DIR with its stack down."""
    await_down(kept_dir)
    return kept_dir


@contextmanager
def a_local_dir(mode: int = 0o755) -> Iterator[Path]:
    """A LOCAL_DIR that PostgreSQL's account can enter, unless `mode` forbids it."""
    path = Path(tempfile.mkdtemp(prefix="bucketline-")).resolve()
    path.chmod(mode)
    yield path
    await_down(path)
    shutil.rmtree(path)


def settings_for(local_dir: Path, **more: object) -> Settings:
    return Settings(_env_file=None, local_dir=local_dir, **more)  # type: ignore[arg-type, call-arg]


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` holds; it may raise an outage until then."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (psycopg2.OperationalError, HTTPError):
            pass
        time.sleep(0.02)
    pytest.fail(f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}")


def await_down(local_dir: Path) -> None:
    eventually(
        lambda: not is_held(supervisor_lock_path(local_dir)), f"the stack of {local_dir} is down"
    )


def living(local_dir: Path) -> StackRecord:
    record = running_record(local_dir)
    assert record is not None
    return record


def all_pids(record: StackRecord) -> list[int]:
    return [record.supervisor_pid, *(service.pid for service in record.services.values())]


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def await_gone(record: StackRecord) -> None:
    for pid in all_pids(record):
        eventually(lambda pid=pid: not is_alive(pid), f"process {pid} is gone")  # type: ignore[misc]
    for service in record.services.values():
        eventually(lambda port=service.port: port_is_free(port), "its port is free")  # type: ignore[misc]


def query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    assert settings.database_url is not None
    with closing(psycopg2.connect(settings.database_url.get_secret_value())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def s3(settings: Settings) -> Iterator[Minio]:
    assert settings.s3_endpoint is not None
    assert settings.s3_secret_key is not None
    pool = PoolManager(timeout=Timeout(connect=2, read=10), retries=Retry(0))
    try:
        yield Minio(
            settings.s3_endpoint.removeprefix("http://"),
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
            secure=False,
            region=settings.s3_region,
            http_client=pool,
        )
    finally:
        pool.clear()


def put(settings: Settings, key: str, body: bytes) -> None:
    with s3(settings) as client:
        if not client.bucket_exists("kept"):
            client.make_bucket("kept")
        client.put_object("kept", key, io.BytesIO(body), len(body))


def get(settings: Settings, key: str) -> bytes:
    with s3(settings) as client:
        answer = client.get_object("kept", key)
        try:
            return bytes(answer.read())
        finally:
            answer.close()


def leave_data(settings: Settings) -> None:
    query(settings, "DROP TABLE IF EXISTS kept")
    query(settings, "CREATE TABLE kept (id integer PRIMARY KEY)")
    query(settings, "INSERT INTO kept VALUES (1), (2)")
    put(settings, "dir/naïve key.txt", b"still here")


def assert_data(settings: Settings) -> None:
    assert query(settings, "SELECT id FROM kept ORDER BY id") == [(1,), (2,)]
    assert get(settings, "dir/naïve key.txt") == b"still here"


@contextmanager
def user_process(local_dir: Path, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the stack until it is killed or the block ends."""
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", USER, str(local_dir)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> list[Any]:
    """The line that a user process prints: endpoint, database URL, and its user id."""
    assert process.stdout is not None
    printed: list[Any] = json.loads(process.stdout.readline())
    return printed


def test_nothing_starts_when_nothing_is_embedded(local_dir: Path) -> None:
    unused = local_dir / "unused"
    settings = settings_for(
        unused, s3_endpoint="http://127.0.0.1:1", database_url="postgresql://db_user@127.0.0.1:1/x"
    )
    with running(settings) as full:
        assert full is settings
    assert recorded(settings) is settings
    assert not unused.exists()


def test_data_survive_a_restart(local_dir: Path) -> None:
    settings = settings_for(local_dir)
    assert recorded(settings) is None
    with running(settings) as full:
        assert recorded(settings) == full
        leave_data(full)
        before = living(local_dir)
    await_gone(before)
    assert recorded(settings) is None

    with running(settings) as full:
        assert_data(full)


def test_data_survive_a_move_of_local_dir_and_lost_credentials(local_dir: Path) -> None:
    here, there = local_dir / "here", local_dir / "a new%20place, 100 %"
    with running(settings_for(here)) as full:
        leave_data(full)
    await_down(here)
    here.rename(there)
    (there / "credentials.json").unlink()

    with running(settings_for(there)) as full:
        assert_data(full)
    await_down(there)


def test_servers_end_with_their_killed_user(local_dir: Path) -> None:
    with user_process(local_dir) as process:
        first_line(process)
        record = living(local_dir)
        process.kill()
        await_gone(record)
    assert read_record(local_dir) is None


def test_stack_runs_until_the_last_user_ends(local_dir: Path) -> None:
    settings = settings_for(local_dir)
    with running(settings) as full:
        record = living(local_dir)
        with user_process(local_dir) as process:
            first_line(process)
        with running(settings) as again:
            assert again == full
        assert living(local_dir) == record
        assert query(full, "SELECT 1") == [(1,)]


def test_killed_supervisor_leaves_no_orphans_and_no_damage(local_dir: Path) -> None:
    settings = settings_for(local_dir)
    with running(settings) as full:
        leave_data(full)
        before = living(local_dir)
        os.kill(before.supervisor_pid, signal.SIGKILL)
        await_gone(before)
        assert recorded(settings) is None

        # A process that keeps running does not block the next one.
        with running(settings) as revived:
            assert living(local_dir).supervisor_pid != before.supervisor_pid
            assert_data(revived)


def test_user_killed_while_starting_leaves_nothing_running() -> None:
    with a_local_dir() as fresh_dir:
        with user_process(fresh_dir):
            eventually(lambda: is_held(supervisor_lock_path(fresh_dir)), "a supervisor starts")
        await_down(fresh_dir)

        with running(settings_for(fresh_dir)) as full:
            leave_data(full)
            assert_data(full)


def sleeper(*arguments: str) -> subprocess.Popen[bytes]:
    """A process that does nothing, with `arguments` in its command."""
    program = "import sys; sys.stdin.read()"
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE)


def test_pid_files_that_name_another_process_by_now_do_no_harm(local_dir: Path) -> None:
    settings = settings_for(local_dir)
    with running(settings) as full:
        leave_data(full)
    await_down(local_dir)
    with sleeper() as unrelated:
        for name in ("postgres.pid", "object_store.pid", "postgres/data/postmaster.pid"):
            (local_dir / name).write_text(f"{unrelated.pid}\n", encoding="utf-8")
        with running(settings) as full:
            assert_data(full)
        assert unrelated.poll() is None


def test_server_of_a_dead_supervisor_is_known_by_its_argument() -> None:
    with sleeper("/some/where/data") as left_over:
        # A new process has no command line yet.
        eventually(
            lambda: was_started_with("/some/where/data", left_over.pid), "the process has begun"
        )
        stop_leftover(left_over.pid, "/where/data", signal.SIGTERM)
        stop_leftover(left_over.pid, "/some/where", signal.SIGTERM)
        assert left_over.poll() is None
        stop_leftover(left_over.pid, "/some/where/data", signal.SIGTERM)
        assert left_over.wait(30) == -signal.SIGTERM


def test_binaries_out_of_reach_are_copied_for_the_plain_account(local_dir: Path) -> None:
    shared = local_dir / "shared"
    shared.mkdir()
    installed = find_binaries()
    package = installed.folder.parents[1]
    with a_local_dir(mode=0o700) as private:
        for part in package.parent.glob(f"{package.name}*"):
            shutil.copytree(part, private / part.name, symlinks=True)
        folder = private / installed.folder.relative_to(package.parent)
        hidden = Binaries(folder, installed.major, installed.version)
        account = unprivileged_account(private)

        found = accessible(hidden, account, shared)
        assert (found != hidden) == IS_ROOT
        assert accessible(hidden, account, shared) == found
        for program in (found.postgres, found.initdb):
            printed = subprocess.run(
                [program, "--version"],
                **identity(account),
                cwd="/",
                capture_output=True,
                check=True,
            )
            assert installed.version in printed.stdout.decode()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_supervisor_asked_to_end_stops_its_servers(local_dir: Path) -> None:
    with running(settings_for(local_dir)):
        record = living(local_dir)
        os.kill(record.supervisor_pid, signal.SIGTERM)
        await_gone(record)


def test_killed_postgres_is_back_with_every_committed_row(local_dir: Path) -> None:
    with running(settings_for(local_dir)) as full:
        leave_data(full)
        first = living(local_dir).services["postgres"]
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: living(local_dir).services["postgres"].pid != first.pid, "it restarts")
        eventually(lambda: query(full, "SELECT 1"), "PostgreSQL answers again")
        assert_data(full)


def test_killed_object_store_keeps_every_acknowledged_object(local_dir: Path) -> None:
    with running(settings_for(local_dir)) as full:
        leave_data(full)
        for number in range(50):
            put(full, f"{number}.csv", b"%d" % number)
        first = living(local_dir).services["object_store"]
        os.kill(first.pid, signal.SIGKILL)
        eventually(
            lambda: living(local_dir).services["object_store"].pid != first.pid, "it restarts"
        )
        eventually(lambda: get(full, "0.csv"), "the object store answers again")
        assert [get(full, f"{n}.csv") for n in range(50)] == [b"%d" % n for n in range(50)]
        assert_data(full)


def test_six_starts_at_once_give_one_stack(local_dir: Path) -> None:
    log = local_dir / "logs" / "supervisor.log"
    already = len(log.read_text(encoding="utf-8")) if log.exists() else 0
    with ExitStack() as crowd:
        processes = [crowd.enter_context(user_process(local_dir)) for _ in range(6)]
        printed = [first_line(process) for process in processes]
        assert printed == [printed[0]] * 6
        new = log.read_text(encoding="utf-8")[already:]
        assert new.count("PostgreSQL started") == 1
        assert new.count("The object store started") == 1


def test_ports_in_use_are_skipped_and_reported(local_dir: Path) -> None:
    settings = settings_for(local_dir)
    (local_dir / "ports.json").unlink(missing_ok=True)
    with ExitStack() as taken:
        for port in (9000, 5432):
            if port_is_free(port):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
        with running(settings):
            ports = {name: one.port for name, one in living(local_dir).services.items()}
            assert ports["object_store"] > 9000
            assert ports["postgres"] > 5432
            printed = " ".join(notes(settings))
            assert f"port {ports['object_store']}, because port 9000 is taken" in printed
            assert f"port {ports['postgres']}, because port 5432 is taken" in printed
    await_down(local_dir)
    assert notes(settings) == []


def test_previous_port_is_preferred_to_the_default() -> None:
    usual, last = any_free_port(), any_free_port()
    assert choose_port(usual, last) == last
    with socket.create_server(("127.0.0.1", last)):
        assert choose_port(usual, last) == usual


def test_secrets_are_for_their_owner_only(local_dir: Path) -> None:
    with running(settings_for(local_dir)) as full:
        for name in ("credentials.json", "stack.json"):
            assert stat.S_IMODE((local_dir / name).stat().st_mode) == 0o600
        assert full.database_url is not None
        password = living(local_dir).credentials
        assert password is not None
        for log in (local_dir / "logs").iterdir():
            assert password.database_password not in log.read_text(encoding="utf-8")
            assert password.s3_secret_key not in log.read_text(encoding="utf-8")


def test_wrong_password_and_wrong_key_are_refused(local_dir: Path) -> None:
    with running(settings_for(local_dir)) as full:
        assert full.database_url is not None
        url = full.database_url.get_secret_value()
        wrong = url.replace("bucketline:", "bucketline:x", 1)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(wrong)
        unsigned = PoolManager(retries=False)
        try:
            assert unsigned.request("GET", f"{full.s3_endpoint}/").status == 403
        finally:
            unsigned.clear()


def listening_addresses(pid: int) -> set[str]:
    """The addresses (as /proc writes them, hexadecimal) on which a process listens."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            sockets.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].split(":")[0])
    return found


def test_servers_listen_on_loopback_only(local_dir: Path) -> None:
    with running(settings_for(local_dir)):
        for service in living(local_dir).services.values():
            assert listening_addresses(service.pid) == {"0100007F"}


def test_two_local_dirs_do_not_disturb_one_another(local_dir: Path) -> None:
    with a_local_dir() as other_dir, running(settings_for(local_dir)) as one:
        leave_data(one)
        with running(settings_for(other_dir)) as other:
            assert one.s3_endpoint != other.s3_endpoint
            assert query(other, "SELECT to_regclass('kept')") == [(None,)]
            with s3(other) as client:
                assert client.list_buckets() == []
            record = living(other_dir)
        await_gone(record)
        assert_data(one)


def test_only_unconfigured_servers_are_embedded(local_dir: Path) -> None:
    with running(settings_for(local_dir)) as full:
        assert full.database_url is not None
        with a_local_dir() as other_dir:
            settings = settings_for(other_dir, database_url=full.database_url.get_secret_value())
            with running(settings) as half:
                assert set(living(other_dir).services) == {"object_store"}
                assert half.database_url == full.database_url
                assert half.s3_endpoint != full.s3_endpoint
                # A client that requires a service this stack does not have gets an error.
                with (
                    pytest.raises(ConfigurationError, match="started without postgres"),
                    running(settings_for(other_dir)),
                ):
                    pass
                assert recorded(settings_for(other_dir)) is None


def test_cluster_of_another_major_is_refused_by_name(local_dir: Path) -> None:
    settings = settings_for(local_dir, s3_endpoint="http://127.0.0.1:1")
    with running(settings):
        pass
    await_down(local_dir)
    version = local_dir / "postgres" / "data" / "PG_VERSION"
    made_by = version.read_text(encoding="utf-8")
    version.write_text("11\n", encoding="utf-8")

    with (
        pytest.raises(
            ConfigurationError, match=r"made by PostgreSQL 11.* PostgreSQL \d+"
        ) as refusal,
        running(settings),
    ):
        pass
    assert "11" in refusal.value.hint

    await_down(local_dir)
    version.write_text(made_by, encoding="utf-8")
    with running(settings) as full:
        assert query(full, "SELECT 1") == [(1,)]


def test_server_that_cannot_start_is_quoted(local_dir: Path) -> None:
    settings = settings_for(local_dir, s3_endpoint="http://127.0.0.1:1")
    with running(settings):
        pass
    await_down(local_dir)
    configuration = local_dir / "postgres" / "data" / "postgresql.auto.conf"
    before = configuration.read_text(encoding="utf-8")
    configuration.write_text("no_such_parameter = 1\n", encoding="utf-8")
    try:
        with pytest.raises(DatabaseUnavailable, match="no_such_parameter"), running(settings):
            pass
    finally:
        configuration.write_text(before, encoding="utf-8")


def test_forked_child_does_not_hold_its_parents_lock(local_dir: Path) -> None:
    lock_path = local_dir / "users.lock"
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_HOLDER, str(lock_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        assert holder.wait() == -signal.SIGKILL
        assert is_alive(child)
        with FileLock(lock_path) as lock:
            eventually(lock.try_exclusive, "the lock is free")


def as_plain_user() -> list[str]:
    """The prefix that runs a command as `nobody` if the tests run as root.

    The right to read everything is left to it: the interpreter may live in root's home.
    """
    if not IS_ROOT:
        return []
    rights = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *rights]


def test_unprivileged_user_has_a_separate_stack(local_dir: Path) -> None:
    theirs = local_dir / "theirs"
    theirs.mkdir()
    if IS_ROOT:
        shutil.chown(theirs, "nobody")
    with user_process(theirs, prefix=as_plain_user()) as process:
        _, url, uid = first_line(process)
        assert uid != 0
        assert (theirs / "postgres" / "data").stat().st_uid == uid
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_database(), current_setting('fsync')")
            assert cursor.fetchone() == ("bucketline", "on")
        record = living(theirs)
    await_gone(record)
    await_down(theirs)


def test_local_dir_below_a_private_folder_works_for_any_account() -> None:
    with a_local_dir(mode=0o700) as private:
        settings = settings_for(private)
        pointer = private / "postgres-is-in.txt"
        try:
            with running(settings) as full:
                leave_data(full)
                # Only root needs another place, which is reported once.
                assert pointer.exists() == IS_ROOT
                assert any(str(private) in note for note in notes(settings)) == IS_ROOT
            await_down(private)
            with running(settings) as full:
                assert_data(full)
                assert not any(str(private) in note for note in notes(settings))
            await_down(private)
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
        finally:
            if pointer.exists():
                shutil.rmtree(pointer.read_text(encoding="utf-8").strip())

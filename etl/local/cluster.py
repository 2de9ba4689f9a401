"""The data directory of the embedded PostgreSQL: its location, owner and atomic creation."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from etl.local.accounts import Account, can_enter, unprivileged_account
from etl.local.credentials import ROLE
from etl.local.postgres_binaries import Binaries, accessible, find_binaries
from etl.local.processes import Launch, is_alive, run, was_started_with
from etl.model.errors import ConfigurationError, DatabaseUnavailable
from etl.runtime.files import last_lines, make_rename_durable, open_log, write_private

# Fast shutdown: closes connections and writes a checkpoint.
FAST_SHUTDOWN = signal.SIGINT
_SHARED_FOLDER = Path("/var/lib/bucketline")


@dataclass(frozen=True)
class Cluster:
    """A cluster in `local_dir/postgres`, or in `shared_folder` if root's account cannot enter that.

    Its only role is ROLE, a superuser of this cluster, with `password`.
    """

    local_dir: Path
    password: str = field(repr=False)
    shared_folder: Path = _SHARED_FOLDER

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._home / "data"

    @cached_property
    def binaries(self) -> Binaries:
        """The PostgreSQL installation that serves it."""
        return accessible(find_binaries(), self._account, self.shared_folder)

    def prepare(self) -> list[str]:
        """Create the cluster on first use and prepare it for a start; return notes for the user.

        Raises:  ConfigurationError when another major version created it, or no account can run
                 it; DatabaseUnavailable when initdb fails.
        """
        notes = self._create_home()
        if not self.data.exists():
            self._create()
        self._check_major()
        self._update_password()
        self._remove_stale_pid_file()
        return notes

    def launch(self, command: list[str]) -> Launch:
        """Return how to run one of the binaries on it."""
        environment = {"PATH": os.defpath, "HOME": str(self._home), "LC_ALL": "C"}
        return Launch(command, environment, self._account, stop_signal=FAST_SHUTDOWN)

    @cached_property
    def _home(self) -> Path:
        if self._pointer.exists():
            return Path(self._pointer.read_text(encoding="utf-8").strip())
        home = self.local_dir / "postgres"
        if can_enter(unprivileged_account(home), self.local_dir):
            return home
        if (home / "data").exists():
            raise ConfigurationError(
                f"The account that runs PostgreSQL cannot enter {home}.",
                hint=f"Run `chmod o+x` on {self.local_dir} and the folders above it.",
            )
        name = hashlib.sha256(str(self.local_dir).encode()).hexdigest()[:16]
        return self.shared_folder / name

    @cached_property
    def _account(self) -> Account | None:
        return unprivileged_account(self._home)

    @property
    def _pointer(self) -> Path:
        return self.local_dir / "postgres-is-in.txt"

    def _create_home(self) -> list[str]:
        """Create the cluster's home; return a note the first time it is outside of LOCAL_DIR."""
        if self._account is not None:
            self.shared_folder.mkdir(parents=True, exist_ok=True)
            self.shared_folder.chmod(0o755)
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._change_owner(self._home)
        if self._home.parent == self.local_dir or self._pointer.exists():
            return []
        write_private(self._pointer, f"{self._home}\n")
        note = (
            f"PostgreSQL does not run as root, and its account cannot enter {self.local_dir}, "
            f"so its data are in {self._home}."
        )
        return [note]

    def _create(self) -> None:
        """Run initdb in a temporary folder, then rename it."""
        for leftover in self._home.glob("new-*"):
            shutil.rmtree(leftover)
        temporary = self._home / f"new-{secrets.token_hex(4)}"
        temporary.mkdir(mode=0o700)
        self._change_owner(temporary)
        password = self._secret_file(temporary / "password", self.password)
        self._initdb(temporary / "data", password)
        (temporary / "data").rename(self.data)
        make_rename_durable(self._home)
        shutil.rmtree(temporary)
        self._record_password()

    def _initdb(self, target: Path, password: Path) -> None:
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        role = [f"--username={ROLE}", f"--pwfile={password}"]
        self._run([self.binaries.initdb, "-D", str(target), *role, *options])

    def _check_major(self) -> None:
        created_by = (self.data / "PG_VERSION").read_text(encoding="utf-8").strip()
        if created_by != str(self.binaries.major):
            raise ConfigurationError(
                f"The data in {self.data} were made by PostgreSQL {created_by}, which "
                f"PostgreSQL {self.binaries.version} cannot read.",
                hint=f"Migrate them with pg_dump of PostgreSQL {created_by}, or move {self.data} "
                "away: the next run reloads the tables from the bucket.",
            )

    def _update_password(self) -> None:
        """Update the role's password if credentials.json was recreated."""
        path = self._hash_path
        if path.exists() and path.read_text(encoding="utf-8") == self._password_hash:
            return
        statement = f"ALTER ROLE {ROLE} PASSWORD '{self.password}';\n"
        script = self._secret_file(self._home / "statement", statement)
        single_user = 'exec "$1" --single -D "$2" postgres <"$3"'
        command = ["/bin/sh", "-c", single_user, "sh", self.binaries.postgres]
        self._run([*command, str(self.data), str(script)])
        script.unlink()
        self._record_password()

    @property
    def _hash_path(self) -> Path:
        return self.local_dir / "postgres-password.sha256"

    @property
    def _password_hash(self) -> str:
        return hashlib.sha256(self.password.encode()).hexdigest()

    def _record_password(self) -> None:
        write_private(self._hash_path, self._password_hash)

    def _remove_stale_pid_file(self) -> None:
        """Remove the pid file of a dead server whose pid another process has."""
        path = self.data / "postmaster.pid"
        try:
            pid = int(path.read_text(encoding="utf-8").split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        if is_alive(pid) and not was_started_with(str(self.data), pid):
            path.unlink()

    def _run(self, command: list[str]) -> None:
        path = self.local_dir / "logs" / "postgres.log"
        with open_log(path) as log:
            code = run(self.launch(command), log)
        if code != 0:
            raise DatabaseUnavailable(
                f"{Path(command[0]).name} failed on {self._home} (exit {code}). "
                f"The end of its log:\n{last_lines(path)}",
                hint=f"Check that {self._home} is writable and the disk has free space.",
            )

    def _secret_file(self, path: Path, text: str) -> Path:
        write_private(path, text)
        self._change_owner(path)
        return path

    def _change_owner(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

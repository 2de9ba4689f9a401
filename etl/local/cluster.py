"""The embedded PostgreSQL's data directory: where it is, who owns it, made whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from etl.local.accounts import Account, can_enter, plain_account
from etl.local.credentials import ROLE
from etl.local.postgres_binaries import Binaries, find_binaries, reachable
from etl.local.processes import Launch, is_alive, run, was_started_with
from etl.model.errors import ConfigurationError, DatabaseUnavailable
from etl.runtime.files import last_lines, make_rename_durable, open_log, write_private

# Fast shutdown: ends connections and writes a checkpoint.
FAST_SHUTDOWN = signal.SIGINT
_SHARED_FOLDER = Path("/var/lib/bucketline")


@dataclass(frozen=True)
class Cluster:
    """A cluster in `local_dir/postgres`, or in `shared_folder` when root's plain account needs it.

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
        """The PostgreSQL that serves it."""
        return reachable(find_binaries(), self._account, self.shared_folder)

    def prepare(self) -> list[str]:
        """Make the cluster on first use and ready it for a start; return what to tell the user.

        Raises:  ConfigurationError when another major version made it, or nobody may run it;
                 DatabaseUnavailable when initdb fails.
        """
        notes = self._settle()
        if not self.data.exists():
            self._create()
        self._refuse_other_major()
        self._match_password()
        self._forget_reused_pid()
        return notes

    def launch(self, command: list[str]) -> Launch:
        """How to run one of the binaries on it."""
        environment = {"PATH": os.defpath, "HOME": str(self._home), "LC_ALL": "C"}
        return Launch(command, environment, self._account, stop_signal=FAST_SHUTDOWN)

    @cached_property
    def _home(self) -> Path:
        if self._pointer.exists():
            return Path(self._pointer.read_text(encoding="utf-8").strip())
        inside = self.local_dir / "postgres"
        if can_enter(plain_account(inside), self.local_dir):
            return inside
        if (inside / "data").exists():
            raise ConfigurationError(
                f"The cluster in {inside} is out of reach of the plain account it runs under.",
                hint=f"Let others pass: `chmod o+x` on {self.local_dir} and the folders above it.",
            )
        name = hashlib.sha256(str(self.local_dir).encode()).hexdigest()[:16]
        return self.shared_folder / name

    @cached_property
    def _account(self) -> Account | None:
        return plain_account(self._home)

    @property
    def _pointer(self) -> Path:
        return self.local_dir / "postgres-is-in.txt"

    def _settle(self) -> list[str]:
        """Make the cluster's home; say so, once, when it is not in LOCAL_DIR."""
        if self._account is not None:
            self.shared_folder.mkdir(parents=True, exist_ok=True)
            self.shared_folder.chmod(0o755)
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._give_away(self._home)
        if self._home.parent == self.local_dir or self._pointer.exists():
            return []
        write_private(self._pointer, f"{self._home}\n")
        elsewhere = (
            f"PostgreSQL does not run as root, and its plain account cannot reach "
            f"{self.local_dir}: its data are in {self._home}."
        )
        return [elsewhere]

    def _create(self) -> None:
        """Run initdb beside and rename."""
        for left_over in self._home.glob("new-*"):
            shutil.rmtree(left_over)
        beside = self._home / f"new-{secrets.token_hex(4)}"
        beside.mkdir(mode=0o700)
        self._give_away(beside)
        self._initdb(beside / "data", self._secret_file(beside / "password", self.password))
        (beside / "data").rename(self.data)
        make_rename_durable(self._home)
        shutil.rmtree(beside)
        self._note_password()

    def _initdb(self, target: Path, password: Path) -> None:
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        role = [f"--username={ROLE}", f"--pwfile={password}"]
        self._run([self.binaries.initdb, "-D", str(target), *role, *options])

    def _refuse_other_major(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text(encoding="utf-8").strip()
        if made_by != str(self.binaries.major):
            raise ConfigurationError(
                f"The data in {self.data} were made by PostgreSQL {made_by}, and this is "
                f"PostgreSQL {self.binaries.version}, which cannot read them.",
                hint=f"Put PostgreSQL {made_by} back (pg_dump there, then restore here), or "
                f"move {self.data} away: the next run fills a new one from the bucket.",
            )

    def _match_password(self) -> None:
        """Give the role our password again when credentials.json was made anew."""
        mark = self._password_mark
        if mark.exists() and mark.read_text(encoding="utf-8") == self._password_hash:
            return
        statement = f"ALTER ROLE {ROLE} PASSWORD '{self.password}';\n"
        script = self._secret_file(self._home / "statement", statement)
        single_user = 'exec "$1" --single -D "$2" postgres <"$3"'
        command = ["/bin/sh", "-c", single_user, "sh", self.binaries.postgres]
        self._run([*command, str(self.data), str(script)])
        script.unlink()
        self._note_password()

    @property
    def _password_mark(self) -> Path:
        return self.local_dir / "postgres-password.sha256"

    @property
    def _password_hash(self) -> str:
        return hashlib.sha256(self.password.encode()).hexdigest()

    def _note_password(self) -> None:
        write_private(self._password_mark, self._password_hash)

    def _forget_reused_pid(self) -> None:
        """Remove a dead server's pid file when its pid is some other process's by now."""
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
                f"Its last words:\n{last_lines(path)}",
                hint=f"Check that {self._home} can be written and the disk has room.",
            )

    def _secret_file(self, path: Path, text: str) -> Path:
        write_private(path, text)
        self._give_away(path)
        return path

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

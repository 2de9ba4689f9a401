"""Derive from an object key: whether the object is ignored, its kind, and its user_id."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING
from unicodedata import normalize

from etl.model.values import ObjectKind, SourceObject

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from etl.model.values import ListingEntry

    # Whether the object with this key is data or an image of a dataset.
    IsUsed: TypeAlias = Callable[[str], bool]

IMAGE_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "webp", "gif"})
_KINDS = {"csv": ObjectKind.DATA, **dict.fromkeys(IMAGE_EXTENSIONS, ObjectKind.IMAGE)}
_IGNORED_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_IGNORED_PREFIXES = ("._", "~$")  # macOS metadata; Office lock files
OWN_FOLDER = ".bucketline"
_IGNORED_FOLDERS = frozenset({"__MACOSX", ".AppleDouble", ".ipynb_checkpoints", OWN_FOLDER})
_WINDOWS_FOLDER = "$recycle.bin"  # spelled in several cases by Windows

# For every ignored object except empty ones, `\n/KEY\n` in lowercase contains one of these. They
# are few, because each costs one search.
_IGNORED_SIGNS = (
    "/\n",
    "/.",
    "/~$",
    "/__macosx/",
    f"/{_WINDOWS_FOLDER}/",
    "/thumbs.db\n",
    "/desktop.ini\n",
)
_IGNORED_SIGN = re.compile("|".join(map(re.escape, _IGNORED_SIGNS)))


def file_name_of(key: str) -> str:
    """The last segment of an object key."""
    return key.rpartition("/")[2]


def spellings(key: str) -> set[str]:
    """The key, and the form in which a file-based store lists it: `a/b.csv` for `/a//b.csv`.

    Events of such a store contain the key as the client wrote it.
    """
    return {key, re.sub("/+", "/", key).removeprefix("/") or key}


def user_id_of(key: str) -> str:
    """The stem of the file name: `0001` for `a/b/0001.csv`, and empty for `.csv`."""
    name = file_name_of(key)
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def image_id_of(key: str) -> str:
    """The id that joins an image to users: the stem in NFC, because macOS writes names in NFD."""
    return in_nfc(user_id_of(key))


def in_nfc(text: str) -> str:
    """The text in NFC, unless that is ASCII and the text is not.

    So an ASCII file name matches only the row with exactly that id. `merge.sql` normalizes the ids
    of rows in the same way.
    """
    composed = text if text.isascii() else normalize("NFC", text)
    return text if composed.isascii() else composed


def kind_of(key: str) -> ObjectKind:
    """The kind of an object by its extension, in any case."""
    _, dot, extension = file_name_of(key).rpartition(".")
    return _KINDS.get(extension.lower(), ObjectKind.OTHER) if dot else ObjectKind.OTHER


def is_csv_or_image(key: str) -> bool:
    """Whether the name is that of a CSV file or an image."""
    return kind_of(key) is not ObjectKind.OTHER


def is_ignored(source: SourceObject, is_used: IsUsed = is_csv_or_image) -> bool:
    """Whether an object is operating system or program metadata, or a folder marker.

    An empty object is a folder marker, unless `is_used` is true for its key.
    """
    return has_ignored_name(source.key) or (source.size == 0 and not is_used(source.key))


def has_ignored_name(key: str) -> bool:
    """Whether an object is ignored, whatever its size."""
    *folders, name = key.split("/")
    return (
        name == ""
        or name.startswith(_IGNORED_PREFIXES)
        or name.lower() in _IGNORED_NAMES
        or not _IGNORED_FOLDERS.isdisjoint(folders)
        or any(folder.lower() == _WINDOWS_FOLDER for folder in folders)
    )


def may_have_ignored_name(key: str) -> bool:
    """Whether a key in lowercase needs a closer check: one that costs less for most keys."""
    return _IGNORED_SIGN.search(f"/{key}\n") is not None


def without_ignored(
    rows: list[ListingEntry], is_used: IsUsed = is_csv_or_image
) -> list[ListingEntry]:
    """The rows without ignored objects. One check of all rows suffices if there are none."""
    names = "\n/".join(["", *[row[0] for row in rows], ""]).lower()
    if all(map(itemgetter(2), rows)) and not any(sign in names for sign in _IGNORED_SIGNS):
        return rows
    return [row for row in rows if not is_ignored(SourceObject(*row), is_used)]

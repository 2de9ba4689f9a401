"""What an object's key says about it: whether it counts, what it is, whose it is."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING
from unicodedata import normalize

from etl.model.values import ObjectKind, SourceObject

if TYPE_CHECKING:
    from etl.model.values import ListingEntry

IMAGE_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "webp", "gif"})
_KINDS = {"csv": ObjectKind.CSV, **dict.fromkeys(IMAGE_EXTENSIONS, ObjectKind.IMAGE)}
_LITTER_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_LITTER_BEGINNINGS = ("._", "~$")  # of macOS, and of Office while a file is open
OWN_FOLDER = ".bucketline"
_LITTER_FOLDERS = frozenset({"__MACOSX", ".AppleDouble", ".ipynb_checkpoints", OWN_FOLDER})
_WINDOWS_FOLDER = "$recycle.bin"  # Windows spells it in several ways

# One of these is in `\n/KEY\n`, in small letters, of every ignored key but those of no bytes: few
# signs, as each is a search of its own.
_LITTER_SIGNS = (
    "/\n",
    "/.",
    "/~$",
    "/__macosx/",
    f"/{_WINDOWS_FOLDER}/",
    "/thumbs.db\n",
    "/desktop.ini\n",
)


def base_name(key: str) -> str:
    """The last segment of a key."""
    return key.rpartition("/")[2]


def spellings(key: str) -> set[str]:
    """The key, and the form in which a file-based store lists it: `a/b.csv` for `/a//b.csv`.

    Such a store names the key in its events as the client did.
    """
    return {key, re.sub("/+", "/", key).removeprefix("/") or key}


def user_id_of(key: str) -> str:
    """The base name without its extension: `a/b/0001.csv` is `0001`; `.csv` names nobody."""
    name = base_name(key)
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def image_id_of(key: str) -> str:
    """The id by which an image is joined to users: in NFC, as macOS writes names in NFD.

    A name whose NFC is ASCII is left as written, so that no user but the one of exactly that id
    has an image named in ASCII. `merge.sql` does the same with the ids of users.
    """
    written = user_id_of(key)
    composed = written if written.isascii() else normalize("NFC", written)
    return written if composed.isascii() else composed


def kind_of(key: str) -> ObjectKind:
    """What an object is by its extension, in any case."""
    _, dot, extension = base_name(key).rpartition(".")
    return _KINDS.get(extension.lower(), ObjectKind.OTHER) if dot else ObjectKind.OTHER


def is_ignored(source: SourceObject) -> bool:
    """Whether an object is an ignored file of a system or program, or a folder marker."""
    *folders, name = source.key.split("/")
    return (
        name == ""
        or name.startswith(_LITTER_BEGINNINGS)
        or name.lower() in _LITTER_NAMES
        or not _LITTER_FOLDERS.isdisjoint(folders)
        or any(folder.lower() == _WINDOWS_FOLDER for folder in folders)
        or (source.size == 0 and kind_of(source.key) is ObjectKind.OTHER)
    )


def without_ignored(rows: list[ListingEntry]) -> list[ListingEntry]:
    """The rows `is_ignored` does not mean; where none looks like it, all of them at once."""
    names = "\n/".join(["", *[row[0] for row in rows], ""]).lower()
    if all(map(itemgetter(2), rows)) and not any(sign in names for sign in _LITTER_SIGNS):
        return rows
    return [row for row in rows if not is_ignored(SourceObject(*row))]

"""What an object's key says about it: whether it counts, what it is, whose it is."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import TYPE_CHECKING

from etl.model import ObjectKind, SourceObject

if TYPE_CHECKING:
    from etl.model import Facts

IMAGE_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "webp", "gif"})
_KINDS = {"csv": ObjectKind.CSV, **dict.fromkeys(IMAGE_EXTENSIONS, ObjectKind.IMAGE)}
_LITTER_FOLDER = "__MACOSX"
_LITTER_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})

# One of these is in `\n/KEY\n`, in small letters, of every ignored key but those of no bytes.
_LITTER_SIGNS = (
    "/\n",
    "/._",
    f"/{_LITTER_FOLDER.lower()}/",
    *(f"/{name}\n" for name in sorted(_LITTER_NAMES)),
)


def base_name(key: str) -> str:
    """The last segment of a key."""
    return key.rpartition("/")[2]


def spellings(key: str) -> set[str]:
    """The key, and how a store lists it that keeps objects as files: `/a//b.csv` as `a/b.csv`.

    Such a store names the key in its events as the client did.
    """
    return {key, re.sub("/+", "/", key).removeprefix("/") or key}


def user_id_of(key: str) -> str:
    """The base name without its extension: `a/b/0001.csv` is `0001`; `.csv` names nobody."""
    name = base_name(key)
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def kind_of(key: str) -> ObjectKind:
    """What an object is by its extension, in any case."""
    _, dot, extension = base_name(key).rpartition(".")
    return _KINDS.get(extension.lower(), ObjectKind.OTHER) if dot else ObjectKind.OTHER


def is_ignored(source: SourceObject) -> bool:
    """Whether an object is litter of an operating system or a folder's marker."""
    name = base_name(source.key)
    return (
        name == ""
        or name.startswith("._")
        or name.lower() in _LITTER_NAMES
        or _LITTER_FOLDER in source.key.split("/")[:-1]
        or (source.size == 0 and kind_of(source.key) is ObjectKind.OTHER)
    )


def without_ignored(rows: list[Facts]) -> list[Facts]:
    """The rows `is_ignored` does not mean; where none looks like it, all of them at once."""
    names = "\n/".join(["", *[row[0] for row in rows], ""]).lower()
    if all(map(itemgetter(2), rows)) and not any(sign in names for sign in _LITTER_SIGNS):
        return rows
    return [row for row in rows if not is_ignored(SourceObject(*row))]

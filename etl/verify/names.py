"""What a key alone says of an object, in verify's own words."""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase

from etl.model.values import ObjectKind, SourceObject

_IMAGES = ("png", "jpg", "jpeg", "webp", "gif")
_IGNORED_FILES = ("._*", ".ds_store", "thumbs.db", "desktop.ini", "~$*")
_IGNORED_FOLDERS = ("__MACOSX", ".AppleDouble", ".ipynb_checkpoints", ".bucketline")
_TRASH = "$recycle.bin"


def split_name(key: str) -> tuple[str, str]:
    """Split the base name at its last dot; what follows comes in lower case.

    `a/1000.CSV` is `("1000", "csv")`, `.csv` is `("", "csv")`, `README` is `("README", "")`.
    """
    base = key.rsplit("/", maxsplit=1)[-1]
    if "." not in base:
        return base, ""
    dot = base.rindex(".")
    return base[:dot], base[dot + 1 :].lower()


def user_id(key: str) -> str:
    """Tell whose object this is, when no column says otherwise."""
    return split_name(key)[0]


def kind(key: str) -> ObjectKind:
    """Tell what an object is by its extension."""
    extension = split_name(key)[1]
    if extension == "csv":
        return ObjectKind.CSV
    if extension in _IMAGES:
        return ObjectKind.IMAGE
    return ObjectKind.OTHER


def joined_by(name: str) -> str:
    """Return the name by which images and users are joined: names that look alike are one, in NFC.

    The three signs that are plain ASCII in NFC, such as that of kelvin, stay as they are.
    """
    composed = unicodedata.normalize("NFC", name)
    return name if composed.isascii() else composed


def owner(key: str) -> str:
    """Return the name that the manifest holds: of an image, the one that joins it to users."""
    name = user_id(key)
    return joined_by(name) if kind(key) is ObjectKind.IMAGE else name


def is_ignored(source: SourceObject) -> bool:
    """Whether an object leaves no trace: a folder's marker, or a file that a program left there."""
    *folders, base = source.key.split("/")
    if base == "" or any(fnmatchcase(base.lower(), pattern) for pattern in _IGNORED_FILES):
        return True
    if any(folder in _IGNORED_FOLDERS or folder.lower() == _TRASH for folder in folders):
        return True
    return source.size == 0 and kind(source.key) is ObjectKind.OTHER

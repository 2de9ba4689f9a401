"""Derive the kind, user_id and join name of an object from its key."""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase

from etl.model.values import ObjectKind, SourceObject

_IMAGES = ("png", "jpg", "jpeg", "webp", "gif")
_IGNORED_FILES = ("._*", ".ds_store", "thumbs.db", "desktop.ini", "~$*")
_IGNORED_FOLDERS = ("__MACOSX", ".AppleDouble", ".ipynb_checkpoints", ".bucketline")
_TRASH = "$recycle.bin"


def split_name(key: str) -> tuple[str, str]:
    """Split the file name at its last dot into the stem and the lowercase extension.

    `a/1000.CSV` is `("1000", "csv")`, `.csv` is `("", "csv")`, `README` is `("README", "")`.
    """
    base = key.rsplit("/", maxsplit=1)[-1]
    if "." not in base:
        return base, ""
    dot = base.rindex(".")
    return base[:dot], base[dot + 1 :].lower()


def user_id(key: str) -> str:
    """Return the user_id of a key, which a user_id column overrides."""
    return split_name(key)[0]


def kind(key: str) -> ObjectKind:
    """Return the kind of an object by its extension."""
    extension = split_name(key)[1]
    if extension == "csv":
        return ObjectKind.CSV
    if extension in _IMAGES:
        return ObjectKind.IMAGE
    return ObjectKind.OTHER


def join_name(name: str) -> str:
    """Return the name in NFC, by which images and users are joined.

    The three characters that NFC turns into ASCII, such as the kelvin sign, are not changed.
    """
    composed = unicodedata.normalize("NFC", name)
    return name if composed.isascii() else composed


def is_image(key: str) -> bool:
    """Whether an object is an image."""
    return kind(key) is ObjectKind.IMAGE


def dataset(key: str) -> str | None:
    """Return the dataset of an object; None if it belongs to none."""
    return None if kind(key) is ObjectKind.OTHER else "users"


def is_ignored(source: SourceObject) -> bool:
    """Whether runs ignore an object: a folder marker, or a metadata file of a program."""
    *folders, base = source.key.split("/")
    if base == "" or any(fnmatchcase(base.lower(), pattern) for pattern in _IGNORED_FILES):
        return True
    if any(folder in _IGNORED_FOLDERS or folder.lower() == _TRASH for folder in folders):
        return True
    return source.size == 0 and kind(source.key) is ObjectKind.OTHER

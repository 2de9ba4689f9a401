"""Derive from an object key whether it is ignored, its base name and its join name."""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase

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


def join_name(name: str) -> str:
    """Return the name in NFC, by which images and users are joined.

    The three characters that NFC turns into ASCII, such as the kelvin sign, are not changed.
    """
    composed = unicodedata.normalize("NFC", name)
    return name if composed.isascii() else composed


def is_junk(key: str) -> bool:
    """Whether runs ignore an object by its key: a folder marker, or a program's metadata file."""
    *folders, base = key.split("/")
    if base == "" or any(fnmatchcase(base.lower(), pattern) for pattern in _IGNORED_FILES):
        return True
    return any(folder in _IGNORED_FOLDERS or folder.lower() == _TRASH for folder in folders)

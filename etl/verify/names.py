"""What a key alone says of an object, in verify's own words."""

from __future__ import annotations

from etl.model import ObjectKind, SourceObject

_IMAGES = ("png", "jpg", "jpeg", "webp", "gif")
_LITTER = (".ds_store", "thumbs.db", "desktop.ini")


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


def is_ignored(source: SourceObject) -> bool:
    """Tell whether an object leaves no trace at all: a folder's marker, or some system's litter."""
    segments = source.key.split("/")
    base = segments[-1]
    if base == "" or "__MACOSX" in segments[:-1]:
        return True
    if base.startswith("._") or base.lower() in _LITTER:
        return True
    return source.size == 0 and kind(source.key) is ObjectKind.OTHER

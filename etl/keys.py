"""What an object's key says about it: whether it counts, what it is, whose it is."""

from __future__ import annotations

from etl.model import ObjectKind, SourceObject

IMAGE_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "webp", "gif"})
_LITTER_FOLDER = "__MACOSX"
_LITTER_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini"})


def base_name(key: str) -> str:
    """The last segment of a key."""
    return key.rpartition("/")[2]


def user_id_of(key: str) -> str:
    """The base name without its extension: `a/b/0001.csv` is `0001`; `.csv` names nobody."""
    name = base_name(key)
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


def kind_of(key: str) -> ObjectKind:
    """What an object is by its extension, in any case."""
    extension = base_name(key).rpartition(".")[2].lower() if "." in base_name(key) else ""
    if extension == "csv":
        return ObjectKind.CSV
    return ObjectKind.IMAGE if extension in IMAGE_EXTENSIONS else ObjectKind.OTHER


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

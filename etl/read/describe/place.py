"""Name a dataset, and the patterns of its objects, from the keys that were sampled."""

from __future__ import annotations

import posixpath
import re
from itertools import takewhile
from typing import TYPE_CHECKING

from etl.model.column_names import column_name
from etl.model.formats import Compression
from etl.model.patterns import PatternFault, Patterns, folded
from etl.model.routing import hive_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

OTHERWISE = "data"
_WILD = re.compile(r"[*?{}]")
_SYNTAX = re.compile(r"[*?{},\\]")
_DIGITS = re.compile(r"[0-9]+")
_HIVE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}=")
_WORDS = frozenset({"part", "export", "report", "dump", "file", "tmp", "csv", "json", "parquet"})
_LONGEST = 40


def is_pattern(text: str) -> bool:
    """Whether the text has wildcards."""
    return bool(_WILD.search(text))


def dataset_name(places: Sequence[str], taken: Collection[str]) -> str:
    """A name for the dataset of some keys or patterns that no other dataset has."""
    name = next(_words(places[0]), OTHERWISE)[:_LONGEST] if places else OTHERWISE
    used = {one.lower() for one in taken}
    found, number = name, 1
    while found in used:
        number += 1
        found = f"{name}_{number}"
    return found


def include_of(keys: Sequence[str]) -> tuple[str, ...]:
    """Patterns in any folder for local files: by their names, or by their folder."""
    ends = _endings(keys)
    stems = {_stem(key) for key in keys}
    beginning = posixpath.commonprefix(sorted(stems)) if len(stems) > 1 else _undated(min(stems))
    folders = {posixpath.basename(_before_hive(key)) for key in keys}
    if _is_word(beginning):
        patterns = [f"**/{beginning}*{ends}"]
    elif len(folders) == 1 and _is_word(min(folders)):
        patterns = [f"**/{min(folders)}/**/*{ends}"]
    else:
        patterns = [f"**/{_escaped(name)}" for name in sorted(map(posixpath.basename, set(keys)))]
    return tuple(patterns) if _matches(patterns, keys) else ("**",)


def without_others(
    include: tuple[str, ...], keys: Sequence[str], others: Sequence[str]
) -> tuple[str, ...]:
    """The patterns without those that match only keys of other datasets."""
    unwanted = {
        one
        for one in include
        if any(_matches([one], [key]) for key in others)
        and not any(_matches([one], [key]) for key in keys)
    }
    return tuple(one for one in include if one not in unwanted) or include


def upload_prefix(file: str, include: Sequence[str], used: Collection[str]) -> str | None:
    """The shortest prefix below which the name of a local file matches, and is not one of these.

    None if there is none. The prefix is the end of the file's folder.
    """
    folder, name = posixpath.split(posixpath.normpath(file))
    parts = [one for one in folder.split("/") if one not in {"", ".", ".."}]
    for start in range(len(parts), -1, -1):
        key = "/".join([*parts[start:], name])
        if key not in used and _matches(include, [key]):
            return "/".join(parts[start:])
    return None


def folder_prefix(folder: str, names: Sequence[str], include: Sequence[str]) -> str | None:
    """The shortest prefix below which the keys of a folder's files match; None if there is none.

    `names` begin with the folder, keys do not. The prefix is the end of the folder's path.
    """
    path = posixpath.normpath(folder)
    keys = [posixpath.relpath(name, path) for name in names]
    parts = [one for one in path.split("/") if one not in {"", ".", ".."}]
    for start in range(len(parts), -1, -1):
        prefix = "/".join(parts[start:])
        if _matches(include, [posixpath.join(prefix, key) for key in keys]):
            return prefix
    return None


def with_hive_folders(include: Sequence[str], keys: Sequence[str]) -> tuple[str, ...] | None:
    """Patterns that name the folders `year=2026` of all keys; None if there are none.

    They match the keys that the given patterns match, below such folders.
    """
    if hive_names(include):
        return tuple(include)
    paths = [hive_names([key]) for key in keys]
    names = paths[0] if paths else ()
    if not names or any(one != names for one in paths):
        return None
    named = "/".join(f"{name}=*" for name in names)
    before = {_before_hive(key) for key in keys}
    start = f"{before.pop()}/" if len(before) == 1 else "**/"
    if include[0].startswith("**/"):
        start = f"**/{posixpath.basename(start.rstrip('/*'))}/".replace("//", "/")
    ends = _endings(keys)
    direct = all(_HIVE.match(key.split("/")[-2]) for key in keys)
    patterns = (f"{start}{named}/{'' if direct else '**/'}*{ends}",)
    return patterns if _matches(patterns, keys) else None


def _before_hive(key: str) -> str:
    """The folders before the first one such as `year=2026`."""
    return "/".join(takewhile(lambda one: not _HIVE.match(one), key.split("/")[:-1]))


def _endings(keys: Sequence[str]) -> str:
    """A pattern for the extensions of the keys."""
    endings = sorted({_ending(key) for key in keys})
    return endings[0] if len(endings) == 1 else f"{{{','.join(endings)}}}"


def _words(place: str) -> Iterator[str]:
    """The names that the file and its folders suggest, the best first."""
    *folders, file = place.split("/")
    for text in (_stem(file), *reversed(folders)):
        if _HIVE.match(text) or text in {".", "..", "**"}:
            continue
        name = _undated(_WILD.split(text)[0])
        if _is_word(name):
            legal = column_name(name, "")
            if legal and legal.lower() not in {"users", "object", "problem"}:
                yield legal


def _is_word(text: str) -> bool:
    if not re.search(r"[^\W\d_]", text) or _SYNTAX.search(text):
        return False
    letters = re.sub(r"[^a-z]", "", column_name(text, ""))
    return len(letters) > 1 and letters not in _WORDS


def _undated(stem: str) -> str:
    """The beginning of a name before its first digits, without separators at its end."""
    found = _DIGITS.split(stem)[0].rstrip(" _-.(T")
    return found or stem


def _stem(key: str) -> str:
    name = posixpath.basename(key)
    ending = _ending(name)
    return name.removesuffix(ending) if ending else name


def _ending(key: str) -> str:
    """The extensions of the format and of the compression, with their dots."""
    name = posixpath.basename(key)
    compression = next((f".{one}" for one in Compression if name.lower().endswith(f".{one}")), "")
    end = name[len(name) - len(compression) :] if compression else ""
    rest = name[: len(name) - len(end)]
    found = posixpath.splitext(rest)[1]
    return f"{found}{end}"


def _escaped(text: str) -> str:
    return _SYNTAX.sub("?", text)


def _matches(patterns: Sequence[str], keys: Iterable[str]) -> bool:
    try:
        compiled = Patterns(patterns)
    except PatternFault:
        return False
    return all(compiled.matches(folded(key)) for key in keys)

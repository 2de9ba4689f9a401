"""Which dataset an object belongs to, as data or as an attachment, and the columns in its key.

Each object goes to the first dataset that includes it and does not exclude it. Presets come last,
and are not offered an object that another dataset includes and excludes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from etl.model.formats import format_of
from etl.model.keys import has_ignored_name, in_nfc, may_have_ignored_name
from etl.model.patterns import Patterns, Template, folded, percent_decoded
from etl.model.values import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from etl.model.dataset import Attachment, Dataset

HIVE = "hive"
_HIVE_NULL = "__hive_default_partition__"
_HIVE_SEGMENT = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,47})=")


class ObjectRoute(NamedTuple):
    """What an object is to the datasets.

    | `dataset` | `kind` | the object is |
    |---|---|---|
    | a dataset | DATA | data of the dataset |
    | a dataset | IMAGE | an attachment: `attachment_id` is the text that joins it to rows, in NFC |
    | a dataset | OTHER | of a type that the dataset does not read: `unsupported-type` |
    | None | OTHER | of no dataset: ignored and counted |
    """

    dataset: Dataset | None
    kind: ObjectKind
    attachment: Attachment | None = None
    attachment_id: str | None = None

    @property
    def is_unread(self) -> bool:
        """Whether no dataset reads the object; `users` may cover the bucket without reading it."""
        is_declared = self.dataset is not None and not self.dataset.is_preset
        return self.kind is ObjectKind.OTHER and not is_declared


_IGNORED = ObjectRoute(None, ObjectKind.OTHER)


class Router:
    """Routes object keys to datasets.

    Raises:  PatternFault when a pattern is invalid.
    """

    def __init__(self, datasets: Iterable[Dataset], source_bucket: str) -> None:
        ordered = sorted(datasets, key=lambda one: one.is_preset)  # stable: presets last
        by_bucket: dict[str, list[_Rules]] = {}
        for dataset in ordered:
            by_bucket.setdefault(dataset.bucket or source_bucket, []).append(_Rules(dataset))
        self._buckets = {name: _BucketRouter(rules) for name, rules in by_bucket.items()}

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets of all datasets, each once."""
        return tuple(self._buckets)

    def route(self, bucket: str, key: str) -> ObjectRoute:
        """The route of one object."""
        found = self._buckets.get(bucket)
        return _IGNORED if found is None else found.route(key)

    def for_bucket(self, bucket: str) -> Callable[[str], ObjectRoute]:
        """The function that routes the keys of one bucket, for loops over a listing."""
        found = self._buckets.get(bucket)
        return (lambda _key: _IGNORED) if found is None else found.route


def datasets_by_ends(key: str, route: Callable[[str], ObjectRoute]) -> dict[str, str]:
    """The declared datasets that read an end of the path as a key, with the longest such end.

    Presets are catch-alls and say nothing about the key.
    """
    folders = key.split("/")
    found: dict[str, str] = {}
    for end in ("/".join(folders[n:]) for n in range(1, len(folders))):
        dataset = route(end).dataset
        if dataset is not None and not dataset.is_preset:
            found.setdefault(dataset.name, end)
    return found


def path_names(dataset: Dataset) -> tuple[str, ...]:
    """The path columns of the dataset: the placeholders of its template, or those of hive.

    The columns of hive are the folders `name=` in the include patterns, in order.
    """
    if dataset.path_columns is None:
        return ()
    if dataset.path_columns == HIVE:
        return hive_names(dataset.include)
    return _template(dataset.path_columns).names


def path_values(dataset: Dataset, key: str) -> dict[str, str | None]:
    """The values of the path columns; None where the key has none, or an empty one."""
    names = path_names(dataset)
    if dataset.path_columns == HIVE:
        return _hive_values(names, key)
    if not names or dataset.path_columns is None:
        return {}
    found = _template(dataset.path_columns).capture(key, folded(key))
    return dict(zip(names, (text or None for text in found or [""] * len(names)), strict=True))


def hive_names(include: Iterable[str]) -> tuple[str, ...]:
    """The names in the folders `name=…` of some patterns, each once, whatever its case."""
    found: dict[str, str] = {}
    for pattern in include:
        for folder in pattern.split("/")[:-1]:
            if match := _HIVE_SEGMENT.match(folder):
                found.setdefault(folded(match[1]), match[1])
    return tuple(found.values())


def unnamed_folders(dataset: Dataset, key: str) -> tuple[str, ...]:
    """The names in the folders `name=…` of a key that the patterns of a hive dataset do not name.

    They match `*` or `**`, and are not columns.
    """
    if dataset.path_columns != HIVE:
        return ()
    named = set(map(folded, hive_names(dataset.include)))
    return tuple(name for name in hive_names([key]) if folded(name) not in named)


def _hive_values(names: tuple[str, ...], key: str) -> dict[str, str | None]:
    """Of several folders with the same name, the innermost counts."""
    found = {}
    for folder in key.split("/")[:-1]:
        name, _, value = folder.partition("=")
        found[folded(name)] = value
    values = {name: percent_decoded(found.get(folded(name), "")) for name in names}
    return {
        name: None if value.lower() in {"", _HIVE_NULL} else value for name, value in values.items()
    }


@lru_cache(maxsize=256)
def _template(pattern: str) -> Template:
    return Template(pattern)


class _Rules:
    """The compiled patterns of one dataset, and its routes that do not depend on the key."""

    def __init__(self, dataset: Dataset) -> None:
        self.is_preset = dataset.is_preset
        self.include = Patterns(dataset.include)
        self.exclude = Patterns(dataset.exclude)
        self._dataset = dataset
        self._attachments = [(one, _template(one.match)) for one in dataset.attachments]
        self.attached_endings = tuple(end for _, one in self._attachments for end in one.suffixes)
        self._data = ObjectRoute(dataset, ObjectKind.DATA)
        self.unsupported = ObjectRoute(dataset, ObjectKind.OTHER)
        self.covers_bucket = dataset.is_preset and self.include.matches_in_every_folder(".csv")
        firsts = [one.first_segments for _, one in self._attachments]
        self.first_segments = _union([self.include.first_segments, *firsts])

    def attached(self, key: str, name: str) -> ObjectRoute | None:
        """The route of an attachment, by its key as written and folded; None if it is not one."""
        for attachment, template in self._attachments:
            if (found := template.capture(key, name)) is not None:
                return ObjectRoute(self._dataset, ObjectKind.IMAGE, attachment, in_nfc(found[0]))
        return None

    def as_data(self, name: str) -> ObjectRoute:
        """The route of a folded key that the patterns include."""
        return self.unsupported if format_of(self._dataset, name) is None else self._data


def _union(sets: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """The union; None if one of them is not limited."""
    found: frozenset[str] = frozenset()
    for one in sets:
        if one is None:
            return None
        found |= one
    return found


class _BucketRouter:
    """The rules of one bucket, in their order, indexed by the first path segment of keys."""

    def __init__(self, rules: list[_Rules]) -> None:
        self._general = [one for one in rules if one.first_segments is None]
        firsts = {name for one in rules for name in one.first_segments or ()}
        self._by_first = {
            name: [one for one in rules if one.first_segments is None or name in one.first_segments]
            for name in firsts
        }
        self._covering = next((one for one in rules if one.covers_bucket), None)

    def route(self, key: str) -> ObjectRoute:
        name = folded(key)
        if may_have_ignored_name(name) and has_ignored_name(key):
            return _IGNORED
        is_refused = False
        for rules in self._by_first.get(name.partition("/")[0], self._general):
            if is_refused and rules.is_preset:
                return _IGNORED
            found = rules.attached(key, name) if name.endswith(rules.attached_endings) else None
            if found is None and not rules.include.matches(name):
                continue
            if not rules.exclude.matches(name):
                return rules.as_data(name) if found is None else found
            is_refused = is_refused or rules.include.matches(name)
        return _IGNORED if is_refused else self._unmatched(name)

    def _unmatched(self, name: str) -> ObjectRoute:
        """The route of a key that no dataset includes."""
        if self._covering is None or self._covering.exclude.matches(name):
            return _IGNORED
        return self._covering.unsupported

"""Describe sampled objects: guess a declaration, check them against it, and correct the guess."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from etl.cli.render import counted
from etl.model.errors import (
    ConfigurationError,
    ObjectChanged,
    RefusedObject,
    UnreadableObject,
)
from etl.model.formats import FORMATS, SourceFormat, format_of
from etl.model.routing import HIVE, path_values
from etl.model.safe_text import printable
from etl.model.values import Problem, ProblemCode
from etl.read.compression import expanded
from etl.read.describe.block import DatasetPlace, block, comment
from etl.read.describe.columns import Correction, describe
from etl.read.describe.correct import corrected, errors
from etl.read.describe.place import dataset_name, with_hive_folders, without_others
from etl.read.describe.sample import (
    SampledObject,
    bounds,
    joined_sample,
    probe,
    sample_object,
    with_columns,
)
from etl.read.describe.toml import toml
from etl.settings.datasets_file import parse_datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.settings import Settings

_MOST_ROUNDS = 10
_BYTES = ((b"PAR1", SourceFormat.PARQUET), (b"PK\x03\x04", SourceFormat.XLSX))
_TEXTS = ((b"{", SourceFormat.NDJSON), (b"[", SourceFormat.JSON))
_DETECTED = ","  # the delimiter that need not be declared


class Sampled(NamedTuple):
    """An object or a local file, and how to read it."""

    source: SourceObject
    parts: Callable[[], Iterable[bytes]]


class Existing(NamedTuple):
    """The datasets file as it is: whether it has content, and the names of its datasets."""

    has_content: bool = False
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Described:
    """A declaration in TOML, what it declares, and what is wrong with the sampled objects.

    `unread` are objects that no declaration can read, `rejected` errors in rows of the others.
    """

    text: str
    dataset: Dataset
    unread: list[Problem]
    rejected: list[Problem]


def existing(path: Path | None) -> Existing:
    """What the datasets file contains, even if it has faults."""
    try:
        text = "" if path is None else path.read_text("utf-8-sig")
        datasets = tomllib.loads(text).get("datasets", {})
    except (OSError, ValueError, RecursionError):
        return Existing(has_content=True)
    names = frozenset(datasets) if isinstance(datasets, dict) else frozenset()
    return Existing(bool(text.strip()), names)


def describe_objects(
    sampled: Sequence[Sampled], place: DatasetPlace, settings: Settings, before: Existing
) -> Described:
    """Describe the objects as one dataset.

    Raises:  ConfigurationError when none of them can be read, or none has a row.
    """
    place = _with_format(place, sampled)
    _check_sheet(place, sampled)
    objects, unread = _alike(*_read(sampled, place))
    if not objects:
        raise _unreadable(unread[0])
    place = replace(place, include=without_others(place.include, *_keys(objects, unread)))
    if not any(one.rows and one.columns for one in objects):
        raise _without_rows(objects[0])
    place = _with_dialect(_with_hive(place, objects), objects)
    objects = _with_path_columns(place, objects)
    place = replace(place, notes=(_sampled_note(objects), *place.notes))
    readable = {one.key for one in objects}
    kept = [one for one in sampled if one.source.key in readable]
    text, dataset, rejected = _corrected(kept, objects, place, settings)
    return Described(_head(before) + text, dataset, unread, rejected)


def named_place(place: DatasetPlace, before: Existing, places: Sequence[str]) -> DatasetPlace:
    """The place with a name that its keys suggest, unless it has one."""
    return place if place.name else replace(place, name=dataset_name(places, before.names))


def _with_format(place: DatasetPlace, sampled: Sequence[Sampled]) -> DatasetPlace:
    """The place with a format, if it is given or an object has no extension of one."""
    if place.format is None:
        unknown = [one for one in sampled if format_of(probe(None), one.source.key) is None]
        if not unknown:
            return place
        place = replace(place, format=_sniffed(unknown[0]))
    for one in sampled:
        if format_of(_probe(place), one.source.key) is None:
            raise ConfigurationError(
                f"{printable(one.source.key)} cannot be read as {place.format}.",
                hint=f"The formats are {', '.join(FORMATS)}.",
            )
    return place


def _check_sheet(place: DatasetPlace, sampled: Sequence[Sampled]) -> None:
    """Raises:  ConfigurationError when there is a sheet, but no workbook."""
    formats = [format_of(_probe(place), one.source.key) for one in sampled]
    has_workbook = any(one is not None and one.format is SourceFormat.XLSX for one in formats)
    if place.sheet is not None and not has_workbook:
        raise ConfigurationError(
            f"{printable(sampled[0].source.key)} is no workbook, so it has no sheet"
            f" {toml(place.sheet)}.",
            hint="Leave out --sheet.",
        )


def _sniffed(one: Sampled) -> SourceFormat:
    """The format of the content, if the key has no extension of one."""
    head = _first_bytes(one)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = next((format_ for mark, format_ in _BYTES if head.startswith(mark)), None)
    found = found or next((format_ for mark, format_ in _TEXTS if text.startswith(mark)), None)
    return found or SourceFormat.CSV


def _first_bytes(one: Sampled) -> bytes:
    """The first part of the content, expanded if the key says that it is compressed.

    Raises:  ConfigurationError when it cannot be expanded.
    """
    found = format_of(probe(SourceFormat.CSV), one.source.key)
    compression = None if found is None else found.compression
    try:
        parts = one.parts() if compression is None else expanded(one.parts(), compression)
        return next(iter(parts), b"")
    except RefusedObject as error:
        raise ConfigurationError(
            f"{printable(one.source.key)} cannot be read.", hint=error.message
        ) from error


def _read(
    sampled: Sequence[Sampled], place: DatasetPlace
) -> tuple[list[SampledObject], list[Problem]]:
    objects: list[SampledObject] = []
    unread: list[Problem] = []
    for one in sampled:
        try:
            found = sample_object(one.source, _probe(place), one.parts, bounds(len(sampled)))
        except (ObjectChanged, UnreadableObject) as error:
            code = ProblemCode.ACCESS_REFUSED
            found = Problem(code, one.source.key, one.source.etag, f"{error.message} {error.hint}")
        if isinstance(found, Problem):
            unread.append(found)
        else:
            objects.append(found)
    return objects, unread


def _unreadable(problem: Problem) -> ConfigurationError:
    return ConfigurationError(f"{printable(problem.key)} cannot be read.", hint=problem.note)


def _without_rows(one: SampledObject) -> ConfigurationError:
    key = printable(one.key)
    if one.problem is not None:
        where = f"{key}, {one.unit} {one.problem.line}"
        return ConfigurationError(
            f"No row of {key} can be read, so its types cannot be guessed.",
            hint=f"{where}: {one.problem.note}",
        )
    hint = "Name a file with rows."
    if one.key.lower().endswith(".xlsx"):
        hint += " If they are in another sheet, name it: `--sheet NAME`."
    return ConfigurationError(f"{key} has no rows, so its types cannot be guessed.", hint=hint)


def _with_dialect(place: DatasetPlace, objects: Sequence[SampledObject]) -> DatasetPlace:
    """The place with the row of the header, the member of the rows, and the common delimiter.

    A comma is detected, so it is not declared.
    """
    place = _with_member(place, objects[0])
    row = objects[0].head.header_row
    if row > 1:
        note = f"The header is in {objects[0].unit} {row}, after titles."
        place = replace(place, header_row=row, notes=(*place.notes, note))
    found = {one.head.delimiter for one in objects}
    delimiter = found.pop()
    is_implied = delimiter == _DETECTED or all(_is_tsv(place, one.key) for one in objects)
    return place if found or is_implied else replace(place, delimiter=delimiter)


def _with_member(place: DatasetPlace, one: SampledObject) -> DatasetPlace:
    """The place with the member of JSON files that has the rows, or a note on one that may."""
    member, array = one.head.member, one.head.array
    if member is not None:
        note = f"The rows are in the array {toml(member)}. Without property, a file is one row."
    elif array is not None:
        note = f"Each file is one row. If the array {toml(array)} has the rows, name it: "
        note += f"dialect = {{ property = {toml(array)} }}"
    else:
        return place
    return replace(place, member=member, notes=(*place.notes, note))


def _keys(
    objects: Sequence[SampledObject], unread: Sequence[Problem]
) -> tuple[list[str], list[str]]:
    return [one.key for one in objects], [one.key for one in unread]


def _alike(
    objects: list[SampledObject], unread: list[Problem]
) -> tuple[list[SampledObject], list[Problem]]:
    """The objects that may be of one dataset with the first; problems of the others."""
    others = {one.key: _difference(one, objects[0]) for one in objects[1:]}
    problems = [
        Problem(
            ProblemCode.MISSING_COLUMN,
            key,
            "",
            f"{difference} Declare it as another dataset, or make the files alike.",
        )
        for key, difference in others.items()
        if difference
    ]
    return [one for one in objects if not others.get(one.key)], [*unread, *problems]


def _difference(one: SampledObject, first: SampledObject) -> str:
    """How the place or all columns of an object differ from the first one's; empty if alike."""
    own, other, key = one.head, first.head, printable(first.key)
    if own.header_row != other.header_row:
        return (
            f"Its header is in {one.unit} {own.header_row}, that of {key} in {first.unit}"
            f" {other.header_row}."
        )
    if own.member == other.member:
        return "" if _folded(one) & _folded(first) else f"It has no column of {key}."
    if own.member is not None:
        return f"Its rows are in the array {toml(own.member)}, unlike those of {key}."
    return f"Its rows are not in the array {toml(other.member or '')}, unlike those of {key}."


def _folded(one: SampledObject) -> set[str]:
    return {header.strip().casefold() for header in one.columns}


def _is_tsv(place: DatasetPlace, key: str) -> bool:
    found = format_of(_probe(place), key)
    return found is not None and found.format is SourceFormat.TSV


def _probe(place: DatasetPlace) -> Dataset:
    return probe(None if place.format is None else SourceFormat(place.format), place.sheet)


def _with_hive(place: DatasetPlace, objects: Sequence[SampledObject]) -> DatasetPlace:
    """The place with path columns, if all keys have the same folders such as `year=2026`."""
    include = with_hive_folders(place.include, [one.key for one in objects])
    return place if include is None else replace(place, include=include, path_columns=HIVE)


def _with_path_columns(
    place: DatasetPlace, objects: Sequence[SampledObject]
) -> list[SampledObject]:
    if place.path_columns is None:
        return list(objects)
    patterns = replace(probe(None), include=place.include, path_columns=place.path_columns)
    return [with_columns(one, path_values(patterns, one.key)) for one in objects]


def _corrected(
    sampled: Sequence[Sampled],
    objects: Sequence[SampledObject],
    place: DatasetPlace,
    settings: Settings,
) -> tuple[str, Dataset, list[Problem]]:
    """The declaration that rejects the fewest rows of the objects, and what it rejects."""
    sample, correction = joined_sample(objects), Correction()
    today = datetime.now(UTC).date()
    for _ in range(_MOST_ROUNDS):
        text = block(place, describe(sample, correction))
        (dataset,) = parse_datasets(Path("datasets.toml"), f"version = 1\n{text}", settings)
        found = [
            problem
            for one in sampled
            for problem in errors(one.source, dataset, one.parts, bounds(len(sampled)), today)
        ]
        better = corrected(correction, found)
        if better == correction:
            break
        correction = better
    return text, dataset, found


def _sampled_note(objects: Sequence[SampledObject]) -> str:
    rows = sum(one.rows for one in objects)
    more = " (there are more)" if any(one.is_cut for one in objects) else ""
    counts = [counted(rows, "row"), counted(len(objects), "file")]
    return f"Guessed from {counts[0]}{more} of {counts[1]}. Check what has a comment."


def _head(before: Existing) -> str:
    """The beginning of a new file; a block that follows others begins with a blank line."""
    if before.has_content:
        return "\n"
    users = "Without the dataset users, the built-in one is switched off. To keep it, add:"
    lines = [comment(users), comment("[datasets.users]"), comment('preset = "users"')]
    return "\n".join(["version = 1", "", *lines, "", ""])

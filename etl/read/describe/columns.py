"""Guess a dataset from sampled columns: fields, missing values, primary key and prefer."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.column_names import column_names
from etl.model.dataset import Constraints, Field, FieldType
from etl.model.safe_text import safe_value
from etl.read.describe.candidate import Context
from etl.read.describe.guess import enum_note, guess
from etl.read.describe.near import nearly
from etl.read.describe.numbers import has_certain_decimal_commas

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    from etl.read.describe.candidate import Guess
    from etl.read.describe.sample import Sample, SampledColumn

    _Guessed: TypeAlias = tuple[Guess, tuple[str, ...]]

MOST_FIELDS = 1_000
_UNCOMPUTED = (
    "its cells are formulas without values; open the workbook in a spreadsheet program and save it"
)
_MOST_REPEATED = 0.02  # of the rows of a column that is nearly a key
_KEY_TYPES = frozenset({FieldType.STRING, FieldType.INTEGER})
_KEY_NAMES = (
    re.compile(r"(?:id|uuid|guid|key)"),
    re.compile(r".*_(?:id|uuid|guid|key)|(?:id|pk)_.*"),
    re.compile(r"(?:.*_)?(?:no|nr|nummer|number|num|code|sku|ean|isbn|ref|slug)|.*nummer"),
    re.compile(r"(?:.*_)?e?mail"),
)
_PREFER_NAMES = re.compile(
    r"(?:last_)?(?:updated?|modified|changed|edited|geaendert|aktualisiert)(?:_.*)?"
    r"|.*_(?:updated|modified|changed|geaendert)(?:_at|_on|_am)?|version|revision"
)
_ORDERED = frozenset(
    {FieldType.DATE, FieldType.DATETIME, FieldType.EPOCH_MS, FieldType.INTEGER, FieldType.NUMBER}
)


@dataclass(frozen=True, slots=True)
class DescribedField:
    """A field, the header that it has in the files, and comments on what is uncertain."""

    field: Field
    header: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """What files contain: a declaration without name and patterns, and comments.

    `undeclared` are headers that cannot be declared, with the reason.
    """

    fields: tuple[DescribedField, ...]
    missing_values: tuple[str, ...] = ("",)
    primary_key: tuple[str, ...] = ()
    key_note: str = ""
    prefer: str | None = None
    pads_rows: bool = False
    undeclared: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Correction:
    """What a check of the sampled files found wrong with an earlier description of them.

    `as_text` are fields that are plain text after all, `unindexed` those whose texts are too long
    for a key. `uncomputed` have formulas without values.
    """

    as_text: frozenset[str] = frozenset()
    unindexed: frozenset[str] = frozenset()
    uncomputed: frozenset[str] = frozenset()
    pads_rows: bool = False


def describe(sample: Sample, correction: Correction = Correction()) -> Description:
    """The declaration that fits the sampled objects."""
    undeclared = _undeclared(sample)
    columns = [one for one in sample.columns if one.header not in undeclared][:MOST_FIELDS]
    names = column_names(one.header for one in columns)
    values = {name: _values(one.texts) for name, one in zip(names, columns, strict=True)}
    left_out = {name for name in correction.uncomputed if not values[name]}
    undeclared |= {
        one.header: _UNCOMPUTED
        for name, one in zip(names, columns, strict=True)
        if name in left_out
    }
    columns = [one for one in columns if one.header not in undeclared]
    names = [name for name in names if name not in left_out]
    has_commas = any(map(has_certain_decimal_commas, values.values()))
    guessed = {
        name: guess(values[name], Context(name, has_commas, one.is_float)) if values[name] else None
        for name, one in zip(names, columns, strict=True)
    }
    missing = _missing_values(guessed.values())
    fields = [
        _with_nearly(
            _described(name, column, guessed[name], missing, correction), column, missing, sample
        )
        for name, column in zip(names, columns, strict=True)
    ]
    key, key_note = _primary_key(fields, columns, sample, correction)
    return Description(
        fields=tuple(fields),
        missing_values=missing,
        primary_key=key,
        key_note=key_note,
        prefer=_prefer(fields) if key else None,
        pads_rows=correction.pads_rows,
        undeclared=undeclared,
    )


def _values(texts: pa.ChunkedArray) -> list[str]:
    """The different texts that are not blank."""
    found = pc.unique(texts.drop_null())
    return [value for value in found.to_pylist() if value]


def _undeclared(sample: Sample) -> dict[str, str]:
    """Headers that differ only in case, or are blank, and numbers that pandas adds to rows."""
    folded = Counter(one.header.strip().casefold() for one in sample.columns)
    found = {}
    for one in sample.columns:
        if folded[one.header.strip().casefold()] > 1:
            found[one.header] = "another header differs from it only in case"
        elif not one.header.strip():
            found[one.header] = "it has no name"
        elif _is_pandas_index(one, sample):
            found[one.header] = "the index that pandas wrote; index=False omits it"
    return found


def _is_pandas_index(column: SampledColumn, sample: Sample) -> bool:
    """Whether the column has the numbers of the rows, from 0, and no name of its own."""
    if not re.fullmatch(r"column_1|Unnamed: 0(?:\..*)?|__index_level_0__", column.header):
        return False
    expected = [str(number) for count in sample.row_counts for number in range(count)]
    return bool(column.texts.to_pylist() == expected)


def _described(
    name: str,
    column: SampledColumn,
    guessed: _Guessed | None,
    missing: tuple[str, ...],
    correction: Correction,
) -> DescribedField:
    is_alias = name.casefold() != column.header.strip().casefold()
    aliases = (column.header.strip(),) if is_alias else ()
    present = _present(column.texts, missing)
    notes = []
    found = Field(name="")
    if guessed is None:
        notes.append("blank in the whole sample")
    elif name not in correction.as_text:
        found = guessed[0].field
        notes += [guessed[0].note] if guessed[0].note else []
    values = _values(present)
    is_required = len(values) > 0 and len(present) == len(column.texts) and column.is_everywhere
    if found.type is FieldType.STRING and not notes and (note := enum_note(values, len(present))):
        notes.append(note)
    constraints = Constraints(required=is_required)
    described = replace(found, name=name, aliases=aliases, constraints=constraints)
    return DescribedField(described, column.header, tuple(notes))


def _with_nearly(
    one: DescribedField, column: SampledColumn, missing: tuple[str, ...], sample: Sample
) -> DescribedField:
    """The field, if it is a text, with a comment on what nearly all of its values are."""
    if one.field.type is not FieldType.STRING or one.notes:
        return one
    rows = [
        (row, text)
        for row, text in enumerate(column.texts.to_pylist())
        if text is not None and text not in missing
    ]
    found = nearly([text for _, text in rows], Context(one.field.name))
    if found is None:
        return one
    note = f"{found.note} ({sample.place(rows[found.place][0])})"
    return replace(one, notes=(note,))


def _present(texts: pa.ChunkedArray, missing: tuple[str, ...]) -> pa.ChunkedArray:
    present = texts.drop_null()
    is_missing = pc.is_in(present, value_set=pa.array(missing, pa.large_string()))
    return present.filter(pc.invert(is_missing))


def _missing_values(guessed: Iterable[_Guessed | None]) -> tuple[str, ...]:
    nulls = {null for one in guessed if one is not None for null in one[1]}
    return ("", *sorted(nulls))


def _primary_key(
    fields: Sequence[DescribedField],
    columns: Sequence[SampledColumn],
    sample: Sample,
    correction: Correction,
) -> tuple[tuple[str, ...], str]:
    """The first column that is named like a key and has no value twice, and a comment."""
    possible = {
        one.field.name: column.texts
        for one, column in zip(fields, columns, strict=True)
        if _may_be_key(one.field) and one.field.name not in correction.unindexed
    }
    unique = [name for name, texts in possible.items() if _is_unique(texts, sample.row_counts)]
    named = _named_like_keys(unique)
    if named:
        return (named[0],), "no value occurs twice in an object of the sample"
    for name in _named_like_keys(possible):
        note = _nearly_key(name, possible[name], sample)
        if note:
            return (), note
    if unique:
        shown = " or ".join(f'primaryKey = ["{name}"]' for name in unique[:2])
        return (), f"{shown}: no value occurs twice in an object of the sample"
    return (), "no column identifies a row, so rows belong to their object"


def _named_like_keys(names: Iterable[str]) -> list[str]:
    found = [*names]
    return [name for pattern in _KEY_NAMES for name in found if pattern.fullmatch(name)]


def _nearly_key(name: str, texts: pa.ChunkedArray, sample: Sample) -> str:
    """What keeps a column from being a key, if only few rows do; empty if it is more."""
    first: dict[tuple[int, str], int] = {}
    repeated = []
    row = 0
    for place, count in enumerate(sample.row_counts):
        for text in texts.slice(row, count).to_pylist():
            if first.setdefault((place, text), row) != row:
                repeated.append((text, first[place, text], row))
            row += 1
    if not 0 < len(repeated) <= _MOST_REPEATED * row:
        return ""
    text, earlier, later = repeated[0]
    return (
        f'primaryKey = ["{name}"]: {row - len(repeated):,} of {row:,} values are different; not'
        f' "{safe_value(text)}" ({sample.place(earlier)} and {sample.place(later)})'
    )


def _may_be_key(one: Field) -> bool:
    is_whole = one.type is FieldType.NUMBER and one.sql == "numeric(18,0)"
    return one.constraints.required and (one.type in _KEY_TYPES or is_whole)


def _is_unique(texts: pa.ChunkedArray, row_counts: Sequence[int]) -> bool:
    """Whether no text occurs twice in the rows of one object, of which one has at least two."""
    start = 0
    for count in row_counts:
        rows = texts.slice(start, count)
        if pc.count_distinct(rows, mode="all").as_py() < count:
            return False
        start += count
    return bool(np.max(np.array(row_counts), initial=0) > 1)


def _prefer(fields: Sequence[DescribedField]) -> str | None:
    for one in fields:
        if one.field.type in _ORDERED and _PREFER_NAMES.fullmatch(one.field.name):
            return one.field.name
    return None

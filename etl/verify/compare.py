"""Compare the expected with the current state, and explain each difference."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from etl.model.values import ProblemCode
from etl.verify.difference import Sides, compare_counts, compare_mappings
from etl.verify.expected import ObjectPlace

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from etl.verify.difference import Difference
    from etl.verify.expected import DatasetRows, Expected, StoredRow
    from etl.verify.layout import ObjectColumns
    from etl.verify.tables import ManifestEntry, TableState


def compare_tables(
    expected: Expected,
    manifest: Mapping[ObjectPlace, ManifestEntry],
    found: TableState,
    layouts: Iterable[ObjectColumns],
    source_bucket: str,
) -> list[Difference]:
    """Compare the rows of each dataset, the manifest and the open problems, sorted by name."""
    rows = [
        difference
        for layout in layouts
        for difference in DatasetComparison(
            layout, layout.dataset.bucket or source_bucket, found
        ).compare(expected.datasets[layout.dataset.name], found.datasets[layout.dataset.name])
    ]
    of_objects = _ObjectSides(manifest, found, source_bucket)
    return [
        *rows,
        *compare_mappings(manifest, found.manifest, of_objects.manifest()),
        *compare_counts(
            expected.rejected, found.rejected, of_objects.problems("this rejected row")
        ),
        *compare_counts(
            as_met_first(expected.object_problems, found.object_problems),
            found.object_problems,
            of_objects.problems("this object's problem"),
        ),
    ]


def as_met_first(
    expected: Counter[tuple[str, str, str]], found: Counter[tuple[str, str, str]]
) -> Counter[tuple[str, str, str]]:
    """The expected problems of objects, with the code that the run has found of two faults.

    A run reads JSON while it decodes it, so it may refuse a file as not JSON before it reaches the
    bytes that no encoding has, which are looked for first here.
    """
    alike = Counter(expected)
    for bucket, key, code in expected:
        met = (bucket, key, ProblemCode.NOT_JSON.value)
        if code == ProblemCode.UNDECODABLE and met in found and met not in expected:
            alike[met] = alike.pop((bucket, key, code))
    return alike


class DatasetComparison:
    """Compares the rows of one dataset."""

    def __init__(self, layout: ObjectColumns, bucket: str, found: TableState) -> None:
        self._layout = layout
        self._bucket = bucket
        self._held = found.held
        self._blocked = found.blocked
        self._is_users = layout.dataset.name == "users"

    def compare(self, expected: DatasetRows, found: DatasetRows) -> list[Difference]:
        """Compare live rows by identity, and shadowed ones by object and line."""
        thing = "user" if self._is_users else "row"
        name = self._layout.dataset.name
        live = Sides(
            noun=thing,
            thing=f"this {thing}",
            where="the table" if self._is_users else f"the table of {name}",
            name=identity_name,
            fields=partial(self.fields, expected.columns),
            dataset=lambda _: name,
            is_held=lambda _, *rows: any(map(self._is_kept, rows)),
        )
        shadowed = Sides(
            noun="shadowed",
            thing="this shadowed row",
            where="the table of shadowed rows",
            name=lambda place: self._shadowed_name(place, expected, found),
            fields=partial(self.fields, expected.shadowed_columns),
            dataset=lambda _: name,
            is_held=lambda _, *rows: any(self._is_rival_held(row, expected, found) for row in rows),
        )
        return [
            *compare_mappings(expected.rows, found.rows, live),
            *compare_mappings(expected.shadowed, found.shadowed, shadowed),
        ]

    def held_identities(self, *states: DatasetRows) -> set[tuple[Hashable, ...]]:
        """The identities of rows of held objects."""
        return {
            identity
            for state in states
            for identity, row in state.rows.items()
            if self._is_kept(row)
        }

    def fields(self, columns: tuple[str, ...], row: StoredRow) -> dict[str, object]:
        """The columns of a row by name; those of a user but the id, as /data names them."""
        named = dict(zip(columns, row.values, strict=True))
        prefix = "" if self._is_users else "_"
        if self._is_users:
            del named["user_id"]
        return named | {
            f"{prefix}extra": row.extra,
            f"{prefix}source_key": row.source_key,
            f"{prefix}source_line": row.source_line,
        }

    def _is_kept(self, row: StoredRow | None) -> bool:
        """Whether the row is of a held object, or a foreign key keeps it."""
        if row is None:
            return False
        place = (self._bucket, row.source_key, row.source_line)
        return self._is_held(row) or place in self._blocked

    def _is_held(self, row: StoredRow | None) -> bool:
        return row is not None and ObjectPlace(self._bucket, row.source_key) in self._held

    def _is_rival_held(
        self, row: StoredRow | None, expected: DatasetRows, found: DatasetRows
    ) -> bool:
        """Whether a shadowed row, or the one that it lost to, is of a held object."""
        if row is None:
            return False
        identity = self._identity(row)
        return any(map(self._is_held, (row, expected.rows.get(identity), found.rows.get(identity))))

    def _identity(self, row: StoredRow) -> tuple[Hashable, ...]:
        values: tuple[Any, ...] = row.values
        return tuple(values[place] for place in self._layout.identity_places)

    def _shadowed_name(
        self, place: tuple[str, int], expected: DatasetRows, found: DatasetRows
    ) -> str:
        row = expected.shadowed.get(place) or found.shadowed[place]
        return f"{identity_name(place)} {identity_name(self._identity(row))}"


@dataclass(frozen=True)
class _ObjectSides:
    """How to report differences of objects; those of the source bucket are named by their key."""

    expected: Mapping[ObjectPlace, ManifestEntry]
    found: TableState
    source_bucket: str

    def manifest(self) -> Sides:
        return Sides(
            noun="manifest",
            thing="this object",
            where="the manifest",
            name=lambda place: self._named(*place),
            fields=asdict,
            dataset=lambda entry: entry.dataset,
            is_held=self._is_held,
        )

    def _is_held(
        self, place: ObjectPlace, expected: ManifestEntry | None, _found: ManifestEntry | None
    ) -> bool:
        """Whether the object is held, or stays in the manifest because of its blocked rows."""
        if place in self.found.held:
            return True
        return expected is None and any(row[:2] == place for row in self.found.blocked)

    def problems(self, thing: str) -> Sides:
        return Sides(
            noun="problem",
            thing=thing,
            where="the tables",
            name=lambda item: identity_name((self._named(*item[:2]), *item[2:])),
            fields=dict,
            dataset=lambda item: self._dataset(ObjectPlace(*item[:2])),
            is_held=lambda item: ObjectPlace(*item[:2]) in self.found.held,
        )

    def _named(self, bucket: str, key: str) -> str:
        return key if bucket == self.source_bucket else f"{bucket}/{key}"

    def _dataset(self, place: ObjectPlace) -> str | None:
        entry = self.expected.get(place) or self.found.manifest.get(place)
        return None if entry is None else entry.dataset


def identity_name(parts: Iterable[object]) -> str:
    """The parts of a key or a place, in one text."""
    return " ".join(str(part) for part in parts)

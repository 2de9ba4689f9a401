"""What `up` reports of success: changed rows, changed declarations, and files read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.cli import render
from etl.model.dataset import USERS
from etl.model.safe_text import printable
from etl.sync import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.db.datasets_file import StoredFile
    from etl.model.values import DatasetCounts
    from etl.sync.declared import Declared


@dataclass(frozen=True, slots=True)
class RunChanges:
    """A run that has ended, and what it counted by dataset."""

    id: int
    trigger: str
    datasets: Mapping[str, DatasetCounts]

    def lines(self) -> list[str]:
        """What the run changed, in one line; none if it changed nothing."""
        found = {name: _changes(counts) for name, counts in self.datasets.items()}
        parts = [
            f"{name} {', '.join(found[name])}"
            for name in sorted(found, key=lambda name: (name != USERS.name, name))
            if found[name]
        ]
        return [f"Run {self.id} ({self.trigger}): {'; '.join(parts)}."] if parts else []


class ChangeNews:
    """The runs, declarations and the datasets file reported so far; those given count as such."""

    def __init__(
        self, runs: Iterable[RunChanges], datasets: Declared, file: StoredFile | None
    ) -> None:
        self._reported = {run.id for run in runs}
        self._datasets = datasets
        self._hash = None if file is None else file.hash

    def lines(
        self, runs: Iterable[RunChanges], datasets: Declared, file: StoredFile | None
    ) -> list[str]:
        """A line for each change since the last call."""
        ended = {run.id: run for run in runs}
        new = sorted(ended.keys() - self._reported)
        self._reported = set(ended)
        return [
            *self._read_again(file),
            *self._declared(datasets),
            *(line for number in new for line in ended[number].lines()),
        ]

    def _read_again(self, file: StoredFile | None) -> list[str]:
        if file is None or file.hash == self._hash:
            return []
        self._hash = file.hash
        return [] if file.error else [f"{printable(file.path)} was read again."]

    def _declared(self, datasets: Declared) -> list[str]:
        before, self._datasets = self._datasets, datasets
        former = {sql.dataset.name: sql for sql in before.datasets}
        lines = [
            f"{name}: {line}"
            for name, found in declared.changes(before, datasets.values).items()
            for line in found
        ]
        for sql in datasets.datasets:
            name = sql.dataset.name
            known = former[name].added if name in former else ()
            added = [column for column in sql.added if column not in known]
            if added:
                lines.append(f"{name}: The files added {render.listed(added, 'column')}.")
        return lines


def _changes(counts: DatasetCounts) -> list[str]:
    """What a run did to the rows and objects of a dataset, without zeros."""
    loaded = counts.rows_loaded
    numbers = {
        "loaded": loaded,
        "updated": 0 if loaded else counts.updated,  # only by an attachment
        "restored": counts.restored,
        "retired": counts.retired,
        "shadowed": counts.rows_shadowed,
        "rejected": counts.rows_rejected,
    }
    found = [f"{count} {what}" for what, count in numbers.items() if count]
    objects = {"quarantined": counts.objects_quarantined, "held": counts.objects_held}
    return found + [
        f"{render.counted(count, 'object')} {what}" for what, count in objects.items() if count
    ]

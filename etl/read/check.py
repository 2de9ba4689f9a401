"""What a run would say of one object, without storing anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.values import ObjectState, Problem, Severity
from etl.read.columns import EXTRA
from etl.read.formats import expanded_parts, read_object
from etl.read.limits import DEFAULT_LIMITS, ExpansionLimits
from etl.read.pieces import ObjectValidator
from etl.read.rows.extract import refused_extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.rows.extract import Extract
    from etl.read.rows.layout import AddedColumns

_MOST_NAMES = 100


@dataclass(frozen=True)
class Checked:
    """The outcome of an object: its rows and its problems, at most 1,000 of them of rows.

    `kept` are names of columns that are not declared, whose cells go to _extra, and `added` those
    that the table gets: at most about 100 of each.
    """

    state: ObjectState = ObjectState.LOADED
    rows_read: int = 0
    rows_rejected: int = 0
    problems: list[Problem] = field(default_factory=list)
    kept: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def has_errors(self) -> bool:
        """Whether a row or the whole object is rejected."""
        return any(one.severity is Severity.ERROR for one in self.problems)


def check_object(  # noqa: PLR0913 - all that decides what a run says
    source: SourceObject,
    dataset: Dataset,
    parts: Callable[[], Iterable[bytes]],
    today: date,
    *,
    added: AddedColumns | None = None,
    limits: ExpansionLimits = DEFAULT_LIMITS,
) -> Checked:
    """Read the object as data of the dataset, in constant memory.

    `parts` starts to read its bytes. `today` is the latest valid birthdate, and `added` are the
    columns that files have added to the table.
    """
    try:
        expanded = expanded_parts(source, dataset, parts(), limits)
        extracts = read_object(source, dataset, added, expanded)
        return _Check(source, dataset, today).take(extracts)
    except RefusedObject as refused:
        return _Check(source, dataset, today).take([refused_extract(source, dataset, refused)])


class _Check:
    """Collects the problems of one object."""

    def __init__(self, source: SourceObject, dataset: Dataset, today: date) -> None:
        self._validator = ObjectValidator(source, dataset, today)
        self._problems: list[Problem] = []
        self._kept: dict[str, None] = {}
        self._added: dict[str, None] = {}

    def take(self, extracts: Iterable[Extract]) -> Checked:
        for extract in extracts:
            found = self._validator.validate(extract)
            if found.rejects_object:
                self._problems = []
            self._problems += found.problems
            self._take_columns(extract)
        whole = self._validator
        rows_read, rows_rejected, _ = whole.figures
        problems = [*self._problems, *whole.object_problems()]
        kept, added = tuple(self._kept), tuple(self._added)
        return Checked(whole.state, rows_read, rows_rejected, problems, kept, added)

    def _take_columns(self, extract: Extract) -> None:
        if len(self._added) < _MOST_NAMES:
            self._added |= dict.fromkeys(extract.added)
        for text in extract.rows[EXTRA].drop_null().to_pylist():
            if len(self._kept) >= _MOST_NAMES:  # each row of NDJSON may have others
                break
            self._kept |= dict.fromkeys(json.loads(text))

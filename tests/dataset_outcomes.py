"""What both readers, that of runs and that of verify, make of a file of any dataset.

The values that a run writes as COPY text are parsed by the types of their columns.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from etl.model.dataset import Dataset, FieldType
from etl.model.values import Change, ChangeKind, SourceFile
from etl.sync import batch, stream
from etl.sync.batch import Batch, Fetched
from etl.sync.reading import BucketReading
from etl.verify.documents import stored_document, stored_members
from etl.verify.expected import Expected, identical
from etl.verify.layout import ObjectColumns
from etl.verify.numbers import is_single, single
from etl.verify.reader import read
from tests.reader_outcomes import TODAY, SplittingStore, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from etl.storage.client import ObjectStore
    from etl.sync.reading import StagedObject

_CELL = re.compile(r'"((?:[^"]|"")*)"|([^,\n]*)', re.DOTALL)
_READ: dict[FieldType, Callable[[str], object]] = {
    FieldType.INTEGER: lambda text: int(Decimal(text)),
    FieldType.BOOLEAN: {"true": True, "false": False}.__getitem__,
    FieldType.DATE: date.fromisoformat,
    FieldType.TIME: time.fromisoformat,
    FieldType.DATETIME: lambda text: datetime.fromisoformat(text).astimezone(UTC),
    FieldType.YEAR: int,
    FieldType.EPOCH_MS: int,
    FieldType.OBJECT: stored_document,
    FieldType.ARRAY: stored_document,
    FieldType.ANY: stored_document,
}


@dataclass
class DatasetOutcome:
    """The result of reading one object.

    Shapes:  rows by line: the values by column, with `_extra`; problems (line, code) with their
             counts; line is None for a problem of the object.
    """

    state: str
    rows_read: int
    rows_rejected: int
    rows: dict[int, dict[str, object]] = field(default_factory=dict)
    problems: Counter[tuple[int | None, str]] = field(default_factory=Counter)


def expected_of(
    dataset: Dataset, key: str, content: bytes, added: tuple[str, ...] = ()
) -> DatasetOutcome:
    """The result that verify expects."""
    layout = ObjectColumns(dataset, added)
    reading = read(content, layout, key, TODAY)
    expected = Expected(object_problems=Counter(("b", key, code) for code in reading.faults))
    problems: Counter[tuple[int | None, str]] = Counter(reading.rejected)
    problems.update({(None, code): count for code, count in reading.faults.items()})
    rows = {}
    for row in reading.rows:
        values = dict(zip(layout.names, map(identical, row.values), strict=True))
        rows[row.line] = _without_nulls(values | (row.added or {}) | {"_extra": row.extra})
    return DatasetOutcome(
        "quarantined" if expected.quarantined() else "loaded",
        len(reading.rows) + reading.rows_rejected,
        reading.rows_rejected,
        rows,
        problems,
    )


def found_of(
    dataset: Dataset, key: str, content: bytes, added: tuple[str, ...] = ()
) -> DatasetOutcome:
    """The result of a run that reads the object with others."""
    reading = BucketReading.of((dataset,), "bucket", TODAY, {dataset.name: added})
    change = Change(ChangeKind.ADDED, source_of(key, content))
    fetched = Fetched([change], {key: SourceFile(change.source, content)})
    return _outcome(dataset, stream.read(_NO_STORE, reading, fetched))


def found_in_parts(
    dataset: Dataset,
    key: str,
    content: bytes,
    cuts: Iterable[int],
    added: tuple[str, ...] = (),
) -> DatasetOutcome:
    """The result of a run that reads the object alone, in parts that end at the cuts."""
    reading = BucketReading.of((dataset,), "bucket", TODAY, {dataset.name: added})
    change = Change(ChangeKind.ADDED, source_of(key, content))
    ends = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    store = cast("ObjectStore", SplittingStore(content, ends))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "MAX_BYTES", -1)
        return _outcome(dataset, stream.read(store, reading, Fetched([change], {})))


_NO_STORE = cast("ObjectStore", None)


def _outcome(dataset: Dataset, batches: Iterable[Batch]) -> DatasetOutcome:
    """What the batches of one object leave in staging."""
    rows: dict[int, dict[str, object]] = {}
    problems: Counter[tuple[int | None, str]] = Counter()
    staged: list[StagedObject] = []
    for each in batches:
        if each.discards is not None:
            rows.clear()
            if not each.discards.keeps_problems:
                problems.clear()
        rows |= _rows(dataset, each)
        problems.update((problem.line, str(problem.code)) for problem in each.problems)
        staged += each.objects
    (one,) = staged
    return DatasetOutcome(one.state, one.rows_read, one.rows_rejected, rows, problems)


def _rows(dataset: Dataset, done: Batch) -> Iterator[tuple[int, dict[str, object]]]:
    if not done.rows:
        return
    types = {one.name: one for one in dataset.fields}
    for columns, text in done.rows[dataset.name].texts:
        for cells in records_of(text.decode(), len(columns)):
            named = dict(zip(columns, cells, strict=True))
            line, extra = named.pop("_source_line"), named.pop("_extra")
            assert named.pop("_source_key")
            assert line
            values: dict[str, object] = {
                name: None if text is None else stored_value(types.get(name), text)
                for name, text in named.items()
            }
            values["_extra"] = stored_members(extra)
            yield int(line), _without_nulls(values)


def stored_value(one: Any, text: str) -> object:  # noqa: ANN401
    """The value of a field that PostgreSQL reads from the text of a COPY."""
    if one is None or one.type is FieldType.STRING:
        return text
    if one.type is FieldType.NUMBER:
        if is_single(one):
            return identical(single(float(text)))
        return identical(float(text)) if one.sql == "double precision" else Decimal(text)
    return _READ[one.type](text)


def records_of(text: str, width: int) -> Iterator[Sequence[str | None]]:
    """The cells of COPY text, in which every text is in quotes and no null is."""
    at = 0
    while at < len(text):
        cells: list[str | None] = []
        for _ in range(width):
            found = _CELL.match(text, at)
            assert found is not None
            quoted, plain = found.groups()
            cells.append(plain or None if quoted is None else quoted.replace('""', '"'))
            at = found.end() + 1
        yield cells


def _without_nulls(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}

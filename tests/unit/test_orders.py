"""A declared dataset from bytes to COPY text: values, and the line of every fault."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import chain

import pytest

from etl.model.dataset import Dataset
from etl.model.values import Change, ChangeKind, ObjectState, SourceFile, SourceObject
from etl.sync import batch, stream
from etl.sync.batch import Batch, Fetched
from etl.sync.reading import BucketReading
from tests.orders_data import FAULTS, ORDERS, orders_file
from tests.planted import PlantedFile
from tests.reader_outcomes import SplittingStore

KEY = "orders/2024/1.csv"
TODAY = date(2026, 1, 1)


def source(content: bytes) -> SourceObject:
    return SourceObject(KEY, "etag", len(content), datetime(2026, 1, 1, tzinfo=UTC))


def read_whole(content: bytes, dataset: Dataset = ORDERS) -> Batch:
    reading = BucketReading.of((dataset,), "bucket", TODAY)
    file = SourceFile(source(content), content)
    change = Change(ChangeKind.ADDED, file.source)
    return batch.check(Fetched([change], {KEY: file}), reading)


def read_in_parts(content: bytes, part: int, dataset: Dataset = ORDERS) -> list[Batch]:
    reading = BucketReading.of((dataset,), "bucket", TODAY)
    change = Change(ChangeKind.ADDED, source(content))
    store = SplittingStore(content, [*range(0, len(content), part), len(content)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "MAX_BYTES", 1)
        return list(stream.read(store, reading, Fetched([change], {})))  # type: ignore[arg-type]


def values(done: Batch) -> dict[int, tuple[object, ...]]:
    """The staged rows by line, with the types that PostgreSQL gives them."""
    found: dict[int, tuple[object, ...]] = {}
    for columns, text in chain(*(rows.texts for rows in done.rows.values())):
        for row in csv.DictReader(io.StringIO(text.decode(), newline=""), columns):
            amount, moment = row["amount"], row["updated_at"]
            found[int(row["_source_line"])] = (
                row["order_id"],
                row["user_id"],
                Decimal(amount) if amount else None,
                row["status"] or None,
                datetime.fromisoformat(moment) if moment else None,
            )
    return found


def problems(done: list[Batch]) -> set[tuple[int | None, str | None, str]]:
    return {(p.line, p.column, p.code.value) for one in done for p in one.problems}


def test_every_value_is_read_exactly():
    made = orders_file(2_000)
    done = read_whole(made.content)
    assert values(done) == made.rows
    assert problems([done]) == made.problems
    (entry,) = done.objects
    assert (entry.dataset, entry.rows_read, entry.rows_rejected) == ("orders", 2_000, 0)


def faulty() -> PlantedFile:
    return orders_file(600, fault_every=12)


def test_every_planted_fault_is_found_on_its_line():
    made = faulty()
    done = read_whole(made.content)
    assert made.planted.keys() == {kind.raw for kind in FAULTS}
    assert problems([done]) == made.problems
    assert values(done) == made.rows
    (entry,) = done.objects
    assert (entry.rows_read, entry.rows_rejected) == (made.rows_read, len(made.rejected))


@pytest.mark.parametrize("part", [100, 1_000, 9_999])
def test_parts_of_any_size_give_the_same_rows_and_problems(part: int):
    made = faulty()
    batches = read_in_parts(made.content, part)
    assert len(batches) > 2
    found: dict[int, tuple[object, ...]] = {}
    for done in batches:
        found |= values(done)
    assert found == made.rows
    assert problems(batches) == made.problems
    (entry,) = batches[-1].objects
    assert (entry.state, entry.rows_read) == (ObjectState.LOADED, made.rows_read)


def test_an_object_with_too_many_faults_is_refused_whole():
    made = orders_file(60, fault_every=6)
    assert len(made.rejected) == 10  # of 70
    for batches in ([read_whole(made.content)], read_in_parts(made.content, 500)):
        (entry,) = batches[-1].objects
        assert entry.state is ObjectState.QUARANTINED
        assert (entry.rows_read, entry.rows_rejected) == (70, 70)
        assert problems(batches) == made.problems | {(None, None, "too-many-faults")}
        (note,) = (p.note for one in batches for p in one.problems if p.code == "too-many-faults")
        assert note.startswith("10 of 70 rows are faulty, more than the 10% that orders allows")
    assert batches[-1].discards == ("orders", KEY, True)
    assert not batches[-1].rows


def test_an_object_that_is_refused_before_its_rows_discards_nothing():
    batches = read_in_parts(b"PAR1" + bytes(20_000), 9_999)
    assert problems(batches) == {(None, None, "wrong-format")}
    assert [one.discards for one in batches] == [None] * len(batches)


@pytest.mark.parametrize(("limit", "is_refused"), [(Fraction(1, 7), False), (Fraction(1, 8), True)])
def test_exactly_the_allowed_share_of_faults_is_loaded(limit: Fraction, is_refused: bool):  # noqa: FBT001
    made = orders_file(60, fault_every=6)
    dataset = replace(ORDERS, refuse_object_above=limit)
    for batches in ([read_whole(made.content, dataset)], read_in_parts(made.content, 500, dataset)):
        states = {ObjectState.QUARANTINED} if is_refused else {ObjectState.LOADED}
        assert {entry.state for one in batches for entry in one.objects} == states

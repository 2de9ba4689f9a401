"""Empty objects: data of a dataset is read, and has a problem; any other is a folder marker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from etl.model.dataset import USERS, Dataset, Field
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket
from tests.integration.test_partial_runs import notify

LINES = Dataset(name="lines", table="lines", include=("lines/**",), fields=(Field(name="line"),))
KEYS = ("lines/1.csv", "lines/2.tsv", "lines/3.txt", "lines/part-0000")
DECLARED = {
    "by suffix": (LINES, KEYS[:2]),
    "as csv": (replace(LINES, format="csv"), KEYS),
    "as tsv": (replace(LINES, format="tsv"), KEYS),
}


@pytest.mark.parametrize("by_events", [False, True], ids=["listed", "named by events"])
@pytest.mark.parametrize("declared", DECLARED)
def test_every_object_is_read_or_ignored(
    bucket: TestBucket, settings: Settings, engine: Engine, declared: str, *, by_events: bool
):
    dataset, read = DECLARED[declared]
    manager = DataManager(settings, datasets=(dataset, USERS))
    for key in (*KEYS, "folder/", "folder/marker", "1.csv"):
        bucket.put(key, "")
    if by_events:
        notify(engine, bucket, *KEYS, "folder/marker", "1.csv")
    report = manager.run_events() if by_events else manager.run(Trigger.CLI)
    assert report is not None
    counts = report.counts
    assert counts.objects_added == len(read) + 1
    assert counts.objects_listed == counts.objects_added + counts.objects_ignored
    with engine.connect() as connection:
        found = connection.execute(text("SELECT key, code FROM problem ORDER BY key")).all()
    assert [tuple(row) for row in found] == [(key, "empty-file") for key in ("1.csv", *read)]
    assert list(verify(settings, engine, datasets=(dataset, USERS))) == []


def test_object_that_becomes_a_marker_is_removed(bucket: TestBucket, settings: Settings):
    manager = DataManager(settings, datasets=(replace(LINES, format="csv"), USERS))
    bucket.put("lines/part", "line\na\n")
    bucket.put("other", "x")
    assert manager.run(Trigger.CLI).dataset_counts["lines"].live == 1
    for key in ("lines/part", "other"):
        bucket.put(key, "")
    report = manager.run(Trigger.CLI)
    assert (report.counts.objects_modified, report.counts.objects_removed) == (1, 1)
    assert report.dataset_counts["lines"].live == 0
    assert manager.run(Trigger.CLI).counts.objects_changed == 0

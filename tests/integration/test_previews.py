"""Previews report what a run would change, and keep nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from etl.local.postgres_binaries import find_binaries
from etl.model.dataset import USERS, Dataset, Field, UnknownColumns
from etl.model.errors import ConfigurationError, EtlError, RebuildRefused
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync import batch
from etl.sync.manager import DataManager
from etl.sync.preview import Previewed
from tests.conftest import TestBucket
from tests.integration.test_changed_declarations import GOODS, without
from tests.integration.test_partial_runs import ALL, ITEMS, LOG, put_all
from tests.integration.test_rebuilds import CHANGES, indexed, rebuild
from tests.stores import PRECISE_TIMES

Query = Callable[[str], list[tuple[Any, ...]]]
Preview = Callable[..., Previewed]

FREE = replace(ITEMS, unknown_columns=UnknownColumns.ADD)


@pytest.fixture
def dump(settings: Settings) -> Callable[[], str]:
    """The whole database as text: tables, indexes, sequences and rows."""
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    command = [find_binaries().folder / "pg_dump", url.render_as_string(hide_password=False)]

    def take() -> str:
        printed = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = printed.stdout.splitlines()
        return "\n".join(line for line in lines if "restrict " not in line)  # random each time

    return take


@pytest.fixture
def preview(settings: Settings, dump: Callable[[], str]) -> Preview:
    """Preview a run of the datasets; nothing of it may remain."""

    def ask(
        *datasets: Dataset,
        only: frozenset[str] | None = None,
        allowed: dict[str, None] | None = None,
        rebuilt: str | None = None,
    ) -> Previewed:
        before = dump()
        manager = DataManager(settings, datasets=datasets or None)
        found = manager.preview(only=only, allowed_retirements=allowed, rebuilt=rebuilt)
        assert dump() == before
        return found

    return ask


@pytest.fixture
def run(settings: Settings) -> Callable[..., dict[str, Any]]:
    def make(*datasets: Dataset) -> dict[str, Any]:
        return DataManager(settings, datasets=datasets or None).run(Trigger.CLI).dataset_counts

    return make


Run = Callable[..., dict[str, Any]]


def test_a_preview_tells_what_the_next_run_does(bucket: TestBucket, preview: Preview, run: Run):
    put_all(bucket, 1)
    bucket.put("items/2.csv", "id,n\nc,1\nd,1\n")
    run(*ALL)
    bucket.put("items/1.csv", "id,n\na,2\nb,x\nd,3\n")
    bucket.put("items/0.csv", "id,n\nnew,1\n")
    bucket.remove("items/2.csv")
    bucket.remove("log/1.csv")
    found = preview(*ALL)
    assert found.failures == {}
    assert found.keys["items"] == {
        "inserted": [["new"]],
        "updated": [["a"], ["d"]],
        "restored": [],
        "retired": [["b"], ["c"]],
        "shadowed": [],
    }
    assert found.keys["log"]["retired"] == [["log/1.csv", 2]]
    assert not any(found.changes.values())
    assert run(*ALL) == dict(found.counts)


@pytest.mark.parametrize("datasets", [(), ALL], ids=["users only", "declared"])
def test_the_first_command_may_be_a_preview(
    bucket: TestBucket, preview: Preview, run: Run, datasets: tuple[Dataset, ...]
):
    put_all(bucket, 1)
    bucket.put("items/2.csv", "id,n\nb,x\nc,3\n")
    found = preview(*datasets)
    assert found.changes == {
        one.name: [f"New: the table {one.table}."] for one in datasets or (USERS,)
    }
    if datasets:
        items = found.counts["items"]
        assert (items.rows_read, items.rows_rejected, items.inserted) == (4, 1, 3)
        assert found.keys["items"]["inserted"] == [["a"], ["b"], ["c"]]
    assert run(*datasets) == dict(found.counts)


def test_a_preview_of_a_first_load_lists_the_first_keys(bucket: TestBucket, preview: Preview):
    rows = "".join(f"k{n:05},{n}\n" for n in range(12_000))
    bucket.put("items/1.csv", f"id,n\n{rows}")
    found = preview(*ALL)
    assert found.counts["items"].inserted == 12_000
    assert found.keys["items"]["inserted"] == [[f"k{n:05}"] for n in range(20)]


def test_a_preview_tells_what_would_be_held(bucket: TestBucket, preview: Preview, run: Run):
    bucket.put("items/1.csv", "id,n\n" + "".join(f"{n},1\n" for n in range(150)))
    run(*ALL)
    bucket.remove("items/1.csv")
    assert preview(*ALL).counts["items"].objects_held == 1
    allowed = preview(*ALL, allowed={"items": None})
    assert allowed.counts["items"].retired == 150


@pytest.mark.store(PRECISE_TIMES)
def test_a_preview_counts_the_rows_with_columns_that_the_data_add(
    bucket: TestBucket, preview: Preview, run: Run
):
    bucket.put("items/1.csv", "id,n\na,1\nb,2\n")
    run(FREE, USERS)
    bucket.put("items/2.csv", "id,n,more\nc,1,x\n")
    bucket.put("items/3.csv", "id,n,color,more\na,1,red,y\n")
    found = preview(FREE, USERS)
    assert found.changes["items"] == ["The data add columns: color, more."]
    assert (found.counts["items"].inserted, found.counts["items"].updated) == (1, 1)
    assert run(FREE, USERS) == dict(found.counts)


def test_a_preview_reads_by_the_changed_declaration(bucket: TestBucket, preview: Preview, run: Run):
    """A new column, another pattern, a dataset that is gone and one that is left out."""
    put_all(bucket, 1)
    bucket.put("items/2.csv", "id,n,size\nc,1,L\n")
    bucket.put("more/3.csv", "id,n\nd,1\n")
    run(*ALL)
    include = (*ITEMS.include, "more/*.csv")
    sized = replace(
        ITEMS, include=include, fields=(*ITEMS.fields, Field(name="size")), indexes=(("size",),)
    )
    found = preview(sized, USERS)
    assert found.changes["items"][0] == "The column size is new."
    assert found.changes["log"] == ["No longer declared; its table log stays as it is."]
    assert (found.counts["items"].inserted, found.counts["items"].updated) == (1, 1)
    assert preview(sized, USERS, only=frozenset({"users"})).counts["items"].changed == 0
    assert run(sized, USERS) == dict(found.counts)


@pytest.mark.store(PRECISE_TIMES)
def test_a_preview_retires_what_left_while_the_dataset_was_not_declared(
    bucket: TestBucket, preview: Preview, run: Run
):
    bucket.put("items/1.csv", "id,n\na,1\nb,2\n")
    bucket.put("items/2.csv", "id,n\nb,2\nc,3\n")
    run(ITEMS)
    run(LOG)
    bucket.remove("items/2.csv")
    found = preview(ITEMS).counts["items"]
    assert (found.retired, found.updated) == (1, 1)
    made = run(ITEMS)["items"]
    assert (made.retired, made.updated, made.live) == (1, 1, found.live)


def test_a_preview_names_the_datasets_that_could_not_be_installed(
    bucket: TestBucket, preview: Preview, run: Run, engine: Engine
):
    put_all(bucket, 1)
    run(LOG, USERS)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.items (id text)"))
    bucket.put("log/2.csv", "line\n2\n")
    found = preview(*ALL)
    assert "did not create" in found.failures["items"].message
    assert "items" not in found.counts
    assert found.counts["log"].inserted == 1


def test_a_preview_that_fails_leaves_nothing(
    bucket: TestBucket, settings: Settings, dump: Callable[[], str]
):
    put_all(bucket, 1)
    manager = DataManager(settings, datasets=ALL)

    def fail(_step: str, _done: int) -> None:
        raise EtlError("stopped")

    before = dump()
    with pytest.raises(EtlError, match="stopped"):
        DataManager(settings, datasets=ALL, progress=fail).preview()
    assert dump() == before
    assert manager.run(Trigger.CLI).dataset_counts["items"].live == 2


def test_a_preview_reads_huge_objects_by_the_changed_declaration(
    bucket: TestBucket, preview: Preview, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch, "MAX_BYTES", 1_000)
    rows = "".join(f"k{number:03},{number},s\n" for number in range(300))
    bucket.put("items/1.csv", f"id,n,size\n{rows}")
    run(ITEMS, USERS)
    sized = replace(ITEMS, fields=(*ITEMS.fields, Field(name="size")))
    found = preview(sized, USERS)
    assert found.failures == {}
    assert found.counts["items"].updated == 300
    assert run(sized, USERS)["items"].updated == 300


# -- of rebuilds


@pytest.fixture
def goods(bucket: TestBucket) -> TestBucket:
    bucket.put("goods/a/1.csv", "id,code,price,state,born\na,1234,1.50,new,0\nb,,2,old,86400000\n")
    bucket.put("goods/b/2.csv", "id,code,price,state,color\nc,56,3,new,red\nd,0x,3.25,gone,blue\n")
    bucket.put("goods/c/3.csv", "id,code,price,state,color\na,99,7,new,red\ne,7,8,old,red\n")
    bucket.put("photos/a.png", "x")
    return bucket


@pytest.mark.parametrize(
    "name",
    [
        "no change",
        "another type",
        "another table",
        "no key",
        "a key that many rows share",
        "a key that rows lack",
        "another attachment",
        "everything at once",
    ],
)
def test_a_preview_tells_what_a_rebuild_does(
    goods: TestBucket, preview: Preview, run: Run, settings: Settings, *, name: str
):
    before, after = map(indexed, CHANGES[name])
    run(before, USERS)
    goods.remove("goods/b/2.csv")
    goods.put("goods/d/4.csv", "id,code,price,state\nf,1,1,new\nf,2,2,new\n")
    other = replace(LOG, include=("other/*.csv",))  # has no table yet
    found = preview(after, other, USERS, rebuilt="goods")
    done = rebuild(settings, after, other, USERS)
    assert found.failures == {}
    assert found.changes == {"goods": done.notes}
    assert found.counts == {"goods": done.report.dataset_counts["goods"]}
    counts = found.counts["goods"]
    assert len(found.keys["goods"]["inserted"]) == counts.inserted
    assert len(found.keys["goods"]["shadowed"]) == counts.rows_shadowed


@pytest.mark.usefixtures("goods")
def test_a_preview_of_a_rebuild_blocks_no_reader_and_no_writer(
    run: Run, settings: Settings, engine: Engine
):
    """Not even while others use the tables."""
    run(GOODS, USERS)
    changed = indexed(without("code"))
    with engine.begin() as reader:
        reader.execute(text("LOCK TABLE goods, goods_retired, goods_shadowed IN SHARE MODE"))
        found = DataManager(settings, datasets=(changed, USERS)).preview(rebuilt="goods")
    assert found.changes["goods"][0] == "The column code is no longer declared."


def test_a_preview_of_a_rebuild_refuses_what_the_rebuild_refuses(
    goods: TestBucket, preview: Preview, run: Run, engine: Engine
):
    lines = "".join(f"g{number},s\n" for number in range(300))
    goods.put("goods/1.csv", "id,state\n" + lines)
    run(GOODS, USERS)
    with pytest.raises(RebuildRefused, match="would retire 301 of 305 rows and leave 4"):
        preview(indexed(replace(GOODS, primary_key=("state",))), USERS, rebuilt="goods")
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW public.codes AS SELECT code FROM goods"))
    with pytest.raises(ConfigurationError, match="Other objects depend on"):
        preview(indexed(without("code")), USERS, rebuilt="goods")

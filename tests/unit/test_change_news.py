"""The changes that `up` reports: one line per run that changed something, and declarations."""

from __future__ import annotations

from dataclasses import replace

from etl.cli.change_news import ChangeNews, RunChanges
from etl.db.dataset_sql import DatasetSql
from etl.db.datasets_file import StoredFile
from etl.model.dataset import USERS
from etl.model.values import DatasetCounts
from etl.sync.declared import Declared

ORDERS = replace(USERS, name="orders", table="orders")
FAULT = {"message": "datasets.toml has 1 fault.", "hint": "Correct it."}


def run(number: int, **datasets: DatasetCounts) -> RunChanges:
    return RunChanges(number, "event", datasets)


def declared(*sqls: DatasetSql) -> Declared:
    return Declared((DatasetSql(USERS, "public"), *sqls))


def test_a_run_that_changed_something_is_one_line():
    news = ChangeNews([run(7, sales=DatasetCounts(rows_loaded=1))], declared(), None)
    loaded = DatasetCounts(objects_added=1, rows_loaded=597, inserted=597, rows_rejected=2, live=9)
    runs = [
        run(9, readings=DatasetCounts(live=5), users=DatasetCounts(updated=3, live=9)),
        run(8, sales=loaded, readings=DatasetCounts(retired=4, objects_quarantined=1)),
        run(7, sales=loaded),
    ]
    assert news.lines(runs, declared(), None) == [
        "Run 8 (event): readings 4 retired, 1 object quarantined; sales 597 loaded, 2 rejected.",
        "Run 9 (event): users 3 updated.",
    ]
    assert news.lines(runs, declared(), None) == []


def test_a_run_without_changes_is_not_reported():
    unchanged = DatasetCounts(rows_read=4, rows_unchanged=4, live=9, attached=3)
    assert ChangeNews([], declared(), None).lines([run(1, users=unchanged)], declared(), None) == []


def test_created_tables_and_added_columns_are_reported_once():
    news = ChangeNews([], declared(), None)
    orders = declared(DatasetSql(ORDERS, "public"))
    assert news.lines([], orders, None) == ["orders: New: the table orders."]
    assert news.lines([], orders, None) == []
    wider = declared(DatasetSql(ORDERS, "public", ("channel", "discount")))
    assert news.lines([], wider, None) == [
        "orders: The files added the columns channel and discount."
    ]
    assert news.lines([], declared(), None) == [
        "orders: No longer declared; its table orders stays as it is."
    ]


def test_each_valid_version_of_the_datasets_file_is_one_line():
    first, second = StoredFile("d.toml", "1", None), StoredFile("d.toml", "2", None)
    news = ChangeNews([], declared(), first)
    assert news.lines([], declared(), first) == []
    assert news.lines([], declared(), replace_error(second)) == []
    assert news.lines([], declared(), first) == ["d.toml was read again."]
    assert news.lines([], declared(), second) == ["d.toml was read again."]
    assert news.lines([], declared(), second) == []


def replace_error(file: StoredFile) -> StoredFile:
    return file._replace(error=FAULT)

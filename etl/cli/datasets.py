"""`datasets`: list, check and install what datasets.toml declares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from etl.cli import render
from etl.cli.common import (
    InOrder,
    database,
    print_report,
    stdout_console,
)
from etl.cli.datasets_apply import apply_command
from etl.cli.datasets_check import check_command
from etl.cli.datasets_describe import describe_command
from etl.model.dataset import USERS
from etl.model.declaration import compare
from etl.settings import read_settings
from etl.settings.declared import file_datasets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from etl.cli.render import Lines
    from etl.db.dataset_sql import DatasetSql
    from etl.model.dataset import Dataset
    from etl.settings import Settings


@click.group("datasets", cls=InOrder)
def datasets_group() -> None:
    """List, guess, check and install the datasets of datasets.toml."""


@datasets_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_command(*, as_json: bool) -> None:
    """List the datasets with table, bucket, patterns, rows, open problems and holds."""
    datasets = file_datasets(read_settings())
    with database() as (settings, connection):
        found = _listed(connection, settings, datasets)
    print_report(found, _table, as_json=as_json, to=stdout_console())


def _listed(
    connection: Connection, settings: Settings, datasets: Sequence[Dataset] | None
) -> list[dict[str, Any]]:
    """The declared datasets in their order, then those that only the database still has.

    Without a file, those that the database has are the declared ones.
    """
    from etl.cli.status import dataset_counts, holds
    from etl.db.engine import schemas_of
    from etl.db.installed import installed

    known = {
        sql.dataset.name: sql for sql in installed(connection, schemas_of(connection.engine).data)
    }
    held = {one["dataset"]: one for one in holds(connection)}
    if datasets is None:
        datasets = [sql.dataset for sql in known.values()] or [USERS]
    declared = {one.name: one for one in datasets}
    every = declared | {name: sql.dataset for name, sql in known.items() if name not in declared}
    found = []
    for name, dataset in every.items():
        sql = known.get(name)
        counts = {} if sql is None else dataset_counts(connection, sql)
        found.append(
            {
                "name": name,
                "table": dataset.table,
                "bucket": dataset.bucket or settings.source_bucket,
                "include": dataset.include,
                "exclude": dataset.exclude,
                "state": _state(connection, sql, declared.get(name)),
                "rows": counts.get("live"),
                "problems": counts.get("problems"),
                "hold": held.get(name),
            }
        )
    return found


def _state(connection: Connection, former: DatasetSql | None, declared: Dataset | None) -> str:
    if former is None:
        return "not installed"
    if declared is None:
        return "not declared"
    if former.dataset != declared:
        return "needs a rebuild" if _needs_rebuild(connection, former, declared) else "changed"
    return "paused" if declared.is_paused else "installed"


def _needs_rebuild(connection: Connection, former: DatasetSql, declared: Dataset) -> bool:
    from etl.sync.declared import can_be_reshaped, refused

    is_refused = refused(compare(former.dataset, declared), declared.name) is not None
    sql = replace(former, dataset=declared, added=())
    return is_refused and not can_be_reshaped(connection, former, sql)


def _table(found: Sequence[dict[str, Any]]) -> Lines:
    columns = ("name", "table", "bucket", "patterns", "state", "rows", "problems", "held")
    table = Table(*columns, box=None)
    for one in found:
        patterns = [*one["include"], *(f"not {pattern}" for pattern in one["exclude"])]
        held = "" if one["hold"] is None else str(one["hold"]["rows"])
        numbers = ["" if one[name] is None else str(one[name]) for name in ("rows", "problems")]
        cells = [one["name"], one["table"], one["bucket"], " ".join(patterns), one["state"]]
        table.add_row(*map(Text, [*cells, *numbers, held]))
    return [table, *render.holds([one["hold"] for one in found if one["hold"] is not None])]


datasets_group.add_command(describe_command)
datasets_group.add_command(check_command)
datasets_group.add_command(apply_command)

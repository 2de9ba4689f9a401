"""Install the declared datasets at once, and drop one that is no longer declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db import dataset_tables, tallies
from etl.db.dataset_sql import DatasetSql
from etl.db.engine import connect_unpooled, schemas_of, translating
from etl.db.locks import run_lock
from etl.db.sql import statements
from etl.model.dataset import USERS, Dataset
from etl.model.declaration import compare
from etl.model.errors import ConfigurationError
from etl.sync import declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.model.errors import EtlError
    from etl.settings import Settings

Changes = dict[str, list[str]]

_RESHAPED = "Its tables have no rows, so they get their new shape without a rebuild."


def apply(
    settings: Settings,
    datasets: Sequence[Dataset] | None,
    *,
    wait_seconds: float = 0,
    dry_run: bool = False,
) -> tuple[Changes, dict[str, EtlError]]:
    """Install the datasets; return what changed by dataset, in sentences, and the failures.

    None: the installed ones stay; before the first run, that is users. A dry run changes nothing.

    Raises:  RunAlreadyActive when a run holds the lock after `wait_seconds`.
    """
    engine = connect_unpooled(settings)
    with run_lock(engine, wait_seconds=wait_seconds) as connection, translating():
        schema = schemas_of(engine).data
        before = declared.load(connection, schema)
        connection.commit()
        wanted = tuple(before.values or (USERS,) if datasets is None else datasets)
        one = declared.Declarations(schema, settings.source_bucket, wanted)
        install = one.planned if dry_run else one.install
        failures = dict(install(connection).failures)
    changes = declared.changes(before, wanted)
    former = {one.name: one for one in before.values}
    for dataset in wanted:
        is_installed = dataset.name not in failures
        if is_installed and _needs_shape(former.get(dataset.name, dataset), dataset):
            changes[dataset.name].append(_RESHAPED)
    return changes, failures


def planned(settings: Settings, datasets: Sequence[Dataset]) -> tuple[Changes, dict[str, EtlError]]:
    """What `apply` would change in installed datasets and why it would refuse some, by name.

    Found without a lock or a change. It does not find tables that another program altered.
    """
    engine = connect_unpooled(settings)
    changes: Changes = {}
    found: dict[str, EtlError] = {}
    with translating(), engine.connect() as connection:
        schema = schemas_of(engine).data
        known = {one.dataset.name: one for one in declared.load(connection, schema).datasets}
        for dataset in datasets:
            sql = DatasetSql(dataset, schema)
            former = known.get(dataset.name, sql)
            compared = compare(former.dataset, dataset)
            sentences = [one.sentence for one in compared]
            refusal = declared.refused(compared, dataset.name)
            if declared.can_be_reshaped(connection, former, sql):
                refusal = None
                sentences.append(_RESHAPED)
            try:
                dataset_tables.check_names(connection, sql)
            except ConfigurationError as error:
                refusal = refusal or error
            if refusal is not None:
                found[dataset.name] = refusal
            elif compared:
                changes[dataset.name] = sentences
    return changes, found


def _needs_shape(former: Dataset, dataset: Dataset) -> bool:
    return declared.refused(compare(former, dataset), dataset.name) is not None


def drop(
    settings: Settings, name: str, datasets: Sequence[Dataset], *, wait_seconds: float = 0
) -> str:
    """Drop the tables and the state of a dataset that is not declared; return its table.

    After the declaration was removed by a run, `name` must also be that of the table.

    Raises:  ConfigurationError; RunAlreadyActive.
    """
    engine = connect_unpooled(settings)
    with run_lock(engine, wait_seconds=wait_seconds) as connection, translating():
        schema = schemas_of(engine).data
        known = {one.dataset.name: one for one in declared.load(connection, schema).datasets}
        sql = known.get(name) or _of_table(connection, schema, name)
        check_droppable(sql.dataset, datasets)
        dataset_tables.drop_tables(connection, sql)
        for named in ("forget_hold", "forget_held", "forget_problems", "forget_objects", "forget"):
            connection.execute(text(statements("declared")[named]), {"name": name})
        tallies.forget(connection, name)
        connection.commit()
    return sql.dataset.table


def check_droppable(dataset: Dataset, datasets: Sequence[Dataset]) -> None:
    """Refuse to drop users, a declared dataset, or the table of one.

    Raises:  ConfigurationError.
    """
    if USERS.name in {dataset.name, dataset.table}:
        raise ConfigurationError("The tables of users are built in and cannot be dropped.")
    for one in datasets:
        if one.name == dataset.name or one.table == dataset.table:
            raise ConfigurationError(
                f"Dataset {one.name!r} is declared, and its table is {one.table}.",
                hint=f"Remove [datasets.{one.name}] from the datasets file first.",
            )


def _of_table(connection: Connection, schema: str, name: str) -> DatasetSql:
    """A dataset that is not installed any more, by the name of its table.

    Raises:  ConfigurationError when there is no such table, or Bucketline did not create it.
    """
    sql = DatasetSql(Dataset(name=name, table=name, fields=(), include=()), schema)
    if not dataset_tables.are_ours(connection, sql):
        raise ConfigurationError(
            f"There is no dataset {name!r}, and no table of that name that Bucketline created.",
            hint="`./run.sh datasets list` shows the datasets. Give the name of the table if it"
            " differs from that of the dataset.",
        )
    return sql

"""The statistics of the columns of a dataset, computed once per revision of its rows.

All API processes share them.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Select, Text, cast, func, literal, literal_column, null, select
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.exc import DBAPIError

from api.rows import etags
from api.rows.shapes import live_rows
from api.state.services import QUERY_CANCELED, services
from etl.db import statistics
from etl.db.engine import schemas_of
from etl.model.errors import TransientError
from etl.model.types import Operator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from sqlalchemy import ColumnElement, Connection, FromClause

    from api.rows.columns import Column
    from api.rows.shapes import RowShape
    from api.state.catalog import CatalogState, Installed
    from etl.model.types import SqlType

AGES_OF_GROUP = 10
_POLL_SECONDS = 0.2
_FIGURES = ("nulls", "distinct", "min", "max")


class AgeGroup(NamedTuple):
    """The rows of an age group, `first` to `first + AGES_OF_GROUP - 1`; some have an image."""

    first: int
    attached: int
    total: int

    @property
    def label(self) -> str:
        """The ages of the group."""
        return f"{self.first} to {self.first + AGES_OF_GROUP - 1}"


class AgeGroups(NamedTuple):
    """The age groups that have rows, youngest first, and the mean age."""

    groups: tuple[AgeGroup, ...]
    mean: float | None

    @property
    def bars(self) -> list[AgeGroup]:
        """The groups, with those between them that have no rows."""
        known = {one.first: one for one in self.groups}
        if not known:
            return []
        every = range(min(known), max(known) + 1, AGES_OF_GROUP)
        return [known.get(first, AgeGroup(first, 0, 0)) for first in every]


def _count(connection: Connection, table: FromClause) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def version_of(state: CatalogState, installed: Installed, today: date) -> str:
    """What the statistics depend on: the rows, their columns and, for ages, the date."""
    shape = live_rows(installed, schemas_of(services().engine).data)
    has_ages = any(one.is_age for one in shape.columns.values())
    names = (installed.dataset.name, installed.installed_at.isoformat(), installed.added)
    return etags.of(state.revision(installed), *names, "stats", today if has_ages else None)


def describe(installed: Installed, version: str, today: date) -> dict[str, Any]:
    """The number of rows, and of each column its nulls, distinct values, minimum and maximum.

    They are computed once for each `version` of the rows, by one request of all API processes;
    others wait. A request computes for a limited time. What it has computed is saved column by
    column, so the next one goes on from there.

    Raises:  TransientError when they are not computed in time.
    """
    shared = services()
    deadline = time.monotonic() + shared.timeouts.statistics
    found = _saved_or_computed(installed, version, today, deadline)
    if found is None and shared.waiting.acquire(blocking=False):
        try:
            while found is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)  # LISTEN would hold a connection for each waiting request
                found = _saved_or_computed(installed, version, today, deadline)
        finally:
            shared.waiting.release()
    if found is None:
        raise _not_ready()
    return found


def _saved_or_computed(
    installed: Installed, version: str, today: date, deadline: float
) -> dict[str, Any] | None:
    """The statistics; None if another request computes them, or others occupy all places."""
    shared = services()
    with shared.database(shared.autocommit) as connection:
        found = _saved(connection, installed, version)
        if found is not None:
            return found
        with (
            shared.statistics.try_acquire() as is_free,
            statistics.computing(connection, installed.dataset.name, when=is_free) as is_ours,
        ):
            return _compute(connection, installed, version, today, deadline) if is_ours else None


def _saved(connection: Connection, installed: Installed, version: str) -> dict[str, Any] | None:
    """The statistics of this version, if all of its columns are known."""
    found = statistics.load(connection, installed.dataset.name, version)
    names = live_rows(installed, schemas_of(services().engine).data).default_fields
    if found is None or found.columns.keys() != set(names):
        return None
    return _described(found, names)


def _described(found: statistics.Statistics, names: Iterable[str]) -> dict[str, Any]:
    """The statistics without the groups of ages, which only pages show."""
    columns = {name: {figure: found.columns[name][figure] for figure in _FIGURES} for name in names}
    return {"count": found.rows, "columns": columns}


def is_complete(saved: statistics.Statistics | None, shape: RowShape, version: str) -> bool:
    """Whether these are the statistics of this version of the rows, of all columns."""
    if saved is None or saved.version != version:
        return False
    return saved.columns.keys() == set(shape.default_fields)


def age_groups(saved: statistics.Statistics | None, shape: RowShape) -> AgeGroups | None:
    """The rows by the first age of the dataset; None if it has none or they are not known."""
    name = next((one for one in shape.default_fields if shape.columns[one].is_age), None)
    found = None if saved is None or name is None else saved.columns.get(name, {}).get("groups")
    if not found:
        return None
    return AgeGroups(tuple(AgeGroup(*one) for one in found["counts"]), found["mean"])


def _compute(
    connection: Connection, installed: Installed, version: str, today: date, deadline: float
) -> dict[str, Any]:
    """Compute and save the columns that are not known yet."""
    shape = live_rows(installed, schemas_of(services().engine).data)
    name = installed.dataset.name
    found = statistics.load(connection, name, version)
    if found is None:
        run_id = statistics.last_change(connection, name)
        found = statistics.Statistics(_count(connection, shape.table), {}, run_id)
    for column in shape.default_fields:
        if column not in found.columns:
            if time.monotonic() > deadline:
                raise _not_ready()
            found.columns[column] = _column(connection, installed, shape.columns[column], today)
            statistics.save(connection, name, version, found)
    return _described(found, shape.default_fields)


def _not_ready() -> TransientError:
    return TransientError(
        "The statistics of this dataset are being computed.", hint="Try again in a minute."
    )


def _column(
    connection: Connection, installed: Installed, column: Column, today: date
) -> dict[str, Any]:
    """One statement per column, so that each has the time of a whole statement; two for an age."""
    shape = live_rows(installed, schemas_of(services().engine).data)
    chosen = _extremes(shape, column, today).subquery("chosen")
    ends = (replace(column, name=name, is_not_null=False) for name in ("min", "max"))
    encoded: list[ColumnElement[Any]] = [
        literal_column(f"CAST({one.json(has_json_scalar=False)} AS text)") for one in ends
    ]
    statement = select(chosen.c.nulls, chosen.c.distinct, *encoded).select_from(chosen)
    try:
        nulls, distinct, least, greatest = connection.execute(statement).one()
        groups = _groups(connection, installed, column, today) if column.is_age else None
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != QUERY_CANCELED:
            raise
        raise TransientError(
            f"The statistics of the column {column.name!r} took longer than"
            f" {services().timeouts.statement:g} s.",
            hint="Query them with SQL, which may take longer.",
        ) from error
    return {
        "nulls": nulls,
        "distinct": distinct,
        "min": json.loads(least, parse_float=_exact),
        "max": json.loads(greatest, parse_float=_exact),
    } | ({} if groups is None else {"groups": groups})


def _groups(
    connection: Connection, installed: Installed, column: Column, today: date
) -> dict[str, Any]:
    """The rows by ten years of age: the first age, those with an image, and all; and the mean."""
    shape = live_rows(installed, schemas_of(services().engine).data)
    image = next((shape.columns[one.column].source for one in installed.dataset.attachments), None)
    attached = literal(0) if image is None else func.count(image)
    age = column.value(today)
    first = (func.floor(age / AGES_OF_GROUP) * AGES_OF_GROUP).label("first")
    statement = (
        select(first, attached, func.count(), func.sum(age))
        .select_from(shape.table)
        .where(age.is_not(None))
        .group_by(first)
        .order_by(first)
    )
    rows = connection.execute(statement).all()
    count = sum(row[2] for row in rows)
    mean = round(float(sum(row[3] for row in rows)) / count, 1) if count else None
    return {"counts": [(int(row[0]), row[1], row[2]) for row in rows], "mean": mean}


def _exact(number: str) -> float | str:
    """The number; as text if it has more digits than a float."""
    return float(number) if Decimal(repr(float(number))) == Decimal(number) else number


def _extremes(shape: RowShape, column: Column, today: date) -> Select[Any]:
    """The figures of a column; texts are in byte order, so that all servers agree."""
    value = column.value(today)
    least, greatest = _ends(value, column.type)
    return select(
        (func.count() - func.count(value)).label("nulls"),
        func.count(value.distinct()).label("distinct"),
        least.label("min"),
        greatest.label("max"),
    ).select_from(shape.table)


def _ends(value: ColumnElement[Any], type_: SqlType) -> tuple[ColumnElement[Any], ...]:
    """The least and the greatest value; null for types without an order."""
    if type_.name == "boolean":
        return func.bool_and(value), func.bool_or(value)
    if Operator.GT not in type_.traits.operators:
        return cast(null(), JSONB), cast(null(), JSONB)
    if type_.traits.is_text:
        value = cast(value, Text).collate("C")
    if type_.name == "uuid":
        return cast(func.min(cast(value, Text)), UUID), cast(func.max(cast(value, Text)), UUID)
    return func.min(value), func.max(value)

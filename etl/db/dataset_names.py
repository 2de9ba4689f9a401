"""The names of the tables, indexes and constraints of a dataset."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from etl.model.dataset import UPDATED_AT, USERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.model.dataset import Attachment, Dataset

RETIRED, SHADOWED = "_retired", "_shadowed"
SUCCESSOR_PREFIX = "successor_"
PLACE = ("_source_key", "_source_line")
RETIRED_AT = "_retired_at"
_USERS = frozenset(f"{USERS.table}{suffix}" for suffix in ("", RETIRED, SHADOWED))
_DIGEST_LENGTH = 8
_MAX_NAME_BYTES = 63
_NAMED_BY = re.compile(r"\{(\w+)\}")


def staging_table(name: str) -> str:
    """The name of the staging table of the dataset with this name."""
    return f"staging_{name}"


def run_staging_table(run_id: int, name: str) -> str:
    """The name of the staging table of one run only; see etl.sync.run_tables.

    No dataset has this name for its own staging table, because names begin with a letter.
    """
    return _of_run("staging_", run_id, name)


def successor_table(name: str, of_run: int | None = None) -> str:
    """The name of the table that replaces the empty one of the dataset with this name.

    `of_run` is the run whose other processes fill it, if it has some.
    """
    if of_run is None:
        return f"{SUCCESSOR_PREFIX}{name}"
    return _of_run(SUCCESSOR_PREFIX, of_run, name)


def _of_run(prefix: str, run_id: int, name: str) -> str:
    """The name of a table of one run, in at most 63 bytes."""
    plain = f"{prefix}{run_id}_{name}"
    if len(plain) <= _MAX_NAME_BYTES:
        return plain
    digest = sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{plain[: _MAX_NAME_BYTES - _DIGEST_LENGTH - 1]}_{digest}"


def gone_table(name: str) -> str:
    """The name of the temporary table of stored rows that differ; see etl.sync.unchanged."""
    return f"gone_{name}"


class TableIndex(NamedTuple):
    """An index of a dataset's table."""

    name: str
    columns: tuple[str, ...]


def indexes(dataset: Dataset) -> list[TableIndex]:
    """The indexes of the table of live rows; the first is that of its primary key."""
    key = dataset.primary_key or PLACE
    others = list(dataset.indexes)
    if dataset.primary_key:
        others.insert(0, PLACE[:1])
    named = [named_by(one) for one in dataset.attachments]
    others += [(name,) for name in named if (name,) != key[:1]]
    found = {key: TableIndex(relation_name(dataset.table, (), "pkey"), key)}
    for columns in others:
        found.setdefault(columns, TableIndex(relation_name(dataset.table, columns, "idx"), columns))
    return list(found.values())


def retired_indexes(dataset: Dataset) -> list[TableIndex]:
    """The indexes of the table of retired rows, besides that of its primary key.

    Clients that follow changes by an index on `_updated_at` find the retired rows by `_retired_at`.
    """
    if not any(columns[0] == UPDATED_AT for columns in dataset.indexes):
        return []
    name = relation_name(dataset.table + RETIRED, (RETIRED_AT,), "idx")
    return [TableIndex(name, (RETIRED_AT,))]


def relation_name(table: str, columns: Sequence[str], kind: str) -> str:
    """The name of an index, or of the constraint that it belongs to, in at most 63 bytes.

    A digest keeps the names of different tables and column lists apart. The names for `users` have
    none, because they existed before datasets.
    """
    plain = "_".join([table, *columns, kind])
    if table in _USERS:
        return plain
    digest = sha256("/".join([table, *columns, kind]).encode()).hexdigest()[:_DIGEST_LENGTH]
    ending = f"_{digest}_{kind}"
    beginning = plain.removesuffix(kind)[: _MAX_NAME_BYTES - len(ending)].rstrip("_")
    return beginning + ending


def named_by(attachment: Attachment) -> str:
    """The field whose values name the images of the attachment."""
    (found,) = (name for name in _NAMED_BY.findall(attachment.match))
    return str(found)

"""The statements of a dataset, rendered from the templates in `merge.sql` and its neighbors.

A placeholder stands for a relation (`{table}`), or for a list of columns: `{key}`, with a
relation `{read.key}`, of the first of two relations that has it `{read|stored.key}`, as assignments
`{rest=upserts}`, or with the comma that a list that may be empty needs: `{,attached}`. The lists:

- `key`: the identity of a row, which is its place if the dataset has no primary key
- `rest`: all other columns that come from the file, and its place
- `key_and_place`: `key` and the place
- `row`: both
- `cells`: `row` without the place
- `compared`, `compared_cells`: `rest` and `cells`, as compared with the stored row
- `attached`: the columns of attachments; `paths` are their new values, `path_columns` with names
- `attached_count`: how many of them are not null
- `prefer`: the order by the preferred value

Directives: `--:keyed`, `--:keyless`, `--:attached`, `--:retire`, `--:delete`, `--:unsorted`,
`--:compared`, `--:taken` and `--:untaken` begin lines that only some datasets and merges have,
`--:attachments` begins lines repeated for each attachment; `--:end` ends them. In the lines of an
attachment, `{attachment}` is its column as a string, `{attached}` its relation and
`{live.attachment_id}` the text that its images are named by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from etl.db.dataset_names import (
    PLACE,
    RETIRED,
    SHADOWED,
    gone_table,
    indexes,
    named_by,
    relation_name,
    run_staging_table,
    staging_table,
    successor_table,
)
from etl.db.identifiers import in_text
from etl.db.sql import templates
from etl.model.dataset import Attachment, Dataset, OnRemoved
from etl.model.routing import path_names
from etl.model.types import SqlType, sql_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from etl.db.dataset_names import TableIndex

_PLACEHOLDER = re.compile(
    r"\{(?P<before>,)?(?:(?P<relation>[\w|]+)\.)?(?P<name>\w+)(?:=(?P<source>\w+))?(?P<after>,)?\}"
)


class StagedIn(Enum):
    """Where the rows are that a run read of a dataset: a property of DatasetSql."""

    STAGING = "own_staging"
    SUCCESSOR = "successor"
    TABLE = "table"
    RUN = "run_staging"


@dataclass(frozen=True)
class DatasetSql:
    """The statements of one dataset.

    `added` are the columns that its data added. `is_sorted`: staging has its rows in key order.
    `staged_in` is where the rows read by the run are. With `is_compared`, rows were compared with
    the stored ones before they were staged; see etl.sync.unchanged. `of_run` is the run that has
    tables of its own for them; see etl.sync.run_tables.
    """

    dataset: Dataset
    schema: str
    added: tuple[str, ...] = ()
    is_sorted: bool = False
    staged_in: StagedIn = StagedIn.STAGING
    is_compared: bool = False
    of_run: int | None = None

    # -- names

    @property
    def table(self) -> str:
        """The table of live rows, as in the statements."""
        return self._in_schema(self.dataset.table)

    @property
    def retired(self) -> str:
        """The table of retired rows."""
        return self._in_schema(self.dataset.table + RETIRED)

    @property
    def shadowed(self) -> str:
        """The table of shadowed rows; a dataset without a primary key has none."""
        return self._in_schema(self.dataset.table + SHADOWED)

    @property
    def relations(self) -> list[str]:
        """The names of the tables, without the schema."""
        table = self.dataset.table
        return [table, table + RETIRED, *([table + SHADOWED] if self.dataset.primary_key else [])]

    @property
    def staging(self) -> str:
        """The table of the rows read by the run."""
        return str(getattr(self, self.staged_in.value))

    @property
    def own_staging(self) -> str:
        """The table of rows read by a run, in the schema of the state."""
        return in_text(staging_table(self.dataset.name))

    @property
    def run_staging(self) -> str:
        """The table of rows read by the run `of_run` alone, in the schema of the state."""
        assert self.of_run is not None  # noqa: S101 - rows are staged there only with it
        return in_text(run_staging_table(self.of_run, self.dataset.name))

    @property
    def successor(self) -> str:
        """The successor of the table, in the schema of the state; see etl.sync.successor."""
        return in_text(successor_table(self.dataset.name, self.of_run))

    @property
    def move_successor(self) -> str:
        """The statements that give the successor the name of the table."""
        moved = self._in_schema(successor_table(self.dataset.name, self.of_run))
        return (
            f"ALTER TABLE {self.successor} SET SCHEMA {in_text(self.schema)};\n"
            f"ALTER TABLE {moved} RENAME TO {in_text(self.dataset.table)}"
        )

    @property
    def gone(self) -> str:
        """The temporary table of stored rows that differ from those of compared objects."""
        return in_text(gone_table(self.dataset.name))

    @property
    def compared_objects(self) -> str:
        """The temporary table of compared objects."""
        return in_text(f"compared_{self.dataset.name}")

    @property
    def drop_indexes(self) -> str:
        """The statements that drop the primary key and all other indexes."""
        key, *others = indexes(self.dataset)
        statements = [f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {in_text(key.name)}"]
        if others:
            names = ", ".join(self._in_schema(one.name) for one in others)
            statements.append(f"DROP INDEX IF EXISTS {names}")
        return ";\n".join(statements)

    @property
    def create_indexes(self) -> str:
        """The statements that create what `drop_indexes` drops."""
        key, *others = indexes(self.dataset)
        constraint = f"{in_text(key.name)} PRIMARY KEY ({_names(key.columns)})"
        statements = [f"ALTER TABLE {self.table} ADD CONSTRAINT {constraint}"]
        return ";\n".join([*statements, *map(self.create_index, others)])

    def create_index(
        self, index: TableIndex, table: str | None = None, *, if_missing: bool = False
    ) -> str:
        """The statement that creates an index of the table, which is that of live rows."""
        name = f"{'IF NOT EXISTS ' if if_missing else ''}{in_text(index.name)}"
        return f"CREATE INDEX {name} ON {table or self.table} ({_names(index.columns)})"

    def drop_index(self, columns: Sequence[str], suffix: str = "") -> str:
        """The statement that drops the index of live rows on these columns, if there is one.

        `suffix` is that of another table of the dataset.
        """
        name = relation_name(self.dataset.table + suffix, columns, "idx")
        return f"DROP INDEX IF EXISTS {self._in_schema(name)}"

    def _in_schema(self, name: str) -> str:
        return f"{in_text(self.schema)}.{in_text(name)}"

    # -- lists of columns

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return self.dataset.primary_key or PLACE

    @cached_property
    def key_and_place(self) -> tuple[str, ...]:
        """The columns that identify a row, and its place."""
        return tuple(dict.fromkeys([*self.key, *PLACE]))

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The columns that come from the file or its key, with those that data added."""
        declared = [*self.dataset.field_names, *path_names(self.dataset)]
        return (*dict.fromkeys([*declared, *self.added]), "_extra")

    @cached_property
    def row(self) -> tuple[str, ...]:
        """The columns of a row read: `cells` and its place."""
        return (*self.cells, *PLACE)

    @cached_property
    def rest(self) -> tuple[str, ...]:
        """The columns of a row read that are not part of its key."""
        return tuple(name for name in self.row if name not in self.key)

    @cached_property
    def attached(self) -> tuple[str, ...]:
        """The columns of attachments."""
        return tuple(one.column for one in self.dataset.attachments)

    def sql_type(self, column: str) -> SqlType:
        """The type of one of `cells`."""
        for one in self.dataset.fields:
            if one.name == column:
                return sql_type(one.type, one.sql)
        return SqlType("jsonb" if column == "_extra" else "text")

    @property
    def keeps_retired(self) -> bool:
        """Whether rows that leave the bucket are kept, in the table of retired rows."""
        return self.dataset.on_removed is not OnRemoved.DELETE

    # -- rendering

    def statements(self, file: str) -> dict[str, str]:
        """The named statements of the file, in file order, without those not needed."""
        return _rendered(self, file)

    def render(self, template: str) -> str:
        """The template with this dataset's names."""
        lines = iter(template.splitlines())
        body = "\n".join(self._lines(lines, is_used=True, attachment=None)).strip()
        return body.replace("\n\n", "\n")

    def _lines(
        self, lines: Iterator[str], *, is_used: bool, attachment: tuple[int, Attachment] | None
    ) -> list[str]:
        """The rendered lines up to the end of the section."""
        found: list[str] = []
        for line in lines:
            if line == "--:end":
                break
            if line.startswith("--:attachments"):
                found += self._of_attachments(list(_section(lines)), line, is_used=is_used)
            elif line.startswith("--:"):
                is_inner = is_used and self._has(line.removeprefix("--:"))
                found += self._lines(lines, is_used=is_inner, attachment=attachment)
            elif is_used:
                found.append(_PLACEHOLDER.sub(lambda match: self._value(match, attachment), line))
        return found

    def _of_attachments(self, section: list[str], directive: str, *, is_used: bool) -> list[str]:
        joined = directive.removeprefix("--:attachments").strip().upper()
        found: list[str] = []
        for number, one in enumerate(self.dataset.attachments, start=1):
            if number > 1 and joined:
                found.append(joined)
            found += self._lines(iter(section), is_used=is_used, attachment=(number, one))
        return found

    def _has(self, feature: str) -> bool:
        return {
            "keyed": bool(self.dataset.primary_key),
            "keyless": not self.dataset.primary_key,
            "attached": bool(self.dataset.attachments),
            "retire": self.keeps_retired,
            "delete": not self.keeps_retired,
            "unsorted": not self.is_sorted or bool(self.attached),  # a join may change the order
            "compared": self.is_compared,
            "taken": self.staged_in is StagedIn.TABLE,
            "untaken": self.staged_in is not StagedIn.TABLE,
        }[feature]

    def _value(self, match: re.Match[str], attachment: tuple[int, Attachment] | None) -> str:
        relation, name, source = match["relation"], match["name"], match["source"]
        value = None
        if attachment is not None:
            value = self._of_attachment(name, relation, *attachment)
            relation = f"attached_{attachment[0]}" if relation == "attached" else relation
        if value is None:
            value = self._list(name, relation, source)
        if not value:
            return ""
        return f"{', ' if match['before'] else ''}{value}{', ' if match['after'] else ''}"

    def _of_attachment(
        self, name: str, relation: str | None, number: int, attachment: Attachment
    ) -> str | None:
        """The value of a placeholder in the lines of an attachment; None for any other."""
        if name == "attachment":
            return _literal(attachment.column)
        if name == "attachment_id":
            field = self.dataset.field(named_by(attachment))
            column = _qualified(field.name, relation)
            is_text = sql_type(field.type, field.sql).traits.is_text
            return column if is_text else f"CAST({column} AS text)"
        if name == "attached" and relation is None:
            return f"attached_{number}"
        return None

    def _list(self, name: str, relation: str | None, source: str | None) -> str:
        if name in _WHOLE:
            return str(getattr(self, name))
        if name in _SPECIAL:
            return self._special(name, relation)
        columns = self._columns(name)
        if source is not None:
            parts = [f"{in_text(one)} = {source}.{in_text(one)}" for one in columns]
        elif relation is not None and "|" in relation:
            first, second = relation.split("|")
            both = ((one, _qualified(one, first), _qualified(one, second)) for one in columns)
            parts = [f"coalesce({one}, {other}) AS {in_text(name)}" for name, one, other in both]
        elif name.startswith("compared"):
            parts = [self._compared(one, relation) for one in columns]
        else:
            parts = [_qualified(one, relation) for one in columns]
        return ", ".join(parts)

    def _special(self, name: str, relation: str | None) -> str:
        if name == "prefer":
            column = self.dataset.prefer
            return f"{_qualified(column, relation)} DESC NULLS LAST" if column else ""
        if name == "newest":
            return _qualified(self.dataset.time_column, relation)
        if name == "attached_count":
            nulls = [f"{_qualified(one, relation)} IS NOT NULL" for one in self.attached]
            return " + ".join(f"CAST({one} AS integer)" for one in nulls) or "0"
        return ", ".join(self._paths(is_named=name == "path_columns"))

    def _columns(self, name: str) -> Sequence[str]:
        lists: Mapping[str, Sequence[str]] = {
            "key": self.key,
            "rest": self.rest,
            "row": self.row,
            "cells": self.cells,
            "compared": self.rest,
            "compared_cells": self.cells,
            "key_and_place": self.key_and_place,
            "attached": self.attached,
        }
        return lists[name]

    def _compared(self, column: str, relation: str | None) -> str:
        """The column as compared; equal numbers may differ as text, such as 1.0 and 1.00."""
        name = _qualified(column, relation)
        return f"CAST({name} AS text)" if column in self._compared_as_text else name

    @cached_property
    def _compared_as_text(self) -> frozenset[str]:
        """The columns of types in which equal values may differ as text."""
        types = {one.name: sql_type(one.type, one.sql) for one in self.dataset.fields}
        return frozenset(
            name
            for name, one in types.items()
            if one.name in _INEXACT or (one.name == "numeric" and one.scale is None)
        )

    def _paths(self, *, is_named: bool) -> Iterator[str]:
        for number, column in enumerate(self.attached, start=1):
            name = f" AS {in_text(column)}" if is_named else ""
            yield f"attached_{number}._path{name}"


_RENDERINGS_KEPT = 4_096  # those of a run's own staging tables are not needed again
_INEXACT = frozenset({"jsonb", "real", "double precision"})
_SPECIAL = frozenset({"prefer", "newest", "attached_count", "paths", "path_columns"})
_WHOLE = {
    *("table", "retired", "shadowed", "staging", "own_staging", "successor"),
    *("gone", "compared_objects"),
    *("drop_indexes", "create_indexes", "move_successor"),
}


@lru_cache(_RENDERINGS_KEPT)
def _rendered(sql: DatasetSql, file: str) -> dict[str, str]:
    bodies = {name: sql.render(body) for name, body in templates(file).items()}
    return {name: body for name, body in bodies.items() if body}


def _section(lines: Iterator[str]) -> Iterator[str]:
    """The lines up to the end of a section that has begun."""
    depth = 1
    for line in lines:
        depth += -1 if line == "--:end" else 1 if line.startswith("--:") else 0
        if not depth:
            return
        yield line


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(in_text, columns))


def _qualified(column: str, relation: str | None) -> str:
    return f"{relation}.{in_text(column)}" if relation else in_text(column)

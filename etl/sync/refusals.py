"""Why PostgreSQL refuses the rows of a dataset: what refused them, and the remedy.

Statements and details may contain data, so only the log has them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import psycopg2
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db.connection import FORBIDDEN, LOCK_NOT_AVAILABLE, first_line
from etl.db.engine import is_outage
from etl.db.sql import statements
from etl.model.errors import DatasetRefused

if TYPE_CHECKING:
    from etl.db.dataset_sql import DatasetSql

Refused: TypeAlias = DBAPIError | psycopg2.Error  # of SQLAlchemy, or of COPY

_FOREIGN_KEY = ("23001", "23503")  # by RESTRICT and by NO ACTION
_NOT_NULL = "23502"
_RAISED = "P0001"
_INTEGRITY = "23"  # class
_NAMES = "42"  # the class of errors whose message has names, but no data
_FUNCTION = re.compile(r"^PL/\w+ function (.+?\)) line \d+", re.MULTILINE)

_KINDS = {
    "23001": "foreign key",
    "23503": "foreign key",
    "23505": "unique",
    "23514": "check",
    "23P01": "exclusion",
}
_CONSTRAINT_HINT = (
    "Correct the objects, or change or drop what refuses their rows. Every full run tries again."
)
_TRIGGER_HINT = "Correct, disable or drop the trigger. Every full run tries again."
_RIGHT_HINT = (
    "Grant the role in DATABASE_URL all privileges on the tables of the dataset, or make it their"
    " owner."
)


class Reason(NamedTuple):
    """What refused a statement: its name, a phrase for it, and the remedy."""

    name: str
    cause: str
    hint: str


def is_refusal(error: Refused) -> bool:
    """Whether PostgreSQL refused what was written, rather than being unavailable."""
    return _state(error) == LOCK_NOT_AVAILABLE or not is_outage(_cause(error))


def forbids_removal(error: Refused) -> bool:
    """Whether a constraint or a trigger may refuse some rows that the statement removes."""
    state = _state(error)
    return state == _RAISED or state.startswith(_INTEGRITY)


def referring_table(error: Refused) -> tuple[str, str] | None:
    """Schema and name of the table whose foreign key refused the statement, if one did."""
    diag = _diag(error)
    if _state(error) not in _FOREIGN_KEY:
        return None
    return str(diag.schema_name), str(diag.table_name)


def refusal(connection: Connection, sql: DatasetSql, error: Refused) -> DatasetRefused:
    """The error of a dataset whose rows PostgreSQL refused. The transaction is usable again."""
    name = sql.dataset.name
    if _state(error) == LOCK_NOT_AVAILABLE:
        return locked(connection, sql)
    _, cause, hint = reason(error, name)
    return DatasetRefused(f"PostgreSQL refused the rows of dataset {name!r}: {cause}.", hint=hint)


def locked(connection: Connection, sql: DatasetSql) -> DatasetRefused:
    """The error of a dataset whose table another session has locked for too long."""
    named = {"schema": sql.schema, "names": sql.relations}
    holders = connection.scalars(text(statements("obstacles")["lock_holders"]), named).all()
    listed = f" by {', '.join(holders)}" if holders else ""
    return DatasetRefused(
        f"Table {sql.dataset.table} of dataset {sql.dataset.name!r} stayed locked{listed}.",
        hint="End that transaction, for example with `SELECT pg_terminate_backend(PROCESS)`."
        " The next full run tries again.",
    )


def reason(error: Refused, dataset: str) -> Reason:
    """What refused a statement of this dataset, and the remedy."""
    state, diag = _state(error), _diag(error)
    place = f" of table {diag.table_name}" if diag.table_name else ""
    function = _FUNCTION.search(diag.context or "")
    if diag.constraint_name:
        cause = f"constraint {diag.constraint_name}{place} ({_KINDS.get(state, 'raised')})"
        return Reason(diag.constraint_name, cause, _CONSTRAINT_HINT)
    if state == _NOT_NULL:
        column = diag.column_name
        return Reason(column, f"NOT NULL of column {column}{place}", _CONSTRAINT_HINT)
    if function:
        return Reason(function[1], f"the trigger function {function[1]}", _TRIGGER_HINT)
    if state.startswith(_NAMES):
        message = first_line(_cause(error))
        hint = _RIGHT_HINT if state == FORBIDDEN else _changed_hint(dataset)
        return Reason(message, message, hint)
    return Reason(state, f"SQLSTATE {state}", DatasetRefused.hint)


def _changed_hint(dataset: str) -> str:
    return (
        "Undo what was changed, renamed or dropped, or create it again with `./run.sh datasets"
        f" apply --rebuild {dataset}`, which reads all objects of the dataset again."
    )


def _state(error: Refused) -> str:
    return str(getattr(_cause(error), "pgcode", None) or "")


def _diag(error: Refused) -> Any:  # noqa: ANN401 - psycopg2 has no types
    return getattr(_cause(error), "diag", None)


def _cause(error: Refused) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error

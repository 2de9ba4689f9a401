"""Connections that send statements without a result together with the one that follows.

psycopg2 waits for a response to BEGIN and to each SAVEPOINT. Most statements of an event run are
short, so with a database on another machine it would mostly wait for these.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import extensions

from etl.db.deadlines import DeadlineConnection, DeadlineCursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# At the start of a statement: it is sent with the next one, or with the commit.
LATER = "/* later */ "
# At the start of a statement before which no transaction has begun: it is a transaction by itself.
ALONE = "/* alone */ "

# Statements that neither return nor change anything by themselves.
_WITHOUT_EFFECT = re.compile(rb"(SAVEPOINT|RELEASE SAVEPOINT|SET LOCAL) [^;]*")
_ROLLBACK = b"ROLLBACK TO SAVEPOINT "
_IDLE = (extensions.TRANSACTION_STATUS_IDLE, extensions.TRANSACTION_STATUS_UNKNOWN)
_BEGIN = b"BEGIN"
_LEVELS = {
    extensions.ISOLATION_LEVEL_AUTOCOMMIT: None,
    extensions.ISOLATION_LEVEL_READ_UNCOMMITTED: b"BEGIN ISOLATION LEVEL READ UNCOMMITTED",
    extensions.ISOLATION_LEVEL_READ_COMMITTED: b"BEGIN ISOLATION LEVEL READ COMMITTED",
    extensions.ISOLATION_LEVEL_REPEATABLE_READ: b"BEGIN ISOLATION LEVEL REPEATABLE READ",
    extensions.ISOLATION_LEVEL_SERIALIZABLE: b"BEGIN ISOLATION LEVEL SERIALIZABLE",
}
_ROWS_PER_FETCH = 2_000


class BundlingConnection(DeadlineConnection):
    """A connection that begins transactions and savepoints with the next statement.

    An error of a deferred statement is raised by the one that it is sent with.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the driver's
        super().__init__(*arguments, **options)
        self.set_session(autocommit=True)  # or else the driver sends BEGIN by itself
        self.cursor_factory = _BundlingCursor
        self._begin: bytes | None = _BEGIN
        self._deferred: list[bytes] = []
        self._session = b""

    def set_session_later(self, settings: bytes) -> None:
        """Execute these statements, which end in a commit, before the next one."""
        self._session = settings

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction by itself."""
        return self._begin is None

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._begin = None if value else _BEGIN

    def set_isolation_level(self, level: int) -> None:
        """Roll back; the transactions that follow have this level."""
        self.rollback()
        self._begin = _LEVELS[level]

    def commit(self) -> None:
        """Commit, with what was deferred."""
        is_changing = not all(map(_WITHOUT_EFFECT.fullmatch, self._deferred))
        if self.closed or is_changing or self._status not in _IDLE:
            try:
                self._end(b"COMMIT")
            except psycopg2.Error:
                # After a statement that was sent with it has failed, PostgreSQL still waits for
                # the end of the transaction; after a COMMIT that has failed, it does not.
                self.rollback()
                raise
        self._deferred = []

    def rollback(self) -> None:
        """Roll back; on a lost connection, of which nothing is left, do nothing."""
        self._deferred = []
        if not self.closed and self._status not in _IDLE:
            self._end(b"ROLLBACK")

    def cursor(self, name: str | None = None, **options: Any) -> Any:  # noqa: ANN401 - the driver's
        """A cursor; with a name, one of the server."""
        if name is None:
            return super().cursor(**options)
        found = super().cursor(cursor_factory=_ServerCursor)
        found.portal = name
        return found

    def is_deferred(self, statement: bytes) -> bool:
        """Whether the statement may wait for the next one, and now does."""
        if statement.startswith(_ROLLBACK):
            return self._is_rolled_back(statement)
        is_later = statement.startswith(LATER.encode())
        if self._begin is None or not (is_later or _WITHOUT_EFFECT.fullmatch(statement)):
            return False
        self._deferred.append(statement)
        return True

    def _is_rolled_back(self, statement: bytes) -> bool:
        """Forget what was deferred since the savepoint; whether that is all there is to do."""
        savepoint = statement.removeprefix(b"ROLLBACK TO ")
        is_deferred = savepoint in self._deferred
        kept = self._deferred.index(savepoint) + 1 if is_deferred else 0
        del self._deferred[kept:]
        return is_deferred

    def bundled(self, statement: bytes) -> bytes:
        """The statement with what has to be sent before it."""
        before, is_alone = self._deferred, statement.startswith(ALONE.encode())
        if self._begin is not None and not is_alone and self._status in _IDLE:
            before = [self._begin, *before]
        if self._session:
            before = [self._session, *before]
        self._deferred, self._session = [], b""
        return b";\n".join([*before, statement])

    @property
    def _status(self) -> int:
        return int(self.info.transaction_status)

    def _end(self, statement: bytes) -> None:
        with super().cursor(cursor_factory=DeadlineCursor) as cursor:
            cursor.execute(self.bundled(statement))


class _BundlingCursor(DeadlineCursor):
    connection: BundlingConnection

    def execute(self, query: Any, parameters: Any = None) -> None:  # noqa: ANN401 - the driver's
        statement = self.mogrify(query, parameters)
        if not self.connection.is_deferred(statement):
            super().execute(self.connection.bundled(statement))

    def executemany(self, query: Any, parameters: Any) -> None:  # noqa: ANN401 - the driver's
        super().execute(self.connection.bundled(b"SELECT"))
        super().executemany(query, parameters)

    def copy_expert(self, query: Any, *arguments: Any) -> None:  # noqa: ANN401 - the driver's
        super().copy_expert(self.connection.bundled(self.mogrify(query)), *arguments)


class _ServerCursor(_BundlingCursor):
    """The rows of one query, which the server sends in parts.

    The driver's own requires that the driver has begun the transaction.
    """

    portal: str

    def execute(self, query: Any, parameters: Any = None) -> None:  # noqa: ANN401 - the driver's
        declared = f'DECLARE "{self.portal}" NO SCROLL CURSOR FOR '.encode()
        super().execute(declared + self.mogrify(query, parameters))

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int = _ROWS_PER_FETCH) -> Sequence[tuple[Any, ...]]:
        super().execute(f'FETCH FORWARD {size} FROM "{self.portal}"')
        return super().fetchall()  # type: ignore[no-any-return]

    def fetchall(self) -> Sequence[tuple[Any, ...]]:
        super().execute(f'FETCH ALL FROM "{self.portal}"')
        return super().fetchall()  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while rows := self.fetchmany():
            yield from rows

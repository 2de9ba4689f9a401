"""Retire rows although foreign keys of other tables, or triggers, may block some of them.

Only blocked rows stay. The rows are removed in ranges; a range with a blocked row is halved, so
that a few blocked rows cost little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.sync.refusals import forbids_removal, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.db.dataset_sql import DatasetSql
    from etl.sync.refusals import Reason

MOST_PROBLEMS = 1_000  # of one object


@dataclass(frozen=True)
class Retirement:
    """The rows that a merge retires, in ranges of their numbers."""

    connection: Connection
    sql: DatasetSql
    parameters: Mapping[str, object]

    def retire(self) -> int:
        """Retire the rows that nothing blocks; return the number of blocked ones.

        Their objects stay in the manifest, and get a problem for each.
        """
        self._execute("find_doomed")
        last = int(self.connection.scalar(text(self._statements["count_doomed"])) or 0)
        blocked = self._retire_range(1, last) if last else {}
        if blocked:
            values = {
                "numbers": list(blocked),
                "names": [one.name for one in blocked.values()],
                "causes": [one.cause for one in blocked.values()],
                "most": MOST_PROBLEMS,
            }
            for name in ("keep_blocked", "keep_removed_objects", "reread_objects"):
                self._execute(name, **values)
            self._execute("write_problems", **values)
        self.connection.execute(text("DROP TABLE doomed"))
        return len(blocked)

    def _retire_range(self, first: int, last: int) -> dict[int, Reason]:
        """Retire the rows of a range; return what blocks each of the others, by its number."""
        try:
            with self.connection.begin_nested():
                self._execute("take", first=first, last=last)
                statement = self.sql.statements("merge")["retire_rows"]
                self.connection.execute(text(statement), self.parameters)
                self.connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
                self._execute("give_back")
        except DBAPIError as error:
            if not forbids_removal(error):
                raise
            if first == last:
                return {first: reason(error, self.sql.dataset.name)}
            middle = (first + last) // 2
            return self._retire_range(first, middle) | self._retire_range(middle + 1, last)
        return {}

    @property
    def _statements(self) -> dict[str, str]:
        return self.sql.statements("retiring")

    def _execute(self, name: str, **values: object) -> None:
        self.connection.execute(text(self._statements[name]), {**self.parameters, **values})

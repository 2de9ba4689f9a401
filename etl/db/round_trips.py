"""Several statements in one round trip: questions asked together, and statements sent later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text

from etl.db.bundling import ALONE, LATER

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")


class Question(NamedTuple):
    """A SELECT and its parameters."""

    sql: str
    parameters: Mapping[str, object]


def later(
    connection: Connection, statement: str, parameters: Mapping[str, object] | None = None
) -> None:
    """Send the statement with the next one, or with the commit. Its result is not read.

    An error of it is raised then.
    """
    connection.execute(text(LATER + statement), parameters or {})


def ask(
    connection: Connection, questions: Mapping[str, Question], *, is_alone: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each question, from one snapshot and as JSON has them: times are text.

    `is_alone`: no transaction has begun, and none is left open; statements to be sent later are
    committed.
    """
    parts: list[str] = []
    parameters: dict[str, object] = {}
    for number, (name, (sql, given)) in enumerate(questions.items()):
        numbered = _PARAMETER.sub(rf":\g<1>_{number}", sql)
        parts.append(f"(SELECT coalesce(json_agg(_row), '[]') FROM ({numbered}) AS _row) AS {name}")
        parameters |= {f"{key}_{number}": value for key, value in given.items()}
    asked = text(f"{ALONE if is_alone else ''}SELECT {', '.join(parts)}")
    found = connection.execute(asked, parameters).mappings().one()
    if is_alone:
        connection.commit()
    return dict(found)

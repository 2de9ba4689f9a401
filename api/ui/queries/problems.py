"""The open problems: groups by dataset and code, and single ones with their objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from etl.db.tallies import NO_DATASET
from etl.model.problem_help import PROBLEM_HELP, ProblemHelp
from etl.model.values import IMAGE_PROBLEM_CODES, ProblemCode, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

HOURS = 24
_ROWS_PER_FETCH = 1_000
# Problems of objects that are not read as data: reading them again finds the same.
_NOT_OF_DATA = {*IMAGE_PROBLEM_CODES.values(), ProblemCode.UNSUPPORTED_TYPE}

_GROUPS = """
SELECT dataset, code, severity, problems, objects, first_seen_at, last_seen_at
FROM problem_tally
WHERE problems > 0 AND (:all OR dataset = ANY (CAST(:datasets AS text[])))
"""

# The tally knows no keys, so the objects below a prefix are counted. Nothing records when the
# problems of an object were last seen.
_GROUPS_BELOW = """
SELECT dataset, code, severity, sum(CAST(number AS bigint))::bigint AS problems,
       count(*) AS objects, min(first_seen_at) AS first_seen_at,
       CAST(NULL AS timestamptz) AS last_seen_at
FROM faulty_object
CROSS JOIN LATERAL (
    SELECT 'error' AS severity, codes.key AS code, codes.value AS number
    FROM jsonb_each_text(error_codes) AS codes
    UNION ALL
    SELECT 'warning', codes.key, codes.value FROM jsonb_each_text(warning_codes) AS codes
) AS found
WHERE faulty_object.key ^@ :prefix
  AND (:all OR dataset = ANY (CAST(:datasets AS text[])))
GROUP BY dataset, code, severity
"""

_HOURS = """
SELECT dataset, code, hour, opened FROM problem_hour
WHERE dataset = ANY (CAST(:datasets AS text[])) AND hour >= :start AND opened > 0
"""

_LAST_CLOSED = """
SELECT max(closed_at) FROM problem_tally
WHERE :all OR dataset = ANY (CAST(:datasets AS text[]))
"""

# The objects with open problems lead, because `problem` also has those of earlier versions.
_PROBLEMS = """
SELECT faulty_object.dataset, problem.bucket, problem.key, problem.etag, problem.line,
       problem."column", problem.code, problem.severity, problem.value, problem.note,
       problem.run_id, source_object.state
FROM faulty_object
JOIN source_object
  ON source_object.bucket = faulty_object.bucket AND source_object.key = faulty_object.key
JOIN problem
  ON problem.key = source_object.key AND problem.run_id = source_object.run_id
 AND problem.bucket = source_object.bucket
WHERE {conditions}
ORDER BY faulty_object.bucket, faulty_object.key, problem.line NULLS FIRST, problem.id
{limit}
"""


@dataclass(frozen=True, slots=True)
class ProblemFilter:
    """Which problems are shown; `limits` are the datasets of the caller's key, empty for all.

    The `dataset` of objects that belong to none is ''.
    """

    dataset: str | None = None
    code: str | None = None
    severity: str | None = None
    prefix: str | None = None
    limits: tuple[str, ...] = ()

    @property
    def datasets(self) -> Sequence[str]:
        """The names of the datasets that match; empty for all."""
        return self.limits if self.dataset is None else (self.dataset,)


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """The open problems of a dataset with one code; `opened` are the new ones of each hour."""

    dataset: str
    code: str
    severity: str
    problems: int
    objects: int
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    opened: tuple[int, ...] = (0,) * HOURS

    @property
    def help(self) -> ProblemHelp:
        """What the code means, and the remedy."""
        return PROBLEM_HELP[ProblemCode(self.code)]

    @property
    def can_be_replayed(self) -> bool:
        """Whether the objects are read as data of a dataset, which could find other problems."""
        return self.dataset != NO_DATASET and self.code not in _NOT_OF_DATA


def groups(connection: Connection, wanted: ProblemFilter, now: datetime) -> list[ProblemGroup]:
    """The groups that match: errors first, then those with the most problems; two statements."""
    given = _given(wanted)
    if wanted.prefix is None:
        rows = connection.execute(text(_GROUPS), given).all()
    else:
        rows = connection.execute(text(_GROUPS_BELOW), given | {"prefix": wanted.prefix}).all()
    matching = [
        row
        for row in rows
        if wanted.code in (None, row.code) and wanted.severity in (None, row.severity)
    ]
    opened = _opened(connection, sorted({row.dataset for row in matching}), now)
    found = [
        replace(ProblemGroup(*row), opened=opened.get((row.dataset, row.code), (0,) * HOURS))
        for row in matching
    ]
    return sorted(
        found,
        key=lambda one: (one.severity != Severity.ERROR, -one.problems, one.code, one.dataset),
    )


def last_closed(connection: Connection, wanted: ProblemFilter) -> datetime | None:
    """When a problem was last closed; None if none ever was."""
    found: datetime | None = connection.scalar(text(_LAST_CLOSED), _given(wanted))
    return found


def problems(
    connection: Connection, wanted: ProblemFilter, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """The open problems that match, streamed: by bucket, key and line."""
    conditions = ["(:all OR faulty_object.dataset = ANY (CAST(:datasets AS text[])))"]
    given = _given(wanted)
    if wanted.code is not None:
        conditions += [
            "(faulty_object.error_codes ? :code OR faulty_object.warning_codes ? :code)",
            "problem.code = :code",
        ]
        given["code"] = wanted.code
    if wanted.severity is not None:
        conditions.append("problem.severity = :severity")
        given["severity"] = wanted.severity
    if wanted.prefix is not None:
        conditions.append("faulty_object.key ^@ :prefix")
        given["prefix"] = wanted.prefix
    sql = _PROBLEMS.format(
        conditions="\n  AND ".join(conditions), limit="" if limit is None else "LIMIT :limit"
    )
    statement = text(sql).execution_options(yield_per=_ROWS_PER_FETCH)
    rows = connection.execute(statement, given | ({} if limit is None else {"limit": limit}))
    return (dict(row) for row in rows.mappings())


def _given(wanted: ProblemFilter) -> dict[str, Any]:
    return {"all": not wanted.datasets, "datasets": list(wanted.datasets)}


def _opened(
    connection: Connection, datasets: Sequence[str], now: datetime
) -> dict[tuple[str, str], tuple[int, ...]]:
    """The new problems of each of the last 24 hours, by dataset and code."""
    this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = this_hour - timedelta(hours=HOURS - 1)
    found: dict[tuple[str, str], list[int]] = {}
    for row in connection.execute(text(_HOURS), {"datasets": list(datasets), "start": first}):
        hours = found.setdefault((row.dataset, row.code), [0] * HOURS)
        hours[min((row.hour - first) // timedelta(hours=1), HOURS - 1)] += row.opened
    return {name: tuple(hours) for name, hours in found.items()}

"""What a hold would retire: computed once by the run that holds, for those who decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import Connection, text

from etl.sync.planner import BULK_PLANNER, configure

if TYPE_CHECKING:
    from etl.db.dataset_sql import DatasetSql

MOST_FOLDERS = 100
SAMPLE_ROWS = 4


def summarize(connection: Connection, sql: DatasetSql) -> None:
    """Store the summary of the dataset's hold, unless it is stored already."""
    named = sql.statements("hold_summary")
    own: dict[str, object] = {"dataset": sql.dataset.name}
    if not connection.scalar(text(named["outdated"]), own):
        return
    configure(connection, BULK_PLANNER)
    folders = _rows(connection, named["folders"], {**own, "most": MOST_FOLDERS})
    summary = {
        **_of_folders(folders),
        "newest_column": sql.dataset.time_column,
        "sample": [
            one["row"] for one in _rows(connection, named["sample"], {**own, "most": SAMPLE_ROWS})
        ],
        "events": _rows(connection, named["events"], own)[0],
    }
    connection.execute(
        text("UPDATE hold SET summary = CAST(:summary AS jsonb) WHERE dataset = :dataset"),
        {"summary": to_json(summary).decode(), **own},
    )


def _rows(
    connection: Connection, statement: str, parameters: dict[str, object]
) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]


def _of_folders(folders: list[dict[str, Any]]) -> dict[str, Any]:
    """The totals and the folders; those that are summed are `rest`."""
    rest = folders.pop() if folders and folders[-1]["folder"] is None else None
    everything = [*folders, *([rest] if rest else [])]
    newest = [one["newest"] for one in everything if one["newest"] is not None]
    return {
        "objects": sum(one["objects_held"] for one in everything),
        "rows": sum(one["rows"] for one in everything),
        "folders": [{k: v for k, v in one.items() if k != "folders"} for one in folders],
        "rest": rest and {k: v for k, v in rest.items() if k != "folder"},
        "newest": max(newest, default=None),
    }

"""What runs commit: their counts, in total and by dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from etl.db.round_trips import Question, ask
from etl.model.values import Counts, DatasetCounts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from etl.db.tallies import Moved

# A failed run may have committed some datasets; run_committed_idx has the same condition.
IS_COMMITTED = "(state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb))"

LAST_COMMITTED = Question(
    f"SELECT counts, dataset_counts FROM run WHERE {IS_COMMITTED}"
    " ORDER BY finished_at DESC LIMIT 1",
    {},
)


@dataclass(frozen=True)
class Committed:
    """What a run commits: its counts, in total and by dataset.

    The datasets in `left_out` stayed as they were, because they failed, are paused or were not
    asked for. `moved` has those that were merged.
    """

    counts: Counts = field(default_factory=Counts)
    datasets: Mapping[str, DatasetCounts] = field(default_factory=dict)
    left_out: Collection[str] = ()
    moved: Mapping[str, Moved] = field(default_factory=dict)


def last_committed(connection: Connection) -> Committed:
    """What the last run with a commit counted; nothing before the first.

    That run may not have the highest id, because a request gets its id long before it runs.
    """
    return committed_in(ask(connection, {"committed": LAST_COMMITTED})["committed"])


def committed_in(rows: Sequence[Mapping[str, Any]]) -> Committed:
    """The result of LAST_COMMITTED."""
    if not rows:
        return Committed()
    counts = Counts.from_dict(rows[0]["counts"])
    return Committed(counts, counts_by_dataset(rows[0]["dataset_counts"]) or _of_users(counts))


def counts_by_dataset(stored: Mapping[str, Mapping[str, int]]) -> dict[str, DatasetCounts]:
    """The counts of each dataset, as a run stored them."""
    return {name: DatasetCounts.from_dict(counts) for name, counts in stored.items()}


def _of_users(counts: Counts) -> dict[str, DatasetCounts]:
    """The totals of a run by a version that had only users."""
    return {"users": DatasetCounts(live=counts.users_live, attached=counts.users_with_image)}

"""The metrics that are counted in the database, and the labels that exist before the first run."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from api.http.exposition import Family, Kind
from etl.db.tally_tables import ROW_COUNTERS
from etl.model.values import RunOutcome, Severity, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.runtime.measures import Labels

STEPS = ("list", "look", "read", "stage", "merge", "swap", "publish")
_TRIGGERS = [(one.value,) for one in Trigger]
_OUTCOMES = [(one.value, other.value) for one, other in product(Trigger, RunOutcome)]
_CODES = ("Bug", "DatabaseUnavailable", "DatasetsFailed", "Interrupted", "ObjectStoreUnavailable")
_ERRORS = [(one,) for one in _CODES]
_OF_DATASET = ("dataset",)


class Stored(NamedTuple):
    """One metric: `key` is its name in metrics.sql.

    `expected` are labels that are shown even if nothing has been counted. A metric by dataset has
    them for each dataset, after its name.
    """

    key: str
    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    expected: Sequence[Labels] = ((),)

    def family(self, found: Mapping[Labels, float], datasets: Sequence[str]) -> Family:
        """The metric with what was counted."""
        expected = self.expected
        if self.labels[:1] == _OF_DATASET:
            expected = [(name, *rest) for name in datasets for rest in expected]
        numbers = {**dict.fromkeys(map(tuple, expected), 0.0), **found}
        return Family(f"bucketline_{self.name}", self.kind, self.help, self.labels, numbers)


STORED = (
    Stored(
        "runs",
        "runs_total",
        Kind.COUNTER,
        "Runs that have ended.",
        ("trigger", "outcome"),
        _OUTCOMES,
    ),
    Stored(
        "run_seconds",
        "run_seconds_total",
        Kind.COUNTER,
        "Seconds of these runs, from their start to their commit.",
        ("trigger", "outcome"),
        _OUTCOMES,
    ),
    Stored(
        "run_errors",
        "run_errors_total",
        Kind.COUNTER,
        "Runs that have failed, by the code of their error.",
        ("error",),
        _ERRORS,
    ),
    Stored(
        "last_success",
        "last_success_timestamp_seconds",
        Kind.GAUGE,
        "When the last run succeeded; 0 before the first one.",
        ("trigger",),
        _TRIGGERS,
    ),
    Stored(
        "last_failure",
        "last_failure_timestamp_seconds",
        Kind.GAUGE,
        "When the last run failed; 0 before the first one.",
        ("trigger",),
        _TRIGGERS,
    ),
    Stored("running", "running_runs", Kind.GAUGE, "Runs under way."),
    Stored(
        "steps",
        "steps_total",
        Kind.COUNTER,
        "How often runs have made each step.",
        ("step",),
        [(one,) for one in STEPS],
    ),
    Stored(
        "step_seconds",
        "step_seconds_total",
        Kind.COUNTER,
        "Seconds that runs spent in each step.",
        ("step",),
        [(one,) for one in STEPS],
    ),
    Stored(
        "step_rows",
        "step_rows_total",
        Kind.COUNTER,
        "Objects listed, and rows read, staged, merged and published.",
        ("step",),
        [(one,) for one in STEPS],
    ),
    Stored("rows", "rows", Kind.GAUGE, "Live rows.", _OF_DATASET),
    Stored("retired_rows", "retired_rows", Kind.GAUGE, "Retired rows.", _OF_DATASET),
    Stored("shadowed_rows", "shadowed_rows", Kind.GAUGE, "Shadowed rows.", _OF_DATASET),
    Stored("objects", "objects", Kind.GAUGE, "Objects in the manifest.", _OF_DATASET),
    Stored(
        "changed_rows",
        "changed_rows_total",
        Kind.COUNTER,
        "What runs have done to rows.",
        ("dataset", "change"),
        [(one,) for one in ROW_COUNTERS],
    ),
    Stored(
        "problems",
        "problems",
        Kind.GAUGE,
        "Open problems.",
        ("dataset", "severity"),
        [(one.value,) for one in Severity],
    ),
    Stored(
        "open_problems",
        "open_problems",
        Kind.GAUGE,
        "Open problems by code; a code is shown once it has occurred.",
        ("dataset", "code", "severity"),
        (),
    ),
    Stored("faulty_objects", "faulty_objects", Kind.GAUGE, "Objects with errors.", _OF_DATASET),
    Stored(
        "failing",
        "dataset_failing",
        Kind.GAUGE,
        "Whether the last run that tried to sync the dataset could not commit it.",
        _OF_DATASET,
    ),
    Stored(
        "held_rows",
        "held_rows",
        Kind.GAUGE,
        "Rows whose retirement waits for permission.",
        _OF_DATASET,
    ),
    Stored(
        "hold_opened",
        "hold_opened_timestamp_seconds",
        Kind.GAUGE,
        "Since when retirements wait; 0 if none does.",
        _OF_DATASET,
    ),
    Stored("pending_events", "pending_events", Kind.GAUGE, "Events that no run has handled yet."),
    Stored("lag", "lag_seconds", Kind.GAUGE, "Age of the oldest pending event; 0 without any."),
)

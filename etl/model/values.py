"""The values that the steps of a run exchange. All are frozen; none does I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Self, TypeAlias

    # The fields of a SourceObject in order; listings have hundreds of thousands.
    ListingEntry: TypeAlias = tuple[str, str, int, datetime]


class Trigger(StrEnum):
    """The cause of a run."""

    INTERVAL = "interval"
    REQUEST = "request"
    EVENT = "event"
    CLI = "cli"


class RunState(StrEnum):
    """The state of a run. `succeeded` and `failed` are final."""

    REQUESTED = "requested"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RunOutcome(StrEnum):
    """How a run ended. `held`: it succeeded, and opened a hold; `interrupted`: its process died.

    `canceled`: someone canceled it before it committed.
    """

    SUCCEEDED = "succeeded"
    HELD = "held"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELED = "canceled"


class ObjectKind(StrEnum):
    """The kind of a source object: a file of rows, an image, or one that is not read."""

    DATA = "data"
    IMAGE = "image"
    OTHER = "other"


class ObjectState(StrEnum):
    """The outcome of the last time a source object was read."""

    LOADED = "loaded"
    QUARANTINED = "quarantined"


class ImageState(StrEnum):
    """The outcome of processing an image."""

    READY = "ready"
    CORRUPT = "corrupt"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"


class ChangeKind(StrEnum):
    """How a source object differs from the manifest."""

    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"


class Severity(StrEnum):
    """`error`: a row or an object was rejected. `warning`: nothing was, but check the object."""

    ERROR = "error"
    WARNING = "warning"


class ProblemCode(StrEnum):
    """The closed list of problems of rows and objects; see docs/reference/problem-codes.md."""

    # of an object
    ACCESS_REFUSED = "access-refused"
    READER_KILLED = "reader-killed"
    EMPTY_FILE = "empty-file"
    WRONG_FORMAT = "wrong-format"
    CORRUPT_ARCHIVE = "corrupt-archive"
    ENCRYPTED_ARCHIVE = "encrypted-archive"
    UNSUPPORTED_ARCHIVE = "unsupported-archive"
    ARCHIVE_TOO_LARGE = "archive-too-large"
    UNKNOWN_SHEET = "unknown-sheet"
    NO_ROWS = "no-rows"
    UNDECODABLE = "undecodable"
    GUESSED_ENCODING = "guessed-encoding"
    MISSING_COLUMN = "missing-column"
    TOO_MANY_COLUMNS = "too-many-columns"
    DUPLICATE_COLUMN = "duplicate-column"
    UNKNOWN_COLUMN = "unknown-column"
    DECLARED_COLUMN_ABSENT = "declared-column-absent"
    COLUMN_KEPT_IN_EXTRA = "column-kept-in-extra"
    TOO_MANY_FAULTS = "too-many-faults"
    ROWS_WITHOUT_ID = "rows-without-id"
    REPEATED_HEADER = "repeated-header"
    MISSING_TRAILING_CELLS = "missing-trailing-cells"
    EPOCH_SECONDS = "epoch-seconds"
    MORE_PROBLEMS = "more-problems"
    UNSUPPORTED_TYPE = "unsupported-type"
    RETIREMENT_BLOCKED = "retirement-blocked"
    CORRUPT_IMAGE = "corrupt-image"
    IMAGE_TOO_LARGE = "image-too-large"
    UNSUPPORTED_IMAGE = "unsupported-image"
    # of a row
    SHORT_ROW = "short-row"
    LONG_ROW = "long-row"
    UNCLOSED_QUOTE = "unclosed-quote"
    NUL_BYTE = "nul-byte"
    CELL_TOO_LONG = "cell-too-long"
    MISSING_CELL = "missing-cell"
    ERROR_VALUE = "error-value"
    FORMULA_WITHOUT_VALUE = "formula-without-value"
    NOT_AN_INTEGER = "not-an-integer"
    NOT_A_NUMBER = "not-a-number"
    TOO_MANY_DECIMALS = "too-many-decimals"
    NUMBER_OUT_OF_RANGE = "number-out-of-range"
    NOT_A_BOOLEAN = "not-a-boolean"
    NOT_A_DATE = "not-a-date"
    NOT_A_TIME = "not-a-time"
    NOT_A_DATETIME = "not-a-datetime"
    NONEXISTENT_TIME = "nonexistent-time"
    AMBIGUOUS_TIME = "ambiguous-time"
    NOT_A_YEAR = "not-a-year"
    NOT_JSON = "not-json"
    BELOW_MINIMUM = "below-minimum"
    ABOVE_MAXIMUM = "above-maximum"
    TOO_SHORT = "too-short"
    TOO_LONG = "too-long"
    PATTERN_MISMATCH = "pattern-mismatch"
    NOT_IN_ENUM = "not-in-enum"
    BIRTHDATE_OUT_OF_RANGE = "birthdate-out-of-range"


IMAGE_PROBLEM_CODES: dict[str, ProblemCode] = {
    ImageState.CORRUPT: ProblemCode.CORRUPT_IMAGE,
    ImageState.TOO_LARGE: ProblemCode.IMAGE_TOO_LARGE,
    ImageState.UNSUPPORTED: ProblemCode.UNSUPPORTED_IMAGE,
}


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One object as the store lists it: `etag` without quotes, `size` in bytes, times in UTC."""

    key: str
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between listing and manifest; `source` is the newer side of it."""

    kind: ChangeKind
    source: SourceObject


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source object and its bytes when it was fetched."""

    source: SourceObject
    content: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in one row or object.

    `line` is the 1-based physical line in the object (the header is line 1) and None for a
    fault of the whole object. `note` is the hint. `value` is shortened and escaped, so that it is
    safe to display.
    """

    code: ProblemCode
    key: str
    etag: str
    note: str
    line: int | None = None
    column: str | None = None
    value: str | None = None
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class _SharedCounts:
    """The counters that a run and each of its datasets have.

    Rows read = loaded + unchanged + shadowed + rejected + held, where `rows_held` were read from
    held objects. `retirements_held` are the live rows of the table that stay because of a hold.
    """

    objects_added: int = 0
    objects_modified: int = 0
    objects_removed: int = 0
    objects_quarantined: int = 0
    objects_held: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_unchanged: int = 0
    rows_shadowed: int = 0
    rows_rejected: int = 0
    rows_held: int = 0
    retirements_held: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counters by name, as table `run` stores them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, int]) -> Self:
        """The stored counters, without those unknown to this version."""
        known = {spec.name for spec in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})


@dataclass(frozen=True, slots=True)
class Counts(_SharedCounts):
    """The counters of a run.

    Objects listed = added + modified + unchanged + ignored + unreadable + vanished (removed before
    they were fetched) + held, less the held ones that were removed. `objects_` and `rows_` are
    totals over all datasets, `users_` are those of `users`. Live users = those before + inserted +
    restored - retired. `found_by_reconcile` counts the changes that events missed; see
    docs/explanation/events-and-consistency.md.
    """

    objects_listed: int = 0
    objects_ignored: int = 0
    objects_unchanged: int = 0
    objects_unreadable: int = 0
    objects_vanished: int = 0
    found_by_reconcile: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_restored: int = 0
    rows_retired: int = 0
    users_inserted: int = 0
    users_updated: int = 0
    users_restored: int = 0
    users_retired: int = 0
    users_live: int = 0
    users_with_image: int = 0
    problems: int = 0

    @property
    def objects_changed(self) -> int:
        """The number of added, modified and removed objects."""
        return self.objects_added + self.objects_modified + self.objects_removed


@dataclass(frozen=True, slots=True)
class DatasetCounts(_SharedCounts):
    """The counters of a run for one dataset.

    `live` and `attached` are totals after the run: its rows, and their attachments.
    """

    inserted: int = 0
    updated: int = 0
    restored: int = 0
    retired: int = 0
    live: int = 0
    attached: int = 0

    @property
    def objects_gained(self) -> int:
        """How many more objects the dataset has, if none was kept as it was."""
        return self.objects_added - self.objects_removed

    @property
    def changed(self) -> int:
        """The number of inserted, updated, restored and retired rows."""
        return sum(self.changes.values())

    @property
    def changes(self) -> dict[str, int]:
        """The numbers of rows by what the run did to them."""
        names = ("inserted", "updated", "restored", "retired")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class RunReport:
    """The result of one run."""

    id: int
    trigger: Trigger
    state: RunState
    counts: Counts
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, object] | None = None
    published_at: datetime | None = None
    step_seconds: dict[str, float] = field(default_factory=dict)
    step_rows: dict[str, int] = field(default_factory=dict)
    step_spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    dataset_counts: dict[str, DatasetCounts] = field(default_factory=dict)

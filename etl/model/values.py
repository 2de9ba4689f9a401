"""The values that travel between the steps of a run. All are frozen; none does I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TypeAlias

    # The fields of a SourceObject, in their order, where it comes by the hundred thousand.
    ListingEntry: TypeAlias = tuple[str, str, int, datetime]


class Trigger(StrEnum):
    """What asked for a run."""

    INTERVAL = "interval"
    REQUEST = "request"
    EVENT = "event"
    CLI = "cli"


class RunState(StrEnum):
    """Where a run stands. `requested` and `running` are the only states that end."""

    REQUESTED = "requested"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ObjectKind(StrEnum):
    """What a source object is, told by its extension."""

    CSV = "csv"
    IMAGE = "image"
    OTHER = "other"


class ObjectState(StrEnum):
    """What became of a source object when it was last read."""

    LOADED = "loaded"
    QUARANTINED = "quarantined"


class ImageState(StrEnum):
    """What looking at an image showed."""

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
    """Whether a problem cost a row or an object (`error`) or only deserves a look (`warning`)."""

    ERROR = "error"
    WARNING = "warning"


class ProblemCode(StrEnum):
    """The codes of problems; docs/reference/problem-codes.md explains each."""

    # of an object
    ACCESS_REFUSED = "access-refused"
    EMPTY_FILE = "empty-file"
    NO_ROWS = "no-rows"
    UNDECODABLE = "undecodable"
    GUESSED_ENCODING = "guessed-encoding"
    MISSING_COLUMN = "missing-column"
    TOO_MANY_COLUMNS = "too-many-columns"
    DUPLICATE_COLUMN = "duplicate-column"
    ROWS_WITHOUT_ID = "rows-without-id"
    REPEATED_HEADER = "repeated-header"
    MISSING_TRAILING_CELLS = "missing-trailing-cells"
    EPOCH_SECONDS = "epoch-seconds"
    MORE_PROBLEMS = "more-problems"
    UNSUPPORTED_TYPE = "unsupported-type"
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
    NOT_AN_INTEGER = "not-an-integer"
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
    """A source object and the bytes it held when it was fetched."""

    source: SourceObject
    content: bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in one row or object.

    `line` is the 1-based physical line in the object (the header is line 1) and None for a
    fault of the whole object; `value` is cut and escaped, safe to show anywhere.
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
class Counts:
    """A run's figures.

    Rows add up: read = loaded + unchanged + shadowed + rejected. So do objects: listed =
    added + modified + unchanged + ignored + unreadable + vanished (gone before they were
    fetched). Live users are those before + inserted + restored - retired. Found by reconcile
    are the changes that no event told of; see docs/explanation/events-and-consistency.md.
    """

    objects_listed: int = 0
    objects_ignored: int = 0
    objects_unchanged: int = 0
    objects_added: int = 0
    objects_modified: int = 0
    objects_removed: int = 0
    objects_quarantined: int = 0
    objects_unreadable: int = 0
    objects_vanished: int = 0
    found_by_reconcile: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_unchanged: int = 0
    rows_shadowed: int = 0
    rows_rejected: int = 0
    users_inserted: int = 0
    users_updated: int = 0
    users_restored: int = 0
    users_retired: int = 0
    users_live: int = 0
    users_with_image: int = 0
    problems: int = 0

    def as_dict(self) -> dict[str, int]:
        """The figures by name, as `run.counts` stores them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, int]) -> Counts:
        """Counts from what `run.counts` stores; figures unknown to this version are left out."""
        known = {spec.name for spec in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    @property
    def objects_changed(self) -> int:
        """How many objects the run had to look at."""
        return self.objects_added + self.objects_modified + self.objects_removed

    @property
    def users_changed(self) -> int:
        """How many users are not as they were."""
        return self.users_inserted + self.users_updated + self.users_restored + self.users_retired


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did, as its caller gets it."""

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

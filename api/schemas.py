"""The shapes of requests and answers. They check what comes in and describe both in OpenAPI."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from api.converters import MAX_ID
from api.fields import FIELDS, ID, USUAL_FIELDS
from api.filters import Filters, ImageWanted
from etl.documents import NAME
from etl.model import ProblemCode, RunState, Severity, Trigger

MAX_AGE = 150
MAX_WAIT_SECONDS = 600
MAX_PAGE = 10_000
MAX_SHORT_PAGE = 1_000
SHORT_PAGE = 100
MAX_LISTING = 1_000_000
MAX_PRESIGNED_SECONDS = 86_400


def _whole_number(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}", value):
        raise ValueError("must be a whole number")
    return value


def _decimal_number(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(
        r"[0-9]{1,9}(\.[0-9]{1,30})?(e[-+]?[0-9]{1,3})?", value
    ):
        raise ValueError("must be a number of seconds")
    return value


def _truth(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _known_fields(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = [name for name in value.split(",") if name != ID]
    unknown = [repr(name) for name in names if name not in FIELDS]
    if unknown:
        raise ValueError(f"knows no {', '.join(unknown)}; there are {', '.join(FIELDS)}")
    if len(set(names)) < len(names):
        raise ValueError("names a field more than once")
    return tuple(names)


def _header_text(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII")
    return value


ResponseHeader = Literal[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
]
HeaderText = Annotated[str, AfterValidator(_header_text)]
LongPage = Annotated[int, Field(ge=1, le=MAX_LISTING), BeforeValidator(_whole_number)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Years = Annotated[int, Field(ge=0, le=MAX_AGE), BeforeValidator(_whole_number)]
Page = Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(_whole_number)]
ShortPage = Annotated[int, Field(ge=1, le=MAX_SHORT_PAGE), BeforeValidator(_whole_number)]
Pixels = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(_whole_number)]
Id = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(_whole_number)]
Seconds = Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS), BeforeValidator(_decimal_number)]
_STORABLE = Field(min_length=1, json_schema_extra={"pattern": r"^[^\u0000]+$"})
UserId = Annotated[str, _STORABLE, AfterValidator(_storable)]
Fields = Annotated[tuple[str, ...], BeforeValidator(_known_fields, str)]
Key = Annotated[str, _STORABLE, AfterValidator(_storable)]


class Query(BaseModel):
    """Query parameters; one that is not named here is a mistake, and said to be one."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _knows_each_parameter(cls, given: dict[str, str]) -> dict[str, str]:
        unknown = given.keys() - cls.model_fields.keys()
        if unknown:
            raise ValidationError.from_exception_data(
                cls.__name__, [_unknown(name, sorted(cls.model_fields)) for name in sorted(unknown)]
            )
        return given


def _unknown(name: str, known: list[str]) -> InitErrorDetails:
    message = f"is no parameter of this route; it knows {', '.join(known) or 'none'}"
    return InitErrorDetails(type=PydanticCustomError("unknown", message), loc=(name,), input=name)


class FilterQuery(Query):
    """Which users are wanted."""

    is_image_exists: Truth | None = Field(
        None, description="Only users with (true) or without (false) an image; in any case."
    )
    min_age: Years | None = Field(
        None, description="Youngest age in whole years, inclusive.", examples=[18]
    )
    max_age: Years | None = Field(
        None, description="Oldest age in whole years, inclusive.", examples=[65]
    )

    image: ImageWanted | None = Field(
        None, description="Only users whose image is in this state; `missing`: without one."
    )

    @field_validator("max_age")
    @classmethod
    def _not_below_min_age(cls, max_age: int | None, info: ValidationInfo) -> int | None:
        min_age = info.data.get("min_age")
        if min_age is not None and max_age is not None and max_age < min_age:
            raise ValueError(f"must not be below min_age ({min_age})")
        return max_age

    @property
    def filters(self) -> Filters:
        """The filters as a value for the core."""
        return Filters(self.is_image_exists, self.min_age, self.max_age, self.image)


class DataQuery(FilterQuery):
    """Which users are wanted, which page of them, what of each, and how it is written."""

    limit: Page | None = Field(
        None, description="At most so many users; without it, all of them.", examples=[1000]
    )
    after: UserId | None = Field(
        None, description="Only users whose id comes after this one in byte order."
    )
    fields: Fields = Field(
        USUAL_FIELDS,
        description="What to tell of each user, parted by commas; the id is always told."
        f" Any of {', '.join(FIELDS)}.",
        examples=["first_name,birthdate,age"],
        json_schema_extra={"default": ",".join(USUAL_FIELDS)},
    )
    format: Literal["json", "ndjson", "csv", "parquet", "arrow"] | None = Field(
        None, description="The format, where a header Accept cannot be sent; goes before it."
    )


class RequestQuery(Query):
    """How to ask for a run."""

    wait: Seconds = Field(
        0, description="Seconds to wait for the run to finish; 202 when that was too short."
    )
    allow: Literal["mass-retirement"] | None = Field(
        None,
        description="Let this run retire more than half of the users; needs the role `admin`.",
    )


class RunsQuery(Query):
    """Which runs are wanted, newest first."""

    state: RunState | None = Field(None, description="Only runs in this state.")
    trigger: Trigger | None = Field(None, description="Only runs that this asked for.")
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many runs.")
    after: Id | None = Field(None, description="Only runs older than the one with this id.")


class ProblemsQuery(Query):
    """Which problems are wanted, in the order they were recorded."""

    code: ProblemCode | None = Field(None, description="Only problems with this code.")
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many problems.")
    after: Id | None = Field(None, description="Only problems recorded after the one with this id.")


class OpenProblemsQuery(ProblemsQuery):
    """Which of the open problems are wanted, in the order they were recorded."""

    key: Key | None = Field(
        None, description="Only problems of the object with this key.", examples=["1000.csv"]
    )


class EventsQuery(Query):
    """Which events are wanted, in the order they came."""

    bucket: Key | None = Field(None, description="Only events of this bucket.")
    key: Key | None = Field(None, description="Only events of this key.", examples=["1000.csv"])
    latest: Truth = Field(
        default=False, description="Only the newest event of each key, by time and sequencer."
    )
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many events.")
    after: Id | None = Field(None, description="Only events that came after the one with this id.")


def _document_name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise ValueError("must be 1 to 200 of A-Z a-z 0-9 . _ - and begin with a letter or digit")
    return value


DocumentName = Annotated[
    str, AfterValidator(_document_name), Field(json_schema_extra={"pattern": f"^{NAME}$"})
]


class UploadQuery(Query):
    """Under which name a document is to be stored."""

    name: DocumentName | None = Field(
        None, description="Its name; without one it is given one.", examples=["report.json"]
    )


class DocumentsQuery(Query):
    """Which documents are wanted, in byte order of their names."""

    prefix: DocumentName | None = Field(
        None, description="Only names that begin so.", examples=["data_2026"]
    )
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many documents.")
    after: DocumentName | None = Field(None, description="Only names that come after this one.")


class DocumentQuery(Query):
    """Which version of a document is wanted."""

    version: DocumentName | None = Field(None, description="A version; without it, the newest.")


class VersionsQuery(Query):
    """How many versions of a document are wanted."""

    limit: ShortPage = Field(SHORT_PAGE, description="At most so many versions.")


class ObjectsQuery(Query):
    """Which objects of a bucket are wanted, in byte order of their keys."""

    prefix: Key | None = Field(None, description="Only keys that begin so.", examples=["reports/"])
    recursive: Truth = Field(False, description="Every object, instead of folders.")  # noqa: FBT003
    limit: LongPage = Field(1000, description="At most so many entries.")
    after: Key | None = Field(None, description="Only keys and folders that come after this one.")
    content_type: Truth = Field(
        False,  # noqa: FBT003
        description="Look up each object's content type: one request to the store for each,"
        " so `limit` may be 1000 at most.",
    )

    @model_validator(mode="after")
    def _looks_at_few(self) -> ObjectsQuery:
        if self.content_type and self.limit > MAX_SHORT_PAGE:
            raise ValidationError.from_exception_data(
                "ObjectsQuery",
                [
                    InitErrorDetails(
                        type=PydanticCustomError(
                            "many", f"must be at most {MAX_SHORT_PAGE} with content_type"
                        ),
                        loc=("limit",),
                        input=self.limit,
                    )
                ],
            )
        return self


class DownloadQuery(Query):
    """How an object is to be handed out."""

    download: Truth = Field(False, description="As a file to save, whatever it is.")  # noqa: FBT003


class PresignRequest(BaseModel):
    """What a presigned URL is to allow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GET", "PUT"] = Field("GET", description="What may be done with it.")
    expires_seconds: int = Field(
        900, ge=1, le=MAX_PRESIGNED_SECONDS, strict=True, description="How long; a day at most."
    )
    response_headers: dict[ResponseHeader, HeaderText] = Field(
        default_factory=dict,
        description="Headers the store is to answer a GET with.",
        examples=[{"content-disposition": "attachment"}],
    )

    @property
    def s3_headers(self) -> dict[str, str]:
        """The headers as S3's query parameters."""
        return {f"response-{name}": value for name, value in self.response_headers.items()}


class ThumbnailQuery(Query):
    """Which thumbnail is wanted."""

    size: Pixels | None = Field(
        None, description="Longest side of its box; without it, the largest made.", examples=[64]
    )


class NoQuery(Query):
    """A route without query parameters."""


class Record(BaseModel):
    """A user as /data shows it; with `fields`, those that were asked for."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))

    first_name: str
    last_name: str
    birthts: int = Field(description="Birth in milliseconds since 1970-01-01T00:00:00Z.")
    img_path: str | None = Field(description="bucket/key of the user's image, or null.")


class Records(RootModel[dict[str, Record]]):
    """Users by their id."""


class Lineage(BaseModel):
    """Where a user's values come from."""

    bucket: str
    key: str
    etag: str | None = Field(description="ETag of the object when it was last read.")
    line: int = Field(description="Physical line in the object; the header is line 1.")
    run_id: int = Field(description="The run that last changed this user.")
    updated_at: datetime


class Image(BaseModel):
    """A user's image: what is known of it, and where it can be read for a while."""

    state: Literal["ready", "corrupt", "too-large", "unsupported", "waiting"]
    reason: str | None = Field(description="Why it is not ready, and what to do.")
    key: str
    format: str | None = Field(description="JPEG, PNG, WEBP or GIF, as decoded.")
    mode: str | None = Field(description="How its pixels are stored, in Pillow's words.")
    width: int | None = Field(description="Pixels, turned as its EXIF says.")
    height: int | None
    bytes: int
    sha256: str | None
    url: str | None = Field(description="Signed address of the picture; anybody may read it.")
    thumbnails: dict[str, str | None] = Field(description="Signed addresses by size.")
    urls_expire_in: int = Field(description="Seconds from now.")


class User(BaseModel):
    """One user with everything we know."""

    user_id: str
    first_name: str
    last_name: str
    birthts: int = Field(description="Birth in milliseconds since 1970-01-01T00:00:00Z.")
    birthdate: date = Field(description="The UTC date of birthts.")
    age: int = Field(description="Whole calendar years on today's UTC date.")
    img_path: str | None
    extra: dict[str, Any] | None = Field(description="Columns of the CSV we do not know.")
    lineage: Lineage
    image: Image | None = Field(description="Null for a user without one.")


class Stats(BaseModel):
    """Figures over the users that match the filters."""

    count: int
    average_age: float | None = Field(
        description="Mean of the ages in whole years, two decimals; null when nobody matches."
    )
    with_image: int
    without_image: int


class Run(BaseModel):
    """One run: what asked for it, where it stands, what it did."""

    id: int
    trigger: Trigger
    state: RunState
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counts: dict[str, int] = Field(description="The run's figures; empty until it has some.")
    error: dict[str, Any] | None = Field(description="code, message and hint of what went wrong.")
    published_at: datetime | None = Field(description="When output.csv was put for this run.")
    step_seconds: dict[str, float] = Field(
        description="Seconds that the run was at each step, or waited for it."
        " Fetching and parsing go on beside staging: `read` is only what was waited for."
    )
    step_rows: dict[str, int] = Field(
        description="What each step handled: objects listed, rows read, staged, merged, published."
    )


class Runs(BaseModel):
    """A page of runs."""

    runs: list[Run]


class RunProblem(BaseModel):
    """One fault in one row or object."""

    id: int
    code: ProblemCode
    severity: Severity
    key: str
    etag: str
    line: int | None = Field(description="Physical line; null for a fault of the whole object.")
    column: str | None
    value: str | None = Field(description="The raw value, cut and safe to show.")
    note: str = Field(description="What is wrong and what to do about it.")


class RunProblems(BaseModel):
    """A page of a run's problems."""

    problems: list[RunProblem]


class OpenProblem(RunProblem):
    """One fault in an object as it is now."""

    run_id: int = Field(description="The run that found it: the last that read the object.")


class OpenProblems(BaseModel):
    """A page of open problems."""

    problems: list[OpenProblem]


class Taken(BaseModel):
    """What came of a notification."""

    status: Literal["ok"]
    records: int = Field(description="How many events it held; all of them are stored.")


class Event(BaseModel):
    """One event as a store told it, and what became of it."""

    id: int
    bucket: str
    key: str
    event_name: str
    event_time: datetime | None
    sequencer: str | None = Field(description="The store's own order of a key's events.")
    etag: str | None
    size: int | None
    version_id: str | None
    received_at: datetime
    state: Literal["waiting", "handled"]
    run_id: int | None = Field(
        description="The run that looked at the key; null when none was needed, or none has yet."
    )
    record: dict[str, Any] = Field(description="The record as it came.")


class Events(BaseModel):
    """A page of events."""

    events: list[Event]


class ServiceHealth(BaseModel):
    """Whether something we depend on answers."""

    status: Literal["ok", "down"]
    latency_ms: float | None = Field(None, description="How long it took to answer.")
    reason: str | None = Field(None, description="Why it counts as down.")


class Health(BaseModel):
    """`down` without the database; `degraded` without the store or after a failed run."""

    status: Literal["ok", "degraded", "down"]
    database: ServiceHealth | None = Field(None, description="Only for readers.")
    object_store: ServiceHealth | None = Field(None, description="Only for readers.")
    last_run: Run | None = Field(
        None, description="The newest run that has begun; only for readers."
    )


class BucketHealth(BaseModel):
    """One of our buckets."""

    exists: bool
    writable: bool | None = Field(description="null for the source bucket, which is never tried.")
    reason: str | None


class StorageHealth(BaseModel):
    """Whether database and object store can be read and written."""

    status: Literal["ok", "down"]
    database: ServiceHealth
    object_store: ServiceHealth
    buckets: dict[str, BucketHealth] = Field(description="By name; empty without the store.")


class Route(BaseModel):
    """One route of the index."""

    path: str
    methods: list[str]
    summary: str


class ListedDocument(BaseModel):
    """A document without its content."""

    name: str
    size: int = Field(description="Bytes.")
    etag: str
    last_modified: datetime


class Documents(BaseModel):
    """A page of documents."""

    documents: list[ListedDocument]


class SavedDocument(ListedDocument):
    """One version of a document, without its content."""

    version: str


class DocumentVersions(BaseModel):
    """The versions of a document."""

    name: str
    versions: list[SavedDocument]


class BucketRights(BaseModel):
    """A bucket, and what may be done in it here."""

    name: str
    rights: Literal["r", "rw"]
    exists: bool


class Buckets(BaseModel):
    """The buckets that may be used here."""

    buckets: list[BucketRights]


class ListedObject(BaseModel):
    """An object, as a listing shows it."""

    key: str
    size: int = Field(description="Bytes.")
    etag: str
    last_modified: datetime
    content_type: str | None = Field(None, description="Only when it was asked for.")


class ListedFolder(BaseModel):
    """What the keys have in common that go on after the next slash."""

    folder: str


class Listing(BaseModel):
    """Part of a bucket, in byte order of the keys."""

    bucket: str
    entries: list[ListedObject | ListedFolder]
    after: str | None = Field(description="What to go on after; null when there is no more.")


class StoredObject(BaseModel):
    """An object that was stored."""

    bucket: str
    key: str
    size: int = Field(description="Bytes.")
    etag: str
    content_type: str


class SavedObjects(BaseModel):
    """The objects that a form stored."""

    objects: list[StoredObject]


class PresignedUrl(BaseModel):
    """A URL that needs no key, until it expires."""

    url: str
    method: Literal["GET", "PUT"]
    expires_at: datetime


class Index(BaseModel):
    """What this server is, and where to go."""

    name: str
    version: str
    routes: list[Route]


class FaultyParameter(BaseModel):
    """One parameter at fault."""

    parameter: str
    message: str


class ProblemDocument(BaseModel):
    """An error as RFC 9457 describes it, with a hint what to do."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str
    request_id: str = Field("", description="What the API's log calls this request.")
    errors: list[FaultyParameter] | None = Field(None, description="Only with status 422.")
    available: list[str] | None = Field(
        None, description="Only with status 406: the media types there are."
    )

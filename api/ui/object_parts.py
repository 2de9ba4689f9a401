"""Parts of the pages of objects: states, raw lines of problems, previews."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from api.http.spool import disk_full
from api.state.services import services
from api.ui.source_lines import marked
from api.ui.states import (
    HELD,
    IGNORED,
    LOADED,
    NOT_USED,
    WAITING,
    ShownState,
    StateShape,
    of_object,
)
from etl.checks.preview import COLUMNS, ROWS, FirstRows, cut
from etl.model.formats import SourceFormat
from etl.model.keys import IMAGE_EXTENSIONS
from etl.model.routing import Router
from etl.model.safe_text import printable
from etl.model.values import ObjectKind
from etl.runtime.sandbox import WorkFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from api.state.catalog import CatalogState
    from api.ui.queries.objects import KnownObject
    from api.ui.source_lines import Marked
    from etl.model.dataset import Dataset
    from etl.model.routing import ObjectRoute
    from etl.storage.objects import ObjectInfo

TEXT_BYTES = 64 * 1024  # of a preview
PARQUET_BYTES = 32 * 1024 * 1024  # whole, because the footer is at the end
IMAGE_BYTES = 10 * 1024 * 1024

_TEXT_TYPES = ("txt", "md", "json", "ndjson", "jsonl", "log", "toml", "yaml", "yml")
_TABLE_TYPES = ("csv", "tsv")
_LARGE = "The object is too large to show here."
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class RawProblem:
    """A problem with its line, split around the fault; `raw` is None without a line to show."""

    line: int | None
    raw: Marked | None
    code: str
    severity: str
    column: str | None
    note: str
    gap: int = 0  # lines without a problem before it


@dataclass(frozen=True, slots=True)
class ShownPreview:
    """The beginning of an object: `kind` is image, table, text or none, and `note` says why none.

    `is_cut` means that there is more.
    """

    kind: str = "none"
    table: FirstRows | None = None
    text: str = ""
    note: str = ""
    is_cut: bool = False


# -- states


def router(state: CatalogState, bucket: str) -> Callable[[str], ObjectRoute]:
    """Routes the keys of a bucket to the installed datasets, as runs do."""
    installed = sorted(state.datasets.values(), key=lambda one: one.installed_at)
    datasets = [one.dataset for one in installed]
    return Router(datasets, services().settings.source_bucket).for_bucket(bucket)


def state_of(
    known: KnownObject | None, etag: str, route: ObjectRoute, *, is_source: bool
) -> ShownState | None:
    """The state of an object with this ETag; None in a bucket that runs do not read."""
    if not is_source:
        return None
    if known is None:
        return IGNORED if route.is_unread else WAITING
    if known.is_held:
        return HELD
    return WAITING if known.etag != etag else _of_current(known)


def _of_current(known: KnownObject) -> ShownState:
    """The state of an object whose current version a run has read."""
    if known.kind == ObjectKind.OTHER:
        return NOT_USED
    shown = of_object(known.state, known.rows_rejected)
    if shown == LOADED and known.errors:
        return ShownState(StateShape.FAILED, "Faulty")
    if shown == LOADED and known.warnings:
        return ShownState(StateShape.WARNING, "Loaded, with warnings")
    return shown


def is_source_bucket(state: CatalogState, bucket: str) -> bool:
    """Whether runs read the bucket."""
    bucket_of = services().bucket_of
    return bucket in {bucket_of(one.dataset) for one in state.datasets.values()}


def shown_state(
    state: CatalogState,
    bucket: str,
    key: str,
    info: ObjectInfo | None,
    known: KnownObject | None,
) -> ShownState | None:
    """The state of one object; without `info`, of the version that a run has read."""
    route = router(state, bucket)(key)
    etag = known.etag if info is None and known is not None else info.etag if info else ""
    return state_of(known, etag, route, is_source=is_source_bucket(state, bucket))


def dataset_of(state: CatalogState, known: KnownObject | None) -> Dataset | None:
    """The dataset that reads the object; None for images too, which have no rows."""
    if known is None or known.kind != ObjectKind.DATA:
        return None
    installed = state.datasets.get(known.dataset or "")
    return None if installed is None else installed.dataset


# -- raw lines


def raw_problems(
    problems: Iterable[dict[str, Any]],
    lines: Mapping[int, str],
    empty_cell_of: Callable[[str, str], tuple[str, str] | None] = lambda _line, _column: None,
) -> list[RawProblem]:
    """Problems in order of their lines; those of the whole object first.

    `lines` are raw lines by number. Between two lines there may be a gap. `empty_cell_of` finds
    what is before and after the cell of a column that a line has left empty.
    """
    previous = 1
    found = []
    for one in sorted(problems, key=lambda each: each["line"] or 0):
        line = one["line"]
        gap = 0 if line is None else max(line - previous - 1, 0)
        previous = previous if line is None else line
        raw = None if line is None else marked(lines.get(line), one["value"])
        if line in lines and one["column"] and not one["value"]:
            around = empty_cell_of(lines[line], one["column"])
            raw = raw if around is None else (around[0], "", around[1])
        found.append(
            RawProblem(line, raw, one["code"], one["severity"], one["column"], one["note"], gap)
        )
    return found


def _beginning(bucket: str, key: str, length: int, etag: str) -> bytes:
    """The first bytes of this version of an object; nothing if it has been replaced."""
    with services().objects.open(bucket, key, length=length) as opened:
        if opened is None or opened.etag != etag:
            return b""
        return b"".join(opened.chunks)


# -- previews


def preview(bucket: str, info: ObjectInfo) -> ShownPreview:
    """The beginning of an object, by the extension of its key."""
    extension = info.key.rpartition(".")[2].lower()
    if not info.size:
        return ShownPreview(note="The object is empty.")
    if extension in IMAGE_EXTENSIONS:
        is_large = info.size > IMAGE_BYTES
        return ShownPreview(note=_LARGE) if is_large else ShownPreview("image")
    if extension == SourceFormat.PARQUET:
        return _of_parquet(bucket, info)
    if extension in (*_TABLE_TYPES, *_TEXT_TYPES):
        return _of_text(bucket, info, is_table=extension in _TABLE_TYPES)
    return ShownPreview(note="Objects of this type have no preview.")


def _of_text(bucket: str, info: ObjectInfo, *, is_table: bool) -> ShownPreview:
    content = _beginning(bucket, info.key, TEXT_BYTES, info.etag)
    is_cut = len(content) < info.size
    text = _decoded(content, is_cut=is_cut)
    if is_table:
        table, is_short = _table(text)
        return ShownPreview("table", table, is_cut=is_cut or is_short)
    return ShownPreview("text", text=text, is_cut=is_cut)


def _decoded(content: bytes, *, is_cut: bool) -> str:
    """The text as runs decode it, without a last line that may be incomplete."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        text = content.decode("utf-16", "replace")
        return text[: text.rfind("\n") + 1] or text if is_cut else text
    from etl.read.csv.encoding import decode_lines  # noqa: PLC0415 - with pyarrow

    whole = content[: content.rfind(b"\n") + 1] or content if is_cut else content
    return "".join(decode_lines(whole).lines)


def _table(text: str) -> tuple[FirstRows, bool]:
    """The first rows, and whether there are more."""
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) > ROWS + 1:
                break
    except csv.Error:  # such as a cell beyond the limit of the module
        pass
    shown, more = rows[: ROWS + 1], len(rows) > ROWS + 1
    width = max(map(len, shown), default=0)
    header, *body = [_cells(row, width) for row in shown] or [()]
    return FirstRows(tuple(one or "" for one in header), tuple(body), width), more


def _cells(row: Sequence[str], width: int) -> tuple[str | None, ...]:
    """A row as wide as the others, up to COLUMNS."""
    padded: list[str | None] = [cut(printable(one)) for one in row]
    padded += [None] * (width - len(row))
    return tuple(padded[:COLUMNS])


def _of_parquet(bucket: str, info: ObjectInfo) -> ShownPreview:
    if info.size > PARQUET_BYTES:
        return ShownPreview(note=_LARGE)
    content = _beginning(bucket, info.key, PARQUET_BYTES, info.etag)
    try:
        with NamedTemporaryFile(prefix="preview-") as file:
            file.write(content)
            file.flush()
            table = services().checks.preview(file.name)
    except OSError as error:
        raise disk_full(error) from error
    except WorkFailed:
        table = None
    if table is None:
        return ShownPreview(note="The file cannot be read as Parquet.")
    return ShownPreview("table", table, is_cut=len(table.rows) == ROWS)

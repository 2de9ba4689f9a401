"""/check: what a run would say of a file, before it is uploaded."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import request

from api.http import form_files, forms, object_keys
from api.http.errors import Refused, WrongParameters, no_body
from api.http.spool import disk_full
from api.schemas.checks import CheckQuery, FileReport
from api.security.auth import OF_CALLER, caller, limited, needs
from api.spec import openapi
from api.state.services import services
from etl.checks.file import CheckedFile, FileCheck
from etl.model.errors import TransientError
from etl.model.roles import Role
from etl.model.routing import ObjectRoute, Router, datasets_by_ends
from etl.model.safe_text import printable
from etl.model.values import ObjectKind
from etl.runtime.sandbox import Killed, OutOfMemory, OutOfTime, WorkFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api.http.forms import Form
    from api.state.catalog import CatalogState

bp = APIBlueprint("check", __name__, tag="Datasets")

_KINDS = {ObjectKind.DATA: "rows", ObjectKind.IMAGE: "image", ObjectKind.OTHER: "other"}
_COPY_BYTES = 1024 * 1024
MOST_EXPANSION = 20  # of compressed files, as a multiple of CHECK_MAX_SIZE; they need time and disk


@bp.post("/check")
@needs(Role.READER, dataset=OF_CALLER)
@bp.input(CheckQuery, location="query")
@bp.output(FileReport, description="What was found. The file may have problems.")
@bp.doc(responses=openapi.problems(400, 403, 411, 413, 415, 422, 503, 507))
def check_file(query_data: CheckQuery) -> dict[str, Any]:
    """Report what a run would say of a file under a key, without storing anything.

    The body is the file, or a form (`multipart/form-data`) with one `file`, whose key is that of
    the parameter, or of the form as in POST /objects. The key decides the dataset, whatever its
    bucket is. The file is read in a process with limits of memory and time.
    """
    if request.mimetype != forms.MIMETYPE:
        return report_of_body(query_data.key)
    with forms.reading(request) as form:
        return report_of_form(form, query_data.key)


def report_of_body(key: str | None) -> dict[str, Any]:
    """The report on the body of the request, under this key."""
    if key is None:
        raise WrongParameters([("key", "is missing: write the key that the object will have")])
    _require_body()
    return _report(key, request.stream)


def report_of_form(form: Form, asked_key: str | None) -> dict[str, Any]:
    """The report on the one file of a form, under the key of the parameter or of the form."""
    if asked_key is not None and len(form.files) == 1:
        form.fields.setdefault("key", asked_key)
    named = form_files.named_files(form)
    if len(named) > 1:
        raise WrongParameters([("file", "is given more than once: send one file at a time")])
    ((key, file),) = named
    if asked_key not in {None, key}:
        raise WrongParameters([("key", "differs between the form and the parameter")])
    return _report(key, file.content)


def _require_body() -> None:
    """Raises:  411 for a request without a body, which was probably forgotten."""
    if request.content_length is None and "chunked" not in request.headers.get(
        "Transfer-Encoding", ""
    ):
        raise no_body("Send the file (curl: --data-binary @FILE).")


def _report(key: str, body: IO[bytes]) -> dict[str, Any]:
    object_keys.check(key, is_put=True)
    shared = services()
    with shared.database(shared.autocommit) as connection:
        state = shared.catalog.read(connection)
    route = _router(state)
    routed = route(key)
    if routed.dataset is not None and not caller().may_see(routed.dataset.name):
        raise limited(None, f"the dataset that reads {key!r}")
    if routed.dataset is None or routed.kind is ObjectKind.IMAGE or routed.is_unread:
        return _without_rows(key, routed, route)
    most_expanded = MOST_EXPANSION * int(shared.settings.check_max_size)
    with _temporary(body) as path:
        task = FileCheck(
            path,
            key,
            routed.dataset,
            routed.kind,
            shared.today(),
            min(int(shared.settings.expanded_max_size), most_expanded),
            state.datasets[routed.dataset.name].added,
        )
        try:
            found = shared.checks.run(task)
        except WorkFailed as error:
            raise _failed(error) from error
    return _with_rows(key, routed, found)


def _router(state: CatalogState) -> Callable[[str], ObjectRoute]:
    """Routes a key as in any bucket: the name of a file does not tell which it will be in."""
    installed = sorted(state.datasets.values(), key=lambda one: one.installed_at)
    bucket = services().settings.source_bucket
    anywhere = [replace(one.dataset, bucket="") for one in installed]
    return Router(anywhere, bucket).for_bucket(bucket)


@contextmanager
def _temporary(body: IO[bytes]) -> Iterator[str]:
    """The path of a temporary file with the body."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(NamedTemporaryFile(prefix="check-"))
            shutil.copyfileobj(body, file, _COPY_BYTES)
            file.flush()
        except OSError as error:
            raise disk_full(error) from error
        yield file.name


def _failed(error: WorkFailed) -> Exception:
    """The response when the process exceeded a limit or crashed."""
    settings = services().settings
    if isinstance(error, Killed):  # by the system, whose memory may be short
        return TransientError(
            "The process that checks the file was killed.", hint="Try again in a few seconds."
        )
    hint = "Check a smaller part of the file, or check it with `./run.sh check FILE`."
    if isinstance(error, OutOfTime):
        seconds = settings.check_timeout.total_seconds()
        return Refused(422, "check-out-of-time", f"The check took longer than {seconds:g} s.", hint)
    if isinstance(error, OutOfMemory):
        return Refused(
            422,
            "check-out-of-memory",
            f"The check needed more than {settings.image_memory_mb:,} MB of memory.",
            hint,
        )
    return Refused(422, "check-crashed", f"The process that checks the file {error}.", hint)


# -- the report


def _without_rows(
    key: str, routed: ObjectRoute, route: Callable[[str], ObjectRoute]
) -> dict[str, Any]:
    is_image = routed.kind is ObjectKind.IMAGE and routed.dataset is not None
    return {
        "key": key,
        "dataset": routed.dataset.name if is_image and routed.dataset else None,
        "kind": _KINDS[routed.kind],
        "is_accepted": is_image,
        "state": None,
        "rows_read": 0,
        "rows_good": 0,
        "rows_rejected": 0,
        "kept_in_extra": [],
        "added_columns": [],
        "problems": [],
        "note": _of_image(routed) if is_image else _of_unread(key, route),
    }


def _of_image(routed: ObjectRoute) -> str:
    column = "" if routed.attachment is None else f", as its {routed.attachment.column}"
    return (
        f"An image, which a run joins to the row that {printable(routed.attachment_id or '')!r}"
        f" names{column}. Its content is not checked."
    )


def _of_unread(key: str, route: Callable[[str], ObjectRoute]) -> str:
    """That no dataset reads the key, and which ends of it are read by datasets of the caller."""
    others = "".join(
        f" The dataset {name} reads {printable(end)}."
        for name, end in datasets_by_ends(key, route).items()
        if caller().may_see(name)
    )
    return f"No dataset reads the key {printable(key)}.{others} GET /datasets lists the datasets."


def _with_rows(key: str, routed: ObjectRoute, found: CheckedFile) -> dict[str, Any]:
    checked = found.checked
    return {
        "key": key,
        "dataset": routed.dataset.name if routed.dataset else None,
        "kind": _KINDS[routed.kind],
        "is_accepted": not checked.has_errors and routed.kind is ObjectKind.DATA,
        "state": checked.state,
        "rows_read": checked.rows_read,
        "rows_good": checked.rows_read - checked.rows_rejected,
        "rows_rejected": checked.rows_rejected,
        "kept_in_extra": list(checked.kept),
        "added_columns": list(checked.added),
        "problems": [
            {
                "code": one.code,
                "severity": one.severity,
                "line": one.line,
                "column": one.column,
                "value": one.value,
                "note": one.note,
                "raw_line": None if one.line is None else found.raw_lines.get(one.line),
            }
            for one in checked.problems
        ],
        "note": None,
    }

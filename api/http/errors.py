"""Error responses as RFC 9457 problem details: the cause and a hint on how to fix it.

Responses contain nothing internal: no stack trace, no SQL, no address or credential. Details
that clients must not see are logged.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import structlog
from apiflask import APIFlask, HTTPError
from flask import Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from api.http import addresses
from api.http.bodies import max_body_bytes
from api.http.pages import is_page
from api.state.services import services
from etl.model.errors import (
    ConfigurationError,
    EtlError,
    NotSupported,
    ObjectExists,
    ObjectStoreUnavailable,
    TransientError,
    UnreadableObject,
    WrongEvent,
)
from etl.runtime.program import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MIMETYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
TYPE_PREFIX = "urn:bucketline:problem:"

log = structlog.get_logger("api")

View = TypeVar("View", bound="Callable[..., object]")

_EMPTY = "is empty"
HINTS = {
    400: "Check how the client builds the request. If the route takes a body, send valid JSON with"
    " Content-Type: application/json.",
    404: "GET / lists all routes.",
    405: "Use a method from the Allow header; GET /docs describes the methods of each route.",
    406: "Request one of the media types in `available`, or */*. The `format` parameter takes"
    " precedence over Accept.",
    422: "GET /docs lists the parameters of each route and their valid values.",
    500: "This is a bug in Bucketline. The API's log has the details of this request; please"
    " report them.",
    507: "Try again later; the API's log names the full disk. Uploads to a presigned URL"
    " (POST /objects/{bucket}/{key}/presign) do not use this disk.",
}
_STORE_HINT = (
    "Try again in a few seconds. If the error persists, check that S3_ENDPOINT is reachable;"
    " GET /storage/health shows the state of the store."
)
_DETAILS = {
    400: "The request could not be parsed.",
    404: "No route matches this URL.",
    413: "The request body is too large.",
    500: "The API failed because of an unexpected error.",
}


class NotFound(Exception):
    """A resource with the requested ID does not exist."""

    def __init__(self, kind: str, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.hint = hint


class NotAcceptable(Exception):
    """The Accept header allows none of the available media types."""

    def __init__(self, available: list[str]) -> None:
        super().__init__(", ".join(available))
        self.available = available


class Refused(Exception):
    """A refused request: the status, headers and problem details of its response."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        hint: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: int,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.hint = hint
        self.headers = headers
        self.members = members


def unsupported_type(kind: str, hint: str) -> Refused:
    """415 for a body with another Content-Type than the route accepts."""
    fault = f"The Content-Type of the body is {request.mimetype!r}."
    return Refused(415, kind, fault if request.mimetype else "The body has no Content-Type.", hint)


def no_body(hint: str) -> Refused:
    """411 for a request that was probably sent without its body by mistake."""
    return Refused(
        411,
        "no-body",
        "The request has neither a body nor a Content-Length. Nothing was stored.",
        hint,
    )


class WrongParameters(Exception):
    """Invalid parameters: the name and a message for each fault."""

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(f"{name}: {message}" for name, message in self.faults))


def problem_details(
    status: int, detail: str, *, kind: str = "", hint: str = "", **members: object
) -> dict[str, object]:
    """The members of the JSON; `kind` identifies the problem if the status alone does not."""
    return {
        "type": TYPE_PREFIX + kind if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "hint": named(hint or HINTS.get(status, "")),
    } | members


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Response:
    """The response with the problem details of this request."""
    return _response(problem_details(status, detail, kind=kind, hint=hint, **members), headers)


def _response(details: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    here = {"instance": addresses.request_path(), "request_id": g.get("request_id", "")}
    text = json.dumps(details | here, ensure_ascii=False)
    return Response(text + "\n", details["status"], headers=headers, mimetype=MIMETYPE)


def register(app: APIFlask) -> None:
    """Handle all errors of the app, and refuse large bodies and ambiguous parameters."""
    app.logger.disabled = True  # Flask would also log the stack trace, which `handle_http` does not
    app.before_request(refuse_large_body)
    app.before_request(refuse_ambiguous_parameters)
    app.register_error_handler(NotFound, handle_not_found)
    app.register_error_handler(NotAcceptable, handle_not_acceptable)
    app.register_error_handler(Refused, handle_refused)
    app.register_error_handler(WrongParameters, handle_wrong_parameters)
    app.register_error_handler(EtlError, handle_etl_error)
    app.register_error_handler(HTTPError, handle_validation)
    app.register_error_handler(HTTPException, handle_http)


def refuse_large_body() -> None:
    """Refuse with 413 a large body that the server did not refuse before reading it."""
    largest = max_body_bytes(services().settings, request.method, request.path)
    if (request.content_length or 0) > largest:
        raise Refused(413, "body-too-large", _DETAILS[413], body_hint(largest))


def body_hint(largest_bytes: int) -> str:
    """The hint for a body that is larger than allowed."""
    return f"The body of this request may have at most {largest_bytes:,} bytes."


def refuse_ambiguous_parameters() -> None:
    """Refuse with 422 a query parameter that is not UTF-8, repeated or empty.

    A page of the dashboard ignores empty ones, because forms send their empty fields.
    """
    if request.routing_exception is not None:
        return
    parameters: dict[str, list[str]] = defaultdict(list)
    query = request.query_string.decode(errors="surrogateescape")
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        parameters[name].append(value)
    may_repeat = getattr(current_app.view_functions[str(request.endpoint)], "may_repeat", None)
    faults = [
        (_replace_non_utf8(name), fault)
        for name, values in parameters.items()
        for group in ([[one] for one in values] if may_repeat and may_repeat(name) else [values])
        if (fault := _fault_of(name, group)) is not None
        and not (fault == _EMPTY and is_page(request.path))
    ]
    if faults:
        raise WrongParameters(faults)


def repeatable(may_repeat: Callable[[str], bool]) -> Callable[[View], View]:
    """Let a request to the route repeat the parameters whose names the function accepts."""

    def attach(view: View) -> View:
        view.may_repeat = may_repeat  # type: ignore[attr-defined]
        return view

    return attach


def _fault_of(name: str, values: list[str]) -> str | None:
    """The fault of a parameter that is not UTF-8, repeated or empty."""
    if any(text != _replace_non_utf8(text) for text in (name, *values)):
        return "is not UTF-8; percent-encode its UTF-8 bytes, for example ü as %C3%BC"
    if len(values) > 1:
        return "is given more than once"
    return None if values[0] else _EMPTY


def _replace_non_utf8(text: str) -> str:
    """The text with a question mark for each byte that is not UTF-8."""
    return text.encode(errors="replace").decode()


def handle_not_found(error: NotFound) -> Response:
    """404 for an unknown ID."""
    return problem(404, error.detail, kind=error.kind, hint=error.hint)


def handle_not_acceptable(error: NotAcceptable) -> Response:
    """406, with the available media types."""
    return problem(
        406,
        f"The Accept header allows none of the available media types: {error}.",
        kind="not-acceptable",
        headers={"Vary": "Accept"},
        available=error.available,
    )


def handle_refused(error: Refused) -> Response:
    """The status and problem details that the exception holds."""
    details = problem_details(error.status, error.detail, kind=error.kind, hint=error.hint)
    return _response(details | error.members, error.headers)


def handle_wrong_parameters(error: WrongParameters) -> Response:
    """422, with each invalid parameter."""
    detail = "; ".join(f"{name} {message}" for name, message in error.faults)
    return problem(
        422,
        detail if detail.endswith("?") else f"{detail}.",
        kind="wrong-parameters",
        errors=[{"parameter": name, "message": message} for name, message in error.faults],
    )


def handle_validation(error: HTTPError) -> Response:
    """422 from APIFlask's validation: `detail` has messages by location and field."""
    by_location: Mapping[str, Mapping[str, list[str]]] = error.detail or {}
    return handle_wrong_parameters(
        WrongParameters(
            (name, _plain(message))
            for fields in by_location.values()
            for name, messages in fields.items()
            for message in messages
        )
    )


def _plain(message: str) -> str:
    """A pydantic message in the style of our own messages."""
    text = message.removeprefix("Value error, ").replace("Input should be", "must be")
    text = re.sub(r"greater than or equal to (\S+)", r"\1 or more", text)
    return re.sub(r"less than or equal to (\S+)", r"\1 or less", text)


def handle_etl_error(error: EtlError) -> Response:
    """503 for an outage or a wrong setting, 4xx or 501 for an invalid request, otherwise 500."""
    status = _status_of(error)
    write = log.info if status < HTTPStatus.INTERNAL_SERVER_ERROR else log.error
    write(
        "request_failed",
        path=request.path,
        code=error.code,
        message=error.message,
        facts=error.facts,
    )
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem(500, _DETAILS[500])
    detail, hint = error.public_message, error.hint
    if isinstance(error, ObjectStoreUnavailable):
        detail, hint = "The object store is not available.", _STORE_HINT
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    headers = retry if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, detail, kind=_dashed(error.code), hint=hint, headers=headers)


def _status_of(error: EtlError) -> int:
    if type(error) in _STATUSES:
        return _STATUSES[type(error)]
    return 503 if isinstance(error, (TransientError, ConfigurationError)) else 500


def handle_http(error: HTTPException) -> Response | HTTPException:
    """Errors of Flask and werkzeug, and unexpected exceptions; redirects pass through."""
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return error
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = getattr(error, "original_exception", None) or error
        log.error(
            "request_crashed", path=request.path, error=_first_line(cause), at=_locations(cause)
        )
    headers = {name: value for name, value in error.get_headers() if name not in _BODY_HEADERS}
    return problem(status, _DETAILS.get(status, error.description or error.name), headers=headers)


def _first_line(error: BaseException) -> str:
    """Type and message, without the statement and data that SQLAlchemy appends."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _locations(error: BaseException) -> list[str]:
    """File, line and function of each stack frame in our own code, without any data."""
    frames = ((Path(frame.filename), frame) for frame in extract_tb(error.__traceback__))
    inside = [(path.relative_to(_ROOT), at) for path, at in frames if path.is_relative_to(_ROOT)]
    return [f"{path}:{at.lineno} {at.name}" for path, at in inside if path.parts[0] in _PACKAGES]


_ROOT = Path(__file__).parents[2]
_PACKAGES = ("api", "etl")
_STATUSES: dict[type[EtlError], int] = {
    UnreadableObject: 403,
    ObjectExists: 412,
    NotSupported: 501,
    WrongEvent: 400,
}
_BODY_HEADERS = ("Content-Type", "Content-Length")


def _dashed(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")

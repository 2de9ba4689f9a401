"""Every error as RFC 9457 `application/problem+json`: what happened, and what to do about it.

Nothing internal leaves through here: no stack trace, no statement, no address or credential
of the database. What a client may not see goes to the log.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import structlog
from apiflask import APIFlask, HTTPError
from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from api.http import addresses
from api.http.bodies import largest_body
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
    from collections.abc import Iterable, Mapping

MIMETYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
TYPE_PREFIX = "urn:bucketline:problem:"

log = structlog.get_logger("api")

_HINTS = {
    400: "Check the body (JSON, if the route takes one, with Content-Type: application/json) and"
    " how the client builds the request.",
    404: "GET / lists every route.",
    405: "The Allow header lists the methods of this route; GET /docs describes them.",
    406: "Ask for one of `available`, or for */*; `format` in the query goes before Accept.",
    422: "GET /docs lists the parameters of each route and what they may be.",
    500: "This is a fault of Bucketline; the API's log tells more. Please report it.",
    507: "Try again later; the API's log names the full disk. An upload to a presigned"
    " URL (POST /objects/{bucket}/{key}/presign) does not use this disk.",
}
_STORE_HINT = (
    "Try again in a few seconds; if it lasts, check that S3_ENDPOINT answers."
    " GET /storage/health tells more."
)
_DETAILS = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    413: "The request's body is too large.",
    500: "Something went wrong that should not.",
}


class NotFound(Exception):
    """A thing that was asked for by its id is not there (any more)."""

    def __init__(self, kind: str, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.hint = hint


class NotAcceptable(Exception):
    """The Accept header fits none of the media types there are."""

    def __init__(self, available: list[str]) -> None:
        super().__init__(", ".join(available))
        self.available = available


class Refused(Exception):
    """A request that a route cannot serve: the status, and what a problem document says."""

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


class WrongParameters(Exception):
    """Query parameters that cannot be meant: parameter and message for each fault."""

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(f"{name}: {message}" for name, message in self.faults))


def document(
    status: int, detail: str, *, kind: str = "", hint: str = "", **members: object
) -> dict[str, object]:
    """A problem document; `kind` names it for machines where the status alone does not."""
    return {
        "type": TYPE_PREFIX + kind if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "hint": named(hint or _HINTS.get(status, "")),
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
    """The answer that carries a problem document of this request."""
    return _response(document(status, detail, kind=kind, hint=hint, **members), headers)


def _response(facts: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    told = facts | {"instance": addresses.of_request(), "request_id": g.get("request_id", "")}
    text = json.dumps(told, ensure_ascii=False)
    return Response(text + "\n", facts["status"], headers=headers, mimetype=MIMETYPE)


def register(app: APIFlask) -> None:
    """Let the app answer its errors, and refuse requests that no route could mean."""
    app.logger.disabled = True  # Flask would print the stack of what `of_http` logs
    app.before_request(refuse_large_body)
    app.before_request(refuse_doubtful_parameters)
    app.register_error_handler(NotFound, of_missing)
    app.register_error_handler(NotAcceptable, of_formats)
    app.register_error_handler(Refused, of_refused)
    app.register_error_handler(WrongParameters, of_parameters)
    app.register_error_handler(EtlError, of_ours)
    app.register_error_handler(HTTPError, of_validation)
    app.register_error_handler(HTTPException, of_http)


def refuse_large_body() -> None:
    """Answer 413 before a route is entered; the server does so before it reads the body."""
    largest = largest_body(services().settings, request.method, request.path)
    if (request.content_length or 0) > largest:
        raise Refused(413, "body-too-large", _DETAILS[413], body_hint(largest))


def body_hint(largest_bytes: int) -> str:
    """What to tell somebody who sent more."""
    return f"A body may hold {largest_bytes:,} bytes here."


def refuse_doubtful_parameters() -> None:
    """Answer 422 where there is no telling what was meant by a parameter."""
    if request.routing_exception is not None:
        return
    given: dict[str, list[str]] = defaultdict(list)
    query = request.query_string.decode(errors="surrogateescape")
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        given[name].append(value)
    faults = [
        (_in_utf8(name), fault)
        for name, values in given.items()
        if (fault := _doubt(name, values)) is not None
    ]
    if faults:
        raise WrongParameters(faults)


def _doubt(name: str, values: list[str]) -> str | None:
    """What is wrong with a parameter, if it is not UTF-8, given more than once, or empty."""
    if any(text != _in_utf8(text) for text in (name, *values)):
        return "is not UTF-8; write its bytes in UTF-8, with percent signs: %C3%BC for ü"
    if len(values) > 1:
        return "is given more than once"
    return None if values[0] else "is empty"


def _in_utf8(text: str) -> str:
    """The text with a question mark for each byte that is not UTF-8."""
    return text.encode(errors="replace").decode()


def of_missing(error: NotFound) -> Response:
    """404 for an id we do not know."""
    return problem(404, error.detail, kind=error.kind, hint=error.hint)


def of_formats(error: NotAcceptable) -> Response:
    """406 that names what there is."""
    return problem(
        406,
        f"The Accept header fits none of {error}.",
        kind="not-acceptable",
        headers={"Vary": "Accept"},
        available=error.available,
    )


def of_refused(error: Refused) -> Response:
    """Whatever the route says is wrong with the request."""
    facts = document(error.status, error.detail, kind=error.kind, hint=error.hint)
    return _response(facts | error.members, error.headers)


def of_parameters(error: WrongParameters) -> Response:
    """422 that names each parameter at fault."""
    return problem(
        422,
        "; ".join(f"{name} {message}" for name, message in error.faults) + ".",
        kind="wrong-parameters",
        errors=[{"parameter": name, "message": message} for name, message in error.faults],
    )


def of_validation(error: HTTPError) -> Response:
    """422 from APIFlask's validation: `detail` holds messages by place and field."""
    by_place: Mapping[str, Mapping[str, list[str]]] = error.detail or {}
    return of_parameters(
        WrongParameters(
            (name, _plain(message))
            for fields in by_place.values()
            for name, messages in fields.items()
            for message in messages
        )
    )


def _plain(message: str) -> str:
    """A message of pydantic's in the words of our own."""
    ours = message.removeprefix("Value error, ").replace("Input should be", "must be")
    ours = re.sub(r"greater than or equal to (\S+)", r"\1 or more", ours)
    return re.sub(r"less than or equal to (\S+)", r"\1 or less", ours)


def of_ours(error: EtlError) -> Response:
    """400 for a message that is none, 503 for an outage or a wrong setting, else 500."""
    status = _status_of(error)
    tell = log.info if status < HTTPStatus.INTERNAL_SERVER_ERROR else log.error
    tell(
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
    passing = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    headers = passing if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, detail, kind=_dashed(error.code), hint=hint, headers=headers)


def _status_of(error: EtlError) -> int:
    if type(error) in _OF_THE_CLIENT:
        return _OF_THE_CLIENT[type(error)]
    return 503 if isinstance(error, (TransientError, ConfigurationError)) else 500


def of_http(error: HTTPException) -> Response | HTTPException:
    """Whatever Flask or werkzeug refuses; redirections pass through."""
    status = error.code or 500
    if status < HTTPStatus.BAD_REQUEST:
        return error
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = getattr(error, "original_exception", None) or error
        log.error("request_crashed", path=request.path, error=_first_line(cause), at=_places(cause))
    headers = {name: value for name, value in error.get_headers() if name not in _BODY_HEADERS}
    return problem(status, _DETAILS.get(status, error.description or error.name), headers=headers)


def _first_line(error: BaseException) -> str:
    """What went wrong, without what SQLAlchemy adds: the statement and its data."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _places(error: BaseException) -> list[str]:
    """Where in our own code it happened; the code of others, and the data, are nobody's to see."""
    frames = ((Path(frame.filename), frame) for frame in extract_tb(error.__traceback__))
    named = [
        (path.relative_to(_ROOT), frame) for path, frame in frames if path.is_relative_to(_ROOT)
    ]
    return [f"{path}:{at.lineno} {at.name}" for path, at in named if path.parts[0] in _OURS]


_ROOT = Path(__file__).parents[2]
_OURS = ("api", "etl")
_OF_THE_CLIENT: dict[type[EtlError], int] = {
    UnreadableObject: 403,
    ObjectExists: 412,
    NotSupported: 501,
    WrongEvent: 400,
}
_BODY_HEADERS = ("Content-Type", "Content-Length")


def _dashed(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")

"""/documents: JSON documents in the object store; each upload to a name adds a version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http import paging, preconditions
from api.http.errors import NotFound, Refused, unsupported_type
from api.schemas.documents import (
    DocumentQuery,
    Documents,
    DocumentsQuery,
    DocumentVersions,
    SavedDocument,
    UploadQuery,
    VersionsQuery,
)
from api.schemas.query import NoQuery
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.model.json_text import MAX_DEPTH, NotJson, TooDeep, check_json
from etl.model.roles import Role
from etl.storage.documents import CONTENT_TYPE, Document

if TYPE_CHECKING:
    from etl.storage.documents import DocumentStore

bp = APIBlueprint("documents", __name__, tag="Documents")

_ETAG = {"ETag": {"description": "The version's ETag.", "schema": {"type": "string"}}}
_CONTENT = {
    "description": "The document, byte for byte as uploaded.",
    "headers": _ETAG,
    "content": {CONTENT_TYPE: {"schema": {}, "example": {"any": "JSON value"}}},
}


@bp.post("/documents")
@needs(Role.WRITER)
@bp.input(UploadQuery, location="query")
@bp.output(SavedDocument, 201, description="The document is stored.")
@bp.doc(
    responses={
        201: {"headers": openapi.LOCATION_HEADER | _ETAG},
        **openapi.problems(400, 412, 413, 415, 422, 501, 503, 507),
    }
)
def upload_document(query_data: UploadQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Store a JSON document.

    The content is stored byte for byte. Without `name`, the API generates a name from the
    time. If the name exists, the upload becomes its newest version, and older versions stay
    available.

    A condition (If-Match, If-None-Match, If-Unmodified-Since) returns 412 if it is not met.
    Otherwise it returns 501, because documents cannot be saved conditionally.
    """
    if request.mimetype != CONTENT_TYPE and not request.mimetype.endswith("+json"):
        raise unsupported_type(
            "not-json", f"Send JSON with the header Content-Type: {CONTENT_TYPE}."
        )
    content = request.get_data(cache=False)
    _check(content)
    _check_conditions(query_data.name)
    saved = _store().save(query_data.name, content, datetime.now(UTC))
    location = url_for("documents.show_document", name=saved.name)
    return _as_json(saved), 201, {"Location": location, "ETag": f'"{saved.etag}"'}


def _check(content: bytes) -> None:
    try:
        check_json(content)
    except TooDeep as error:
        raise Refused(
            422,
            "nested-too-deeply",
            f"The JSON is nested more than {MAX_DEPTH:,} levels deep at line {error.line}, column"
            f" {error.column}.",
            f"Reduce the nesting to {MAX_DEPTH:,} levels, or store the JSON as an object.",
            line=error.line,
            column=error.column,
        ) from error
    except NotJson as error:
        raise Refused(
            400,
            "invalid-json",
            f"The body is not JSON: {error.reason}, at line {error.line}, column {error.column}.",
            "Correct it there. NaN, Infinity, comments, byte order marks and UTF-16 are not valid.",
            line=error.line,
            column=error.column,
        ) from error


def _check_conditions(name: str | None) -> None:
    """Raises:  412 when a condition fails; 501 when it holds, because it may fail before the write.

    A document without a name gets an unused one, which no other request can create.
    """
    if not preconditions.is_conditional(request):
        return
    preconditions.check_change(request, None if name is None else _store().find(name))
    if name is not None:
        raise preconditions.not_supported("A document cannot be saved")


@bp.get("/documents")
@needs(Role.READER)
@bp.input(DocumentsQuery, location="query")
@bp.output(Documents, description="A page of documents.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_documents(query_data: DocumentsQuery) -> tuple[dict[str, Any], dict[str, str]]:
    """List the documents, in byte order of their names."""
    query = query_data
    page = _store().page(query.prefix or "", query.after or "", query.limit)
    listed = [
        {
            "name": info.key,
            "size": info.size,
            "etag": info.etag,
            "last_modified": info.last_modified,
        }
        for info in page.objects
    ]
    return {"documents": listed}, paging.next_link(page.after) if page.after else {}


@bp.get("/documents/<document:name>")
@needs(Role.READER)
@bp.input(DocumentQuery, location="query")
@bp.doc(
    responses={200: _CONTENT, 304: openapi.NOT_MODIFIED, **openapi.problems(404, 412, 422, 503)}
)
def show_document(name: str, query_data: DocumentQuery) -> Response:
    """Show a document, or an older version of it with `version`."""
    found = _store().find(name, query_data.version)
    if found is None:
        raise _unknown(name, query_data.version)
    response = Response(mimetype=CONTENT_TYPE)
    response.set_etag(found.etag)
    response.last_modified = found.last_modified
    response.headers["Cache-Control"] = "no-cache"
    if found.version:
        response.headers["X-Version"] = found.version
    preconditions.check_match(request, found)
    if not preconditions.is_modified(request, found):
        response.status_code = 304
        return response
    content = _store().read(found)
    if content is None:
        raise _unknown(name, query_data.version)
    response.data = content
    return response


@bp.get("/documents/<document:name>/versions")
@needs(Role.READER)
@bp.input(VersionsQuery, location="query")
@bp.output(DocumentVersions, description="The versions, newest first.")
@bp.doc(responses=openapi.problems(404, 422, 503))
def list_versions(name: str, query_data: VersionsQuery) -> dict[str, Any]:
    """List the versions of a document, newest first."""
    found = _store().versions(name, query_data.limit)
    if not found:
        raise _unknown(name)
    return {"name": name, "versions": [_as_json(item) for item in found]}


@bp.delete("/documents/<document:name>")
@needs(Role.ADMIN)
@bp.input(NoQuery, location="query")
@bp.output({}, 204, description="The document and all its versions are removed.")
@bp.doc(responses=openapi.problems(404, 412, 422, 501, 503))
def remove_document(name: str, query_data: NoQuery) -> tuple[str, int]:  # noqa: ARG001
    """Remove a document with all its versions.

    A condition (If-Match, If-None-Match, If-Unmodified-Since) returns 412 if it is not met.
    Otherwise it returns 501, because documents cannot be removed conditionally.
    """
    if preconditions.is_conditional(request):
        found = _store().find(name)
        if found is None:
            raise _unknown(name)
        preconditions.check_change(request, found)
        raise preconditions.not_supported("A document cannot be removed")
    if not _store().remove(name):
        raise _unknown(name)
    return "", 204


def _store() -> DocumentStore:
    return services().documents


def _as_json(document: Document) -> dict[str, Any]:
    return {
        "name": document.name,
        "version": document.version,
        "size": document.size,
        "etag": document.etag,
        "last_modified": document.last_modified,
    }


def _unknown(name: str, version: str | None = None) -> NotFound:
    if version is not None:
        return NotFound(
            "unknown-version",
            f"There is no version {version!r} of document {name!r}.",
            f"GET /documents/{name}/versions lists the versions.",
        )
    return NotFound(
        "unknown-document", f"There is no document {name!r}.", "GET /documents lists the documents."
    )

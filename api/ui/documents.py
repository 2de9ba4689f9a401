"""The JSON documents: a list, one with its versions, and its removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiflask import APIBlueprint
from flask import Response, url_for

from api.http.errors import NotFound
from api.security.auth import needs
from api.state.services import services
from api.ui import forms
from api.ui.parameters import given
from api.ui.render import page, query
from etl.model.roles import Role
from etl.storage.documents import CONTENT_TYPE

if TYPE_CHECKING:
    from etl.storage.documents import Document

PAGE_DOCUMENTS = 50
SHOWN_BYTES = 64 * 1024  # of a document; a larger one is only for download
SHOWN_VERSIONS = 50

bp = APIBlueprint("documents", __name__, enable_openapi=False)


@bp.get("/documents")
@needs(Role.READER)
def list_documents() -> Response:
    """List the documents, in order of their names."""
    prefix, after = given("prefix"), given("after")
    found = services().documents.page(prefix or "", after or "", PAGE_DOCUMENTS)
    return page(
        "documents/list.html",
        title="Documents",
        json_url="/documents",
        documents=found.objects,
        bucket=services().settings.document_bucket,
        prefix=prefix,
        next_url=query(after=found.after) if found.after else None,
        first_url=query(after=None) if after else None,
        clear_url=query(prefix=None, after=None),
    )


@bp.get("/documents/<document:name>")
@needs(Role.READER)
def show_document(name: str) -> Response:
    """Show a document, or an older version of it, with its versions."""
    version = given("version")
    found = _find(name, version)
    content = services().documents.read(found) if found.size <= SHOWN_BYTES else None
    return page(
        "documents/document.html",
        title=name,
        json_url=url_for("documents.show_document", name=name),
        document=found,
        asked_version=version,
        content=None if content is None else content.decode("utf-8", "replace"),
        versions=services().documents.versions(name, SHOWN_VERSIONS),
        most_versions=SHOWN_VERSIONS,
    )


@bp.get("/documents/<document:name>/download")
@needs(Role.READER)
def download_document(name: str) -> Response:
    """Send a document, or a version of it, as a file."""
    content = services().documents.read(_find(name, given("version")))
    if content is None:
        raise _unknown(name)
    response = Response(content, mimetype=CONTENT_TYPE)
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}.json")
    return response


@bp.get("/documents/<document:name>/remove")
@needs(Role.ADMIN)
def confirm_removal(name: str) -> Response:
    """Ask whether to remove a document."""
    _find(name, None)
    versions = services().documents.versions(name, SHOWN_VERSIONS)
    return page(
        "documents/remove.html",
        title=f"Remove {name}",
        name=name,
        versions=versions,
        most_versions=SHOWN_VERSIONS,
    )


@bp.post("/documents/<document:name>/remove")
@needs(Role.ADMIN)
def remove_document(name: str) -> Response:
    """Remove a document with all its versions."""
    if not services().documents.remove(name):
        raise _unknown(name)
    return forms.see(url_for("ui.documents.list_documents"))


def _find(name: str, version: str | None) -> Document:
    """The document, or a version of it.

    Raises:  NotFound.
    """
    found = services().documents.find(name, version)
    if found is None:
        raise _unknown(name)
    return found


def _unknown(name: str) -> NotFound:
    return NotFound(
        "unknown-document",
        f"There is no document {name!r}, or not this version of it.",
        "The page Documents lists all.",
    )

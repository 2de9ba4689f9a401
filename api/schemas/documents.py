"""Schemas of /documents."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import ETAG_EXAMPLE, SHORT_PAGE, Query, ShortPage
from etl.storage.documents import NAME

NAME_EXAMPLE = "data_20260102T030405_000006_9f86d081.json"


def _document_name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise ValueError(
            "must be 1 to 200 characters of A-Z a-z 0-9 . _ - and begin with a letter or digit"
        )
    return value


DocumentName = Annotated[
    str, AfterValidator(_document_name), Field(json_schema_extra={"pattern": f"^{NAME}$"})
]


class UploadQuery(Query):
    """The name under which to store a document."""

    name: DocumentName | None = Field(
        None,
        description="Name of the document. Without it, the API generates a name.",
        examples=["report.json"],
    )


class DocumentsQuery(Query):
    """Filter and page of the documents, in byte order of their names."""

    prefix: DocumentName | None = Field(
        None, description="Only names with this prefix.", examples=["data_2026"]
    )
    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of documents per page.")
    after: DocumentName | None = Field(None, description="Only names that follow this one.")


class DocumentQuery(Query):
    """Which version of a document to return."""

    version: DocumentName | None = Field(
        None, description="Version to return. Without it, the newest."
    )


class VersionsQuery(Query):
    """How many versions of a document to list."""

    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of versions.")


class ListedDocument(BaseModel):
    """A document without its content."""

    name: str = Field(examples=[NAME_EXAMPLE])
    size: int = Field(description="Size in bytes.", examples=[17])
    etag: str = Field(examples=[ETAG_EXAMPLE])
    last_modified: datetime = Field(examples=["2026-01-02T03:04:05.006000Z"])


class Documents(BaseModel):
    """A page of documents."""

    documents: list[ListedDocument]


class SavedDocument(ListedDocument):
    """One version of a document, without its content."""

    version: str = Field(examples=["20260102T030405_000006_6d7f3a90"])


class DocumentVersions(BaseModel):
    """The versions of a document."""

    name: str = Field(examples=[NAME_EXAMPLE])
    versions: list[SavedDocument]

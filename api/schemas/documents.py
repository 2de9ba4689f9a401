"""JSON documents."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import SHORT_PAGE, Query, ShortPage
from etl.storage.documents import NAME


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

"""/objects: what lies in the buckets, object by object: list, upload, download, remove, presign."""

from __future__ import annotations

import mimetypes
import os
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, request

from api import downloads, listings, openapi
from api.auth import needs, require
from api.errors import NotFound, Refused, WrongParameters
from api.schemas.objects import (
    Buckets,
    DownloadQuery,
    Listing,
    ObjectsQuery,
    PresignedUrl,
    PresignRequest,
    SavedObjects,
    StoredObject,
)
from api.schemas.query import NoQuery
from api.services import services
from etl.access import Role
from etl.errors import KeyRefused, KeyTaken
from etl.objects import Link, ObjectInfo, Objects, Upload

if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

LONGEST_KEY_BYTES = 1024
LARGEST_METADATA_BYTES = 2048
LONGEST_CONTENT_TYPE = 1024  # stores take a few kilobytes of headers in all
UNTYPED = "application/octet-stream"

_METADATA = "x-meta-"
_STORE_METADATA = "x-amz-meta-"  # goes before each name on its way to the store
_UNSPEAKABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, line ends
# What a browser may show by itself: none of them runs anything. The rest is to be saved.
_SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif", "text/plain", "text/csv")
# What clients say who say nothing of the type.
_FORM_TYPES = ("application/x-www-form-urlencoded", "application/octet-stream", "")

bp = APIBlueprint("objects", __name__, tag="Objects")

_EXAMPLE = {
    "key": "reports/2026.csv",
    "size": 66,
    "etag": "9bb58f26192e4ba00f01e2e7b136bbd8",
    "last_modified": "2026-01-02T03:04:05.006000Z",
}
_STORED_EXAMPLE = {
    "bucket": "src-data",
    "key": "1000.csv",
    "size": 66,
    "etag": "9bb58f26192e4ba00f01e2e7b136bbd8",
    "content_type": "text/csv",
}


# -- buckets and listings


@bp.get("/objects")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.output(
    Buckets,
    description="The buckets.",
    example={"buckets": [{"name": "src-data", "rights": "rw", "exists": True}]},
)
@bp.doc(responses=openapi.problems(422, 503))
def list_buckets(query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """List the buckets that may be used here, with what may be done in them."""
    shared = services()
    return {
        "buckets": [
            {"name": name, "rights": rights, "exists": shared.store.has_bucket(name)}
            for name, rights in shared.settings.object_rights.items()
        ]
    }


@bp.get("/objects/<bucket>")
@needs(Role.READER)
@bp.input(ObjectsQuery, location="query")
@bp.output(
    Listing,
    description="Objects and folders in byte order; `after` is null when there are no more.",
    example={"bucket": "src-data", "entries": [_EXAMPLE, {"folder": "photos/"}], "after": None},
)
@bp.doc(responses=openapi.problems(404, 422, 503))
def list_objects(bucket: str, query_data: ObjectsQuery) -> Response:
    """List a bucket.

    Keys that go on after a `/` behind the prefix are shown as one folder, unless `recursive`.
    A long answer is streamed, so `limit` may be large; `after` in it is what to go on with.
    """
    _allow(bucket)
    query = query_data
    found = _objects().list(
        bucket, prefix=query.prefix or "", after=query.after or "", recursive=query.recursive
    )
    head = _objects().head if query.content_type else None
    pieces = listings.as_json(bucket, found, query.most, head)
    return listings.answer(pieces, is_long=query.is_long)


# -- single objects


@bp.put("/objects/<bucket>/<object_key:key>")
@needs(Role.WRITER)
@bp.input(NoQuery, location="query")
@bp.output(StoredObject, description="It is stored.", example=_STORED_EXAMPLE)
@bp.doc(
    responses={
        200: {"headers": openapi.LOCATION_HEADER},
        **openapi.problems(403, 404, 409, 412, 413, 415, 422, 501, 503),
    }
)
def upload_object(
    bucket: str,
    key: str,
    query_data: NoQuery,  # noqa: ARG001
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Store the body as an object; one that is there is replaced.

    Without a content type it is guessed from the key. Headers `X-Meta-*` become its metadata.
    With `If-None-Match: *` nothing is replaced: 412, or 501 where the store cannot do that.
    """
    _allow(bucket, "w")
    _check_key(key)
    size = -1 if request.content_length is None else request.content_length
    upload = Upload(request.stream, size, _content_type(key, request.mimetype), _metadata())
    etag = _put(bucket, key, upload)
    stored = _stored(bucket, key, max(size, 0), etag, upload.content_type)
    return stored, 200, {"Location": _address(bucket, key), "ETag": f'"{etag}"'}


@bp.post("/objects/<bucket>")
@needs(Role.WRITER)
@bp.input(NoQuery, location="query")
@bp.output(SavedObjects, 201, description="All are stored.", example={"objects": [_STORED_EXAMPLE]})
@bp.doc(responses=openapi.problems(400, 403, 404, 409, 412, 413, 415, 422, 501, 503))
def upload_form(bucket: str, query_data: NoQuery) -> tuple[dict[str, Any], int]:  # noqa: ARG001
    """Store the files of a form (`multipart/form-data`).

    Each field `file` is one object, called as the file is; `prefix` goes before the names, and
    `key` names a single one.
    """
    _allow(bucket, "w")
    if request.mimetype != "multipart/form-data":
        raise Refused(
            415,
            "not-a-form",
            f"The body is declared to be {request.mimetype or 'nothing'!r}.",
            "Send a form, as `curl -F file=@1000.csv` does, or PUT the bytes to a key.",
        )
    named = _named_files()
    return {"objects": [_put_file(bucket, key, file) for key, file in named]}, 201


def _named_files() -> list[tuple[str, FileStorage]]:
    """The form's files with the keys they are to get; all of them checked before one is put."""
    files = request.files.getlist("file")
    key = request.form.get("key")
    if not files:
        raise WrongParameters([("file", "is missing: send at least one file")])
    if key is not None and len(files) > 1:
        raise WrongParameters([("key", "names one object, but there are several files")])
    prefix = request.form.get("prefix", "")
    named = [(key or prefix + os.path.basename(file.filename or ""), file) for file in files]  # noqa: PTH119
    for name, file in named:
        _check_key(name)
        _content_type(name, file.mimetype)
    repeated = [name for name, times in Counter(name for name, _ in named).items() if times > 1]
    if repeated:
        raise WrongParameters([("file", f"names {name!r} more than once") for name in repeated])
    return named


def _put_file(bucket: str, key: str, file: FileStorage) -> dict[str, Any]:
    """Store one file. What curl and others say of a file they do not know is no type."""
    size = file.stream.seek(0, os.SEEK_END)
    file.stream.seek(0)
    upload = Upload(file.stream, size, _content_type(key, file.mimetype))
    return _stored(bucket, key, size, _put(bucket, key, upload), upload.content_type)


def _put(bucket: str, key: str, upload: Upload) -> str:
    try:
        return _put_on_condition(bucket, key, upload)
    except KeyTaken as error:
        raise Refused(409, "key-taken", error.message, error.advice) from error
    except KeyRefused as error:
        raise WrongParameters([("key", "is none that the object store takes")]) from error


def _put_on_condition(bucket: str, key: str, upload: Upload) -> str:
    condition = request.headers.get("If-None-Match")
    if condition is None and "If-Match" not in request.headers:
        return _objects().put(bucket, key, upload)
    if condition != "*":
        raise Refused(
            501,
            "condition-not-supported",
            "An upload knows no condition but `If-None-Match: *`.",
            "Leave the condition out, or use that one.",
        )
    return _objects().put_new(bucket, key, upload)


@bp.get("/objects/<bucket>/<object_key:key>")
@needs(Role.READER)
@bp.input(DownloadQuery, location="query")
@bp.doc(
    responses={
        200: openapi.DOWNLOAD,
        206: openapi.DOWNLOAD | {"description": "The part that `Range` asks for."},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(403, 404, 412, 416, 422, 503),
    }
)
def download_object(bucket: str, key: str, query_data: DownloadQuery) -> Response:
    """Download an object, or with `Range` a part of it; HEAD tells about it only.

    What a browser could run is sent as a file to save; with `download`, everything is.
    """
    _allow(bucket)
    _check_key(key)
    response = downloads.send(
        bucket, key, lambda info: _describe(info, as_file=query_data.download)
    )
    if response is None:
        raise _unknown(bucket, key)
    return response


@bp.delete("/objects/<bucket>/<object_key:key>")
@needs(Role.ADMIN)
@bp.input(NoQuery, location="query")
@bp.output({}, 204, description="It is gone.")
@bp.doc(responses=openapi.problems(403, 404, 422, 503))
def remove_object(bucket: str, key: str, query_data: NoQuery) -> tuple[str, int]:  # noqa: ARG001
    """Remove an object."""
    _allow(bucket, "w")
    _check_key(key)
    if _objects().head(bucket, key) is None:
        raise _unknown(bucket, key)
    _objects().remove(bucket, key)
    return "", 204


@bp.post("/objects/<bucket>/<object_key:key>/presign")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.input(PresignRequest, location="json")
@bp.output(
    PresignedUrl,
    description="The URL.",
    example={
        "url": "http://127.0.0.1:9000/src-data/1000.csv?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "method": "GET",
        "expires_at": "2026-01-02T03:19:05Z",
    },
)
@bp.doc(responses=openapi.problems(400, 403, 404, 413, 415, 422, 503))
def presign_object(
    bucket: str,
    key: str,
    query_data: NoQuery,  # noqa: ARG001
    json_data: PresignRequest,
) -> dict[str, Any]:
    """Make a URL with which anybody may get or put this one object, past this API, for a while.

    Other methods than POST are for an object whose own key ends in `/presign`.
    """
    if request.get_json(force=True) is None:  # APIFlask takes null for an empty object
        raise WrongParameters([("body", "must be an object")])
    if json_data.method == "PUT":
        require(Role.WRITER, "A URL to put an object")
    _allow(bucket, "w" if json_data.method == "PUT" else "r")
    _check_key(key)
    lifetime = timedelta(seconds=json_data.expires_seconds)
    link = Link(json_data.method, lifetime, json_data.s3_headers)
    expires_at = datetime.now(UTC).replace(microsecond=0) + lifetime
    url = _objects().presign(bucket, key, link)
    return {"url": url, "method": json_data.method, "expires_at": expires_at}


# -- what they share


def _objects() -> Objects:
    return services().objects


def _allow(bucket: str, right: str = "r") -> None:
    """Raises:  404 for a bucket that is not on the list, 403 for one that is only read."""
    rights = services().settings.object_rights
    if bucket not in rights:
        raise NotFound(
            "unknown-bucket",
            f"Bucket {bucket!r} is none of those that may be used here.",
            "GET /objects lists them; the setting OBJECT_BUCKETS names them.",
        )
    if right not in rights[bucket]:
        raise Refused(
            403,
            "read-only-bucket",
            f"Bucket {bucket!r} may only be read here.",
            "GET /objects lists the rights; the setting OBJECT_BUCKETS gives them.",
        )


def _check_key(key: str) -> None:
    """Raises:  422 for a key that some store or client would take for another one."""
    fault = _fault_of(key)
    if fault is not None:
        raise WrongParameters([("key", fault)])


def _fault_of(key: str) -> str | None:
    if not key.strip():  # clients take a blank one for none
        return "is blank"
    if len(key.encode("utf-8", "replace")) > LONGEST_KEY_BYTES:
        return f"is longer than {LONGEST_KEY_BYTES} bytes"
    if any(unicodedata.category(character) in _UNSPEAKABLE for character in key):
        return "holds a control character"
    if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
        return "has a part between slashes that is empty, `.` or `..`"
    return None


def _content_type(key: str, declared: str) -> str:
    if declared in _FORM_TYPES:
        return mimetypes.guess_type(key)[0] or UNTYPED
    found = request.content_type or declared if declared == request.mimetype else declared
    if not _is_printable(found):
        raise WrongParameters([("Content-Type", "must be printable ASCII")])
    if len(found) > LONGEST_CONTENT_TYPE:
        raise Refused(
            415,
            "content-type-too-long",
            f"The Content-Type has {len(found):,} characters.",
            f"Send one of {LONGEST_CONTENT_TYPE:,} characters or fewer, or none: it is then"
            " guessed from the key.",
        )
    return found


def _is_printable(header: str) -> bool:
    return header.isascii() and header.isprintable()


def _metadata() -> dict[str, str]:
    found = {
        name.lower().removeprefix(_METADATA): value
        for name, value in request.headers.items()
        if name.lower().startswith(_METADATA)
    }
    if not all(name and _is_printable(name + value) for name, value in found.items()):
        raise WrongParameters([("X-Meta-*", "must be printable ASCII; percent-encode the rest")])
    # Some stores count names with their prefix.
    size = sum(len(_STORE_METADATA + name + value) for name, value in found.items())
    if size > LARGEST_METADATA_BYTES:
        raise WrongParameters([("X-Meta-*", f"may hold {LARGEST_METADATA_BYTES} bytes in all")])
    return found


def _describe(info: ObjectInfo, *, as_file: bool) -> dict[str, str]:
    content_type = info.content_type or UNTYPED
    is_shown = content_type.partition(";")[0].strip().lower() in _SHOWN and not as_file
    name = info.key.rstrip("/").rpartition("/")[2]
    disposition = "inline" if is_shown else "attachment"
    return {
        "Content-Type": content_type,
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-cache",
        **{f"X-Meta-{name}": value for name, value in info.metadata.items()},
    }


def _stored(bucket: str, key: str, size: int, etag: str, content_type: str) -> dict[str, Any]:
    return {"bucket": bucket, "key": key, "size": size, "etag": etag, "content_type": content_type}


def _address(bucket: str, key: str) -> str:
    return f"/objects/{bucket}/{quote(key)}"


def _unknown(bucket: str, key: str) -> NotFound:
    return NotFound(
        "unknown-object",
        f"There is no object {key!r} in bucket {bucket!r}.",
        f"GET /objects/{bucket} lists them.",
    )

"""/objects: what lies in the buckets, object by object: list, upload, download, remove, presign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, request

from api.http import downloads, form_files, forms, object_headers, object_keys, preconditions
from api.http.errors import NotFound, Refused, WrongParameters
from api.routes import listings
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
from api.security.auth import needs, require
from api.spec import openapi
from api.state.services import services
from etl.model.errors import InvalidKey, KeyConflict, ObjectChanged
from etl.model.roles import Role
from etl.storage.objects import Link, ObjectInfo, Objects, Upload

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
        **openapi.problems(400, 403, 404, 409, 411, 412, 413, 415, 422, 501, 503, 507),
    }
)
def upload_object(
    bucket: str,
    key: str,
    query_data: NoQuery,  # noqa: ARG001
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Store the body as an object, replacing an existing one.

    Without a content type it is guessed from the key. Headers `X-Meta-*` become its metadata.
    With `If-None-Match: *` nothing is replaced, with `If-Match` only that version; otherwise
    412, or 501 if the store does not support it.
    """
    _allow(bucket, "w")
    object_keys.check(key, is_put=True)
    size = _size()
    content_type = object_headers.content_type(key, request.content_type or "")
    upload = Upload(request.stream, size, content_type, object_headers.metadata(request.headers))
    etag = _put(bucket, key, upload)
    stored = _stored(bucket, key, max(size, 0), etag, upload.content_type)
    return stored, 200, {"Location": _address(bucket, key), "ETag": f'"{etag}"'}


def _size() -> int:
    """The size of the body, -1 if it comes in chunks of unknown number.

    Raises:  411 without either: a client that forgot the body would empty the object.
    """
    if request.content_length is not None:
        return request.content_length
    if "chunked" in request.headers.get("Transfer-Encoding", ""):
        return -1
    raise Refused(
        411,
        "no-body",
        "The request has neither a body nor a Content-Length. Nothing was stored.",
        "Send the bytes (curl: -T FILE), or Content-Length: 0 for an empty object.",
    )


@bp.post("/objects/<bucket>")
@needs(Role.WRITER)
@bp.input(NoQuery, location="query")
@bp.output(SavedObjects, 201, description="All are stored.", example={"objects": [_STORED_EXAMPLE]})
@bp.doc(responses=openapi.problems(400, 403, 404, 409, 412, 413, 415, 422, 501, 503, 507))
def upload_form(bucket: str, query_data: NoQuery) -> tuple[dict[str, Any], int]:  # noqa: ARG001
    """Store the files of a form (`multipart/form-data`).

    Each field `file` becomes an object with the file's name; `prefix` precedes the names, and
    `key` names a single file. Conditions work as in a PUT, for each file.
    """
    _allow(bucket, "w")
    if request.mimetype != forms.MIMETYPE:
        raise Refused(
            415,
            "not-a-form",
            f"The body is declared to be {request.mimetype or 'nothing'!r}.",
            "Send a form, as `curl -F file=@1000.csv` does, or PUT the bytes to a key.",
        )
    with forms.reading(request) as form:
        uploads = [
            (
                key,
                Upload(
                    file.content, file.size, object_headers.content_type(key, file.content_type)
                ),
            )
            for key, file in form_files.named_files(form)
        ]
        for key, _ in uploads:
            _seen(bucket, key)
        stored = [
            _stored(bucket, key, upload.size, _put(bucket, key, upload), upload.content_type)
            for key, upload in uploads
        ]
    return {"objects": stored}, 201


def _put(bucket: str, key: str, upload: Upload) -> str:
    try:
        return _put_on_condition(bucket, key, upload)
    except KeyConflict as error:
        raise Refused(409, "key-taken", error.message, error.hint) from error
    except InvalidKey as error:
        raise WrongParameters([("key", "is none that the object store takes")]) from error


def _put_on_condition(bucket: str, key: str, upload: Upload) -> str:
    if not preconditions.is_conditional(request):
        return _objects().put(bucket, key, upload)
    seen = _seen(bucket, key)
    try:
        return _objects().put_if_unchanged(bucket, key, upload, seen)
    except ObjectChanged as error:
        raise preconditions.changed(error.message) from error


def _seen(bucket: str, key: str) -> ObjectInfo | None:
    """What is there before a change that has conditions.

    Raises:  412 when one of them fails.
    """
    if not preconditions.is_conditional(request):
        return None
    seen = _objects().head(bucket, key)
    preconditions.check_change(request, seen)
    return seen


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
    object_keys.check(key)
    response = downloads.send(
        bucket, key, lambda info: object_headers.describe(info, as_file=query_data.download)
    )
    if response is None:
        raise _unknown(bucket, key)
    return response


@bp.delete("/objects/<bucket>/<object_key:key>")
@needs(Role.ADMIN)
@bp.input(NoQuery, location="query")
@bp.output({}, 204, description="It is gone.")
@bp.doc(responses=openapi.problems(403, 404, 412, 422, 501, 503))
def remove_object(bucket: str, key: str, query_data: NoQuery) -> tuple[str, int]:  # noqa: ARG001
    """Remove an object; with `If-Match`, 501 if the store has no conditional removal."""
    _allow(bucket, "w")
    object_keys.check(key)
    found = _objects().head(bucket, key)
    if found is None:
        raise _unknown(bucket, key)
    _remove(bucket, found)
    return "", 204


def _remove(bucket: str, found: ObjectInfo) -> None:
    if not preconditions.is_conditional(request):
        _objects().remove(bucket, found.key)
        return
    preconditions.check_change(request, found)
    try:
        _objects().remove_if_unchanged(bucket, found.key, found)
    except ObjectChanged as error:
        raise preconditions.changed(error.message) from error


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
    is_put = json_data.method == "PUT"
    _allow(bucket, "w" if is_put else "r")
    object_keys.check(key, is_put=is_put)
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

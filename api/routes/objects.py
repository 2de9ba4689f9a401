"""/objects: list, upload, download, remove and presign single objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, request

from api.http import (
    bodies,
    downloads,
    form_files,
    forms,
    object_headers,
    object_keys,
    preconditions,
)
from api.http.errors import NotFound, Refused, WrongParameters, no_body, unsupported_type
from api.routes import listing_stream
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
from etl.storage.objects import ObjectInfo, Objects, PresignOptions, Upload

if TYPE_CHECKING:
    from api.http.forms import Form

bp = APIBlueprint("objects", __name__, tag="Objects")


# -- buckets and listings


@bp.get("/objects")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.output(Buckets, description="The buckets.")
@bp.doc(responses=openapi.problems(422, 503))
def list_buckets(query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """List the buckets that the API serves, and the rights to them."""
    return {"buckets": served_buckets()}


def served_buckets() -> list[dict[str, Any]]:
    """The buckets that the API serves: name, rights, and whether the bucket exists."""
    shared = services()
    return [
        {"name": name, "rights": rights, "exists": shared.store.has_bucket(name)}
        for name, rights in bodies.with_sources(shared.settings, shared.sources.get()).items()
    ]


@bp.get("/objects/<bucket>")
@needs(Role.READER)
@bp.input(ObjectsQuery, location="query")
@bp.output(
    Listing,
    description="Objects and folders in byte order; `after` is null on the last page.",
)
@bp.doc(responses=openapi.problems(404, 422, 503))
def list_objects(bucket: str, query_data: ObjectsQuery) -> Response:
    """List the objects of a bucket.

    Keys with a `/` after the prefix are grouped into folders, unless `recursive` is true. Long
    responses are streamed, so `limit` may be large. Pass `after` of the response to get the
    next page.
    """
    allow(bucket)
    query = query_data
    found = _objects().list(
        bucket, prefix=query.prefix or "", after=query.after or "", recursive=query.recursive
    )
    head = _objects().head if query.content_type else None
    chunks = listing_stream.as_json(bucket, found, query.max_entries, head)
    return listing_stream.response(chunks, is_long=query.is_long)


# -- single objects


@bp.put("/objects/<bucket>/<object_key:key>")
@needs(Role.WRITER)
@bp.input(NoQuery, location="query")
@bp.output(StoredObject, description="The object is stored.")
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

    Without Content-Type, the type is guessed from the object key. `X-Meta-*` headers become
    the metadata of the object. With `If-None-Match: *`, no object is replaced; with `If-Match`,
    only that version. The response is 412 if the condition is not met, or 501 if the store does not
    support it.
    """
    stored = store_body(bucket, key)
    return stored, 200, {"Location": _address(bucket, key), "ETag": f'"{stored["etag"]}"'}


def store_body(bucket: str, key: str) -> dict[str, Any]:
    """Store the body of the request, and describe the object."""
    allow(bucket, "w")
    object_keys.check(key, is_put=True)
    size = _size()
    content_type = object_headers.content_type(key, request.content_type or "")
    upload = Upload(request.stream, size, content_type, object_headers.metadata(request.headers))
    etag = _put(bucket, key, upload)
    return _stored(bucket, key, max(size, 0), etag, upload.content_type)


def _size() -> int:
    """The size of the body; -1 for a chunked body of unknown size.

    Raises:  411 without either, because a forgotten body would empty the object.
    """
    if request.content_length is not None:
        return request.content_length
    if "chunked" in request.headers.get("Transfer-Encoding", ""):
        return -1
    raise no_body("Send the content (curl: -T FILE), or Content-Length: 0 for an empty object.")


@bp.post("/objects/<bucket>")
@needs(Role.WRITER)
@bp.input(NoQuery, location="query")
@bp.output(SavedObjects, 201, description="All files are stored.")
@bp.doc(responses=openapi.problems(400, 403, 404, 409, 412, 413, 415, 422, 501, 503, 507))
def upload_form(bucket: str, query_data: NoQuery) -> tuple[dict[str, Any], int]:  # noqa: ARG001
    """Store the files of a form (`multipart/form-data`).

    Each `file` field becomes an object whose key is `prefix` followed by the file name. If the
    form has only one file, `key` sets its object key. Conditions apply to each file as in PUT.
    """
    allow(bucket, "w")
    if request.mimetype != forms.MIMETYPE:
        raise unsupported_type(
            "not-a-form",
            "Send a form, for example with `curl -F file=@1000.csv`, or PUT the content to a key.",
        )
    with forms.reading(request) as form:
        return {"objects": store_files(bucket, form)}, 201


def store_files(bucket: str, form: Form) -> list[dict[str, Any]]:
    """Store the files of a form, and describe the objects."""
    uploads = [
        (
            key,
            Upload(file.content, file.size, object_headers.content_type(key, file.content_type)),
        )
        for key, file in form_files.named_files(form)
    ]
    for key, _ in uploads:
        _check_current(bucket, key)
    return [
        _stored(bucket, key, upload.size, _put(bucket, key, upload), upload.content_type)
        for key, upload in uploads
    ]


def _put(bucket: str, key: str, upload: Upload) -> str:
    try:
        return _put_conditionally(bucket, key, upload)
    except KeyConflict as error:
        raise Refused(409, "key-taken", error.message, error.hint) from error
    except InvalidKey as error:
        raise WrongParameters([("key", "is not accepted by the object store")]) from error


def _put_conditionally(bucket: str, key: str, upload: Upload) -> str:
    if not preconditions.is_conditional(request):
        return _objects().put(bucket, key, upload)
    current = _check_current(bucket, key)
    try:
        return _objects().put_if_unchanged(bucket, key, upload, current)
    except ObjectChanged as error:
        raise preconditions.changed(error.message) from error


def _check_current(bucket: str, key: str) -> ObjectInfo | None:
    """The current object, if the request has conditions.

    Raises:  412 when a condition is not met.
    """
    if not preconditions.is_conditional(request):
        return None
    current = _objects().head(bucket, key)
    preconditions.check_change(request, current)
    return current


@bp.get("/objects/<bucket>/<object_key:key>")
@needs(Role.READER)
@bp.input(DownloadQuery, location="query")
@bp.doc(
    responses={
        200: openapi.DOWNLOAD,
        206: openapi.DOWNLOAD | {"description": "The part of the object that `Range` requests."},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(403, 404, 412, 416, 422, 503),
    }
)
def download_object(bucket: str, key: str, query_data: DownloadQuery) -> Response:
    """Download an object, or a part of it with `Range`.

    HEAD returns only the headers. Types that a browser could execute are sent as files to
    save; with `download`, all objects are.
    """
    return send_object(bucket, key, as_file=query_data.download)


def send_object(bucket: str, key: str, *, as_file: bool) -> Response:
    """The response with an object, or with the part of it that the request asks for."""
    allow(bucket)
    object_keys.check(key)
    response = downloads.send(
        bucket, key, lambda info: object_headers.describe(info, as_file=as_file)
    )
    if response is None:
        raise unknown_object(bucket, key)
    return response


@bp.delete("/objects/<bucket>/<object_key:key>")
@needs(Role.ADMIN)
@bp.input(NoQuery, location="query")
@bp.output({}, 204, description="The object is removed.")
@bp.doc(responses=openapi.problems(403, 404, 412, 422, 501, 503))
def remove_object(bucket: str, key: str, query_data: NoQuery) -> tuple[str, int]:  # noqa: ARG001
    """Remove an object.

    With `If-Match`, the response is 501 if the store does not support conditional removal.
    """
    remove(bucket, key)
    return "", 204


def remove(bucket: str, key: str) -> None:
    """Remove an object, if the conditions of the request are met."""
    allow(bucket, "w")
    object_keys.check(key)
    found = _objects().head(bucket, key)
    if found is None:
        raise unknown_object(bucket, key)
    _remove(bucket, found)


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
@bp.output(PresignedUrl, description="The presigned URL.")
@bp.doc(responses=openapi.problems(400, 403, 404, 413, 415, 422, 503))
def presign_object(
    bucket: str,
    key: str,
    query_data: NoQuery,  # noqa: ARG001
    json_data: PresignRequest,
) -> dict[str, Any]:
    """Create a presigned URL to download or upload one object.

    The URL accesses the object store directly and works without an API key until it expires.
    Methods other than POST address the object whose key ends in `/presign`.
    """
    if request.get_json(force=True) is None:  # APIFlask treats null like an empty object
        raise WrongParameters([("body", "must be an object")])
    return presigned(bucket, key, json_data)


def presigned(bucket: str, key: str, asked: PresignRequest) -> dict[str, Any]:
    """The URL that is asked for, if the caller may have it."""
    is_put = asked.method == "PUT"
    if is_put:
        require(Role.WRITER, "A URL for uploads")
    allow(bucket, "w" if is_put else "r")
    object_keys.check(key, is_put=is_put)
    lifetime = timedelta(seconds=asked.expires_seconds)
    options = PresignOptions(asked.method, lifetime, asked.s3_headers)
    expires_at = datetime.now(UTC).replace(microsecond=0) + lifetime
    url = _objects().presign(bucket, key, options)
    return {"url": url, "method": asked.method, "expires_at": expires_at}


# -- shared helpers


def _objects() -> Objects:
    return services().objects


def allow(bucket: str, right: str = "r") -> None:
    """Raises:  404 for a bucket that the API does not serve, 403 for a read-only one."""
    shared = services()
    rights = bodies.with_sources(shared.settings, shared.sources.get())
    if bucket not in rights:
        raise unknown_bucket(bucket)
    if right not in rights[bucket]:
        raise Refused(
            403,
            "read-only-bucket",
            f"Bucket {bucket!r} is read-only.",
            "GET /objects lists the rights; the setting OBJECT_BUCKETS grants them.",
        )


def unknown_bucket(bucket: str) -> NotFound:
    """The 404 for a bucket that the API does not serve."""
    return NotFound(
        "unknown-bucket",
        f"The API does not serve bucket {bucket!r}.",
        "GET /objects lists the buckets; the setting OBJECT_BUCKETS selects them.",
    )


def _stored(bucket: str, key: str, size: int, etag: str, content_type: str) -> dict[str, Any]:
    return {"bucket": bucket, "key": key, "size": size, "etag": etag, "content_type": content_type}


def _address(bucket: str, key: str) -> str:
    return f"/objects/{bucket}/{quote(key)}"


def unknown_object(bucket: str, key: str) -> NotFound:
    """The 404 for an object that does not exist."""
    return NotFound(
        "unknown-object",
        f"There is no object {key!r} in bucket {bucket!r}.",
        f"GET /objects/{bucket} lists the objects.",
    )

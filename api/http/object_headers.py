"""Headers of an object: its content type and metadata, in requests and responses."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING
from urllib.parse import quote

from api.http.errors import WrongParameters

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

    from etl.storage.objects import ObjectInfo

LARGEST_METADATA_BYTES = 2048
LONGEST_CONTENT_TYPE = 255
UNTYPED = "application/octet-stream"

_METADATA = "x-meta-"
_STORE_METADATA = "x-amz-meta-"  # goes before each name on its way to the store
# Types a browser may display, because they run no code. Others are downloaded.
_SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif", "text/plain", "text/csv")
# What clients send when they do not know the type.
_FORM_TYPES = ("application/x-www-form-urlencoded", "application/octet-stream", "")


def content_type(key: str, declared: str) -> str:
    """The declared type; the defaults that curl and others send do not count."""
    if declared.partition(";")[0].strip().lower() in _FORM_TYPES:
        return mimetypes.guess_type(key)[0] or UNTYPED
    if not _is_printable(declared):
        raise WrongParameters([("Content-Type", "must be printable ASCII")])
    if len(declared) > LONGEST_CONTENT_TYPE:
        raise WrongParameters([("Content-Type", f"is longer than {LONGEST_CONTENT_TYPE} bytes")])
    return declared


def _is_printable(header: str) -> bool:
    return header.isascii() and header.isprintable()


def metadata(headers: Headers) -> dict[str, str]:
    """What `X-Meta-*` hold, by the rest of their names."""
    found = {
        name.lower().removeprefix(_METADATA): value
        for name, value in headers.items()
        if name.lower().startswith(_METADATA)
    }
    if not all(name and _is_printable(name + value) for name, value in found.items()):
        raise WrongParameters([("X-Meta-*", "must be printable ASCII; percent-encode the rest")])
    # Some stores count names with their prefix.
    size = sum(len(_STORE_METADATA + name + value) for name, value in found.items())
    if size > LARGEST_METADATA_BYTES:
        raise WrongParameters([("X-Meta-*", f"may hold {LARGEST_METADATA_BYTES} bytes in all")])
    return found


def describe(info: ObjectInfo, *, as_file: bool) -> dict[str, str]:
    """The headers of a response with an object."""
    declared = info.content_type or UNTYPED
    is_shown = declared.partition(";")[0].strip().lower() in _SHOWN and not as_file
    name = info.key.rstrip("/").rpartition("/")[2]
    disposition = "inline" if is_shown else "attachment"
    return {
        "Content-Type": declared,
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-cache",
        **{f"X-Meta-{name}": value for name, value in info.metadata.items()},
    }

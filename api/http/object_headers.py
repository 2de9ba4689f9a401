"""The content type and metadata of an object in request and response headers."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING
from urllib.parse import quote

from api.http.errors import WrongParameters

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

    from etl.storage.objects import ObjectInfo

MAX_METADATA_BYTES = 2048
MAX_CONTENT_TYPE_LENGTH = 255
UNTYPED = "application/octet-stream"

_METADATA = "x-meta-"
_STORE_METADATA = "x-amz-meta-"  # the store's prefix for each name
# Browsers may display these types because they cannot contain scripts. Others are downloaded.
_INLINE = ("image/png", "image/jpeg", "image/webp", "image/gif", "text/plain", "text/csv")
# Clients send these when they do not know the type.
_DEFAULT_TYPES = ("application/x-www-form-urlencoded", "application/octet-stream", "")


def content_type(key: str, declared: str) -> str:
    """The declared type, or a guess from the key if it is only a client's default."""
    if declared.partition(";")[0].strip().lower() in _DEFAULT_TYPES:
        return mimetypes.guess_type(key)[0] or UNTYPED
    if not _is_printable(declared):
        raise WrongParameters([("Content-Type", "must be printable ASCII")])
    if len(declared) > MAX_CONTENT_TYPE_LENGTH:
        raise WrongParameters([("Content-Type", f"is longer than {MAX_CONTENT_TYPE_LENGTH} bytes")])
    return declared


def _is_printable(header: str) -> bool:
    return header.isascii() and header.isprintable()


def metadata(headers: Headers) -> dict[str, str]:
    """The values of the `X-Meta-*` headers by the rest of their names."""
    found = {
        name.lower().removeprefix(_METADATA): value
        for name, value in headers.items()
        if name.lower().startswith(_METADATA)
    }
    if not all(name and _is_printable(name + value) for name, value in found.items()):
        raise WrongParameters(
            [("X-Meta-*", "must be printable ASCII; percent-encode other characters")]
        )
    # Some stores include the prefix in the size.
    size = sum(len(_STORE_METADATA + name + value) for name, value in found.items())
    if size > MAX_METADATA_BYTES:
        raise WrongParameters(
            [("X-Meta-*", f"may have at most {MAX_METADATA_BYTES:,} bytes in total")]
        )
    return found


def describe(info: ObjectInfo, *, as_file: bool) -> dict[str, str]:
    """The headers of a response with an object."""
    declared = info.content_type or UNTYPED
    is_inline = declared.partition(";")[0].strip().lower() in _INLINE and not as_file
    name = info.key.rstrip("/").rpartition("/")[2]
    disposition = "inline" if is_inline else "attachment"
    return {
        "Content-Type": declared,
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-cache",
        **{f"X-Meta-{name}": value for name, value in info.metadata.items()},
    }

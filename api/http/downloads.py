"""Responses with an object or part of it, each from one version of the object.

An object may be replaced between the HEAD and the GET. Not every store supports If-Match, so the
ETag and size of the GET are compared with those of the HEAD.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from flask import Response, request

from api.http import ranges
from api.state.services import services
from etl.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from etl.storage.objects import ObjectInfo

ATTEMPTS = 3
SHORT_BYTES = 1 << 20  # sent to the server as a whole, so that no thread waits for the client


def send(
    bucket: str, key: str, headers_of: Callable[[ObjectInfo], Mapping[str, str]]
) -> Response | None:
    """The response to a GET or HEAD of an object; None if it does not exist.

    Raises:  as `ranges.choose`; TransientError if the object was replaced at every attempt.
    """
    for _ in range(ATTEMPTS):
        info = services().objects.head(bucket, key)
        if info is None:
            return None
        response = Response(headers=dict(headers_of(info)))
        part = ranges.choose(request, response, info)
        if not part or request.method == "HEAD" or _is_streamed(response, bucket, info, part):
            return response
    raise TransientError(
        f"The object {key!r} was replaced during each of {ATTEMPTS} attempts to read it.",
        hint="Try again in a few seconds.",
    )


def _is_streamed(response: Response, bucket: str, info: ObjectInfo, part: range) -> bool:
    """Set this part of the object as the response's body; False if the object changed.

    A long part is fetched while it is sent.
    """
    with ExitStack() as stack:
        if len(part) > SHORT_BYTES:
            stack.enter_context(held_stream())
        opened = stack.enter_context(
            services().objects.open(bucket, info.key, start=part.start, length=len(part))
        )
        if opened is None or (opened.etag, opened.size) != (info.etag, info.size):
            return False
        if len(part) <= SHORT_BYTES:
            response.response = [b"".join(opened.chunks)]
        else:
            response.response = opened.chunks
            response.call_on_close(stack.pop_all().close)
    return True


@contextmanager
def held_stream() -> Iterator[None]:
    """Reserve one of the few threads that may send long responses.

    Raises:  TransientError if all are in use.
    """
    streams = services().streams
    if not streams.acquire(blocking=False):
        raise TransientError(
            "The API is already sending as many long responses as it can.",
            hint="Try again in a few seconds, or download objects with a presigned URL.",
        )
    try:
        yield
    finally:
        streams.release()

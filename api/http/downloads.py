"""Objects on their way to a reader: whole or in part, and all of an answer of one version.

An object may be replaced between the look at it and the first byte. If-Match would tell, but
not every store heeds it; so what is opened is compared with what was looked at.
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
SHORT_BYTES = 1 << 20  # goes to the server whole, so that no thread waits for its reader


def send(
    bucket: str, key: str, headers_of: Callable[[ObjectInfo], Mapping[str, str]]
) -> Response | None:
    """The answer to a GET or HEAD of an object, or None when there is none.

    Raises:  as `ranges.choose`; TransientError when it was replaced at every attempt.
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
        f"{key!r} was replaced each of the {ATTEMPTS} times it was looked at.",
        hint="Try again in a few seconds.",
    )


def _is_streamed(response: Response, bucket: str, info: ObjectInfo, part: range) -> bool:
    """Let the answer hold this part of the object; False if it changed.

    A long one is fetched as it is sent.
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
    """Hold one of the few threads that may answer for long.

    Raises:  TransientError when none is left.
    """
    streams = services().streams
    if not streams.acquire(blocking=False):
        raise TransientError(
            "Too many long answers are being read at the moment.",
            hint="Try again in a few seconds, or use a presigned URL.",
        )
    try:
        yield
    finally:
        streams.release()

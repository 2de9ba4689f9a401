"""gzip and zstd on the way out, for those who ask; what they get without asking is plain."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from werkzeug.datastructures import Accept

LEVEL = 1  # the network waits for us sooner than we for it
_GZIP_BITS = zlib.MAX_WBITS + 16


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _gzip() -> _Compressor:
    return zlib.compressobj(LEVEL, wbits=_GZIP_BITS)


def _zstd() -> _Compressor:
    return zstandard.ZstdCompressor(LEVEL).compressobj()


_CODINGS: dict[str, Callable[[], _Compressor]] = {"zstd": _zstd, "gzip": _gzip}  # best first


def choose(accept: Accept) -> str | None:
    """The coding that the Accept-Encoding header prefers to none; None for none."""
    best = max(_CODINGS, key=accept.quality)
    return best if accept.quality(best) > accept.quality("identity") else None


def encode(coding: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces in that coding."""
    compressor = _CODINGS[coding]()
    for piece in pieces:
        if encoded := compressor.compress(piece):
            yield encoded
    yield compressor.flush()

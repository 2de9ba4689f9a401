"""Response compression with gzip or zstd, for clients that request it in Accept-Encoding."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from werkzeug.datastructures import Accept

LEVEL = 1  # higher levels make compression slower than most networks
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
    """The coding that Accept-Encoding prefers over an uncompressed response, or None."""
    best = max(_CODINGS, key=accept.quality)
    return best if accept.quality(best) > accept.quality("identity") else None


def encode(coding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress the chunks."""
    compressor = _CODINGS[coding]()
    for chunk in chunks:
        if encoded := compressor.compress(chunk):
            yield encoded
    yield compressor.flush()

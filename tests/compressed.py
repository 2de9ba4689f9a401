"""Compressed contents for tests."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile

import pyarrow as pa

from etl.model.formats import Compression


def compressed(content: bytes, compression: Compression) -> bytes:
    """The content, compressed as a file with this extension."""
    if compression is Compression.ZIP:
        return zipped({"rows.csv": content})
    if compression is Compression.ZSTD:
        packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
        return packed
    return gzip.compress(content) if compression is Compression.GZIP else bz2.compress(content)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive with these files; folders end in a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()

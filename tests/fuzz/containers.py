"""Files with a structure of their own: zip archives, workbooks, Parquet files, streams."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.mutations import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from tests.fuzz.mutations import Mutator

# The fields of the records of a zip archive by their signatures: place and size.
_FIELDS: dict[bytes, tuple[tuple[int, int], ...]] = {
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        *((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2)),
        *((32, 2), (34, 2), (38, 4), (42, 4)),
    ),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}
_ATTRIBUTE = re.compile(rb'\b([\w:]{1,20})="([^"]*)"')
_ATTRIBUTE_VALUES = (
    *(None, None, b"", b"0", b"1", b"-1", b"4294967296", b"99999999", b"A99999999", b"AAAAAA1"),
    *(b"XFD1048576", b"B2", b"s", b"str", b"e", b"b", b"d", b"n", b"inlineStr", b"rId1", b"&#0;"),
    *(b"hidden", b"true", b"../a.xml", b"/xl/worksheets/sheet1.xml", b"http://a", b"x" * 300),
)
_METHODS = (0, 1, 2, 8, 9, 12, 14, 93, 95, 99)
_FOOTER_END = 8  # bytes of the length of a footer and of the mark after it
_PAGE_HEADER = 48  # bytes in which the header of a page is


def zip_of(parts: Mapping[str, bytes], rnd: Random) -> bytes:
    """An archive with these files, quickly: some are deflated."""
    body, index = [], []
    place = 0
    for name, content in parts.items():
        written = name.encode("utf-8", "surrogatepass")
        method = 8 if rnd.random() < 0.2 else 0
        packed = zlib.compress(content, 1, -15) if method else content
        shared = (0, method, 0, 33, zlib.crc32(content), len(packed), len(content), len(written), 0)
        head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, *shared) + written
        index.append(
            struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, *shared, 0, 0, 0, 0, place) + written
        )
        body += [head, packed]
        place += len(head) + len(packed)
    count = min(len(parts), 0xFFFF)
    size = sum(map(len, index))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, place, 0)
    return b"".join([*body, *index, end])


def parts_of(archive: bytes) -> dict[str, bytes]:
    """The files in an archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {one.filename: opened.read(one) for one in opened.infolist()}


def with_zip_fields(archive: bytes, rnd: Random) -> bytes:
    """The archive with other numbers in some fields of its records."""
    data = bytearray(archive)
    for _ in range(rnd.choice((1, 1, 2, 4))):
        signature = rnd.choice(tuple(_FIELDS))
        starts = _all(archive, signature)
        if not starts:
            continue
        place, size = rnd.choice(_FIELDS[signature])
        at = rnd.choice(starts) + place
        value = rnd.choice((*NUMBERS, *_METHODS, len(data), rnd.randrange(len(data) + 1)))
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(data)


def _all(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


def with_attribute(xml: bytes, rnd: Random) -> bytes:
    """The XML with another value of some attribute, or without it."""
    one = _ATTRIBUTE.search(xml, rnd.randrange(len(xml) + 1))
    if one is None:
        return xml
    value = rnd.choice(_ATTRIBUTE_VALUES)
    written = b"" if value is None else one[1] + b'="' + value + b'"'
    return xml[: one.start()] + written + xml[one.end() :]


@dataclass(frozen=True)
class ParquetSample:
    """A Parquet file, where its footer begins, and where its pages are."""

    content: bytes
    footer: int
    pages: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, content: bytes) -> ParquetSample:
        footer = len(content) - _FOOTER_END - int.from_bytes(content[-8:-4], "little")
        metadata = pq.read_metadata(io.BytesIO(content))
        pages = []
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                starts = {chunk.data_page_offset, chunk.dictionary_page_offset or 0} - {0}
                pages += [(start, min(start + _PAGE_HEADER, footer)) for start in starts]
        return cls(content, footer, tuple(pages))

    def mutated(self, mutator: Mutator, rnd: Random) -> bytes:
        """Damage the footer, whose length is kept right, or pages, or anything."""
        kind = rnd.random()
        if kind < 0.4:
            footer = mutator.mutated(self.content[self.footer : -_FOOTER_END])
            return self.content[: self.footer] + footer + struct.pack("<L", len(footer)) + b"PAR1"
        if kind < 0.8 and self.pages:
            body = mutator.mutated(self.content[: self.footer], self.pages)
            return body + self.content[self.footer :]
        return mutator.mutated(self.content)


def packed(content: bytes, compression: str, rnd: Random) -> bytes:
    """The content as a file with this extension, in one of its forms."""
    return _PACKERS[compression](content, rnd)


def _gzip(content: bytes, rnd: Random) -> bytes:
    if rnd.random() < 0.2 and content:
        cut = rnd.randrange(len(content))
        first, second = (gzip.compress(one, 1, mtime=0) for one in (content[:cut], content[cut:]))
        return first + second + bytes(rnd.choice((0, 0, 512)))
    return gzip.compress(content, rnd.choice((1, 0, 9)), mtime=0)


def _bzip2(content: bytes, rnd: Random) -> bytes:
    found = bz2.compress(content, 1)
    return found + bz2.compress(b"", 1) if rnd.random() < 0.1 else found


def _zstd(content: bytes, rnd: Random) -> bytes:
    found: bytes = pa.Codec("zstd", rnd.choice((1, 3))).compress(content, asbytes=True)
    if rnd.random() < 0.1:
        return struct.pack("<2L", 0x184D2A50, 4) + b"skip" + found
    return found


def _zip(content: bytes, rnd: Random) -> bytes:
    parts = {rnd.choice(("rows.csv", "a/b.csv", "\u00e9", "x" * 300)): content}
    if rnd.random() < 0.2:
        parts[
            rnd.choice(("__MACOSX/._a", "a/", ".DS_Store", "other.csv", "[Content_Types].xml"))
        ] = b"x"
    return zip_of(parts, rnd)


_PACKERS = {"gz": _gzip, "bz2": _bzip2, "zst": _zstd, "zip": _zip}

"""What content seems to be by its first bytes, and the refusal of content of another format."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.formats import Compression, SourceFormat
from etl.model.values import ProblemCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEAD_BYTES = 512  # that are enough to see what content is

_WORKBOOK, _ZIP, _OLD_WORKBOOK = "an Excel workbook (.xlsx)", "a zip archive", "an .xls workbook"
_JSON_ARRAY, _JSON = "a JSON array", "JSON"
_BY_COMPRESSION = {
    Compression.GZIP: "gzip data",
    Compression.ZSTD: "zstd data",
    Compression.BZIP2: "bzip2 data",
    Compression.ZIP: _ZIP,
}
_PARQUET = "a Parquet file"
# Text never begins like these: each has a byte that is neither printable nor part of UTF-8, or
# is long enough.
_BINARY = {
    _WORKBOOK: rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/|xl/)",
    _ZIP: rb"PK(?:\x03\x04|\x05\x06|\x07\x08)",
    _BY_COMPRESSION[Compression.GZIP]: rb"\x1f\x8b",
    _BY_COMPRESSION[Compression.ZSTD]: rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
    _BY_COMPRESSION[Compression.BZIP2]: rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    _PARQUET: rb"PAR[1E][\x00-\x08\x0e-\x1f\x80-\xff]",
    _OLD_WORKBOOK: rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "xz data": rb"\xfd7zXZ\x00",
    "lz4 data": rb"\x04\x22\x4d\x18",
    "a 7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a RAR archive": rb"Rar!\x1a\x07",
    "an ORC file": rb"ORC[\x00-\x08\x0e-\x1f\x80-\xff]",
    "an Avro file": rb"Obj\x01",
    "an Arrow file": rb"ARROW1\x00\x00",
    "an SQLite database": rb"SQLite format 3\x00",
    "a PDF": rb"%PDF-[12]\.[0-9]",
    "a PNG image": rb"\x89PNG\r\n",
}
_TEXT = {
    "an HTML page": rb"<(?i:!doctype html|html|table|meta|body)[\s>]",
    "XML": rb"<\?xml\s",
    _JSON_ARRAY: rb"\[\s*(?:[\{\[\]]|\Z)",
    _JSON: rb"\{\s*(?:\"(?:[^\"\\]|\\.){0,200}\"\s*:|\}\s*\Z)",
}
_GROUPS = {f"g{place}": name for place, name in enumerate([*_BINARY, *_TEXT])}
_BINARY_PATTERN = "|".join(
    f"(?P<g{place}>{pattern.decode('latin-1')})" for place, pattern in enumerate(_BINARY.values())
)
_TEXT_PATTERN = "|".join(
    f"(?P<g{place}>{pattern.decode('latin-1')})"
    for place, pattern in enumerate(_TEXT.values(), len(_BINARY))
)
_SIGNATURE = re.compile(
    f"(?:{_BINARY_PATTERN}|(?:\xef\xbb\xbf)?\\s*(?:{_TEXT_PATTERN}))".encode("latin-1"), re.DOTALL
)
_EXPECTED: dict[SourceFormat | Compression, frozenset[str]] = {
    SourceFormat.NDJSON: frozenset({_JSON}),
    SourceFormat.JSON: frozenset({_JSON, _JSON_ARRAY}),
    SourceFormat.PARQUET: frozenset({_PARQUET}),
    SourceFormat.XLSX: frozenset({_WORKBOOK, _ZIP, _OLD_WORKBOOK}),  # its reader says more
    **{one: frozenset({name}) for one, name in _BY_COMPRESSION.items()},
}
_BEGINNINGS = (SourceFormat.PARQUET, SourceFormat.XLSX, *Compression)  # that content always has
_REMEDIES = {
    _WORKBOOK: "Rename it to .xlsx, or export it as {format}.",
    _PARQUET: "Rename it to .parquet.",
    _OLD_WORKBOOK: "Open it in a spreadsheet program and save it as .xlsx.",
    _JSON_ARRAY: "Rename it to .json.",
    _JSON: "Rename it to .ndjson if each line is an object, or to .json.",
    "an HTML page": "Download the file itself; this page may be a login page or an error.",
}
_OTHERWISE = "Upload a file of the format {format}."


def seems_to_be(head: bytes) -> str | None:
    """What content with these first bytes is, as a noun phrase; None if nothing tells."""
    found = _SIGNATURE.match(head)
    return None if found is None else _GROUPS[str(found.lastgroup)]


def check_format(head: bytes, format_: SourceFormat, *, within: Compression | None = None) -> None:
    """Refuse content that is not of the format; `within` if it was compressed.

    `head` are its first 512 bytes, or all of it.

    Raises:  RefusedObject.
    """
    found = seems_to_be(head)
    if found in _EXPECTED.get(format_, ()) or (found is None and format_ not in _BEGINNINGS):
        return
    if not head.strip():
        return  # the reader of each format refuses empty files
    remedy = _REMEDIES.get(found or "", _OTHERWISE)
    if within is not None and found in _BY_COMPRESSION.values():
        remedy = "Compress the file once only."
    elif found in _BY_COMPRESSION.values():
        extension = next(one for one, name in _BY_COMPRESSION.items() if name == found)
        remedy = f"Add .{extension} to its name, or expand it."
    subject = "The file" if within is None else f"The content of the .{within} file"
    raise _wrong(subject, found, format_, remedy)


def check_compression(head: bytes, compression: Compression) -> None:
    """Refuse content that does not begin as its extension says; `head` as in `check_format`.

    Raises:  RefusedObject.
    """
    if not head:
        raise RefusedObject(
            ProblemCode.CORRUPT_ARCHIVE,
            f"The .{compression} file is empty; even one without content has a few bytes. Upload "
            "it again.",
        )
    found = seems_to_be(head)
    if found in _EXPECTED[compression] or (found is None and _is_cut(head, compression)):
        return
    remedy = f"Remove .{compression} from its name if it is not compressed."
    if found in _BY_COMPRESSION.values():
        extension = next(one for one, name in _BY_COMPRESSION.items() if name == found)
        remedy = f"Rename it to .{extension}."
    elif found == _WORKBOOK and compression is Compression.ZIP:
        remedy = "Rename it to .xlsx."
    raise _wrong("The file", found, compression, remedy)


def _is_cut(head: bytes, compression: Compression) -> bool:
    """Whether this may be the first bytes of such content, cut short."""
    magic = {
        Compression.GZIP: b"\x1f\x8b",
        Compression.ZSTD: b"\x28\xb5\x2f\xfd",
        Compression.BZIP2: b"BZh",
        Compression.ZIP: b"PK\x03\x04",
    }[compression]
    return head.startswith(magic) or (len(head) < len(magic) and magic.startswith(head))


def _wrong(
    subject: str, found: str | None, wanted: SourceFormat | Compression, remedy: str
) -> RefusedObject:
    seems = "does not begin like such a file" if found is None else f"seems to be {found}"
    return RefusedObject(
        ProblemCode.WRONG_FORMAT,
        f"{subject} is read as {wanted}, but {seems}. {remedy.format(format=wanted)}",
    )


def peeked(parts: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of some content, and all of it."""
    coming = iter(parts)
    first: list[bytes] = []
    while sum(map(len, first)) < HEAD_BYTES and (part := next(coming, None)) is not None:
        first.append(part)
    return b"".join(first), chain(first, coming)

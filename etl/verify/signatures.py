"""Recognize content of another format by its first bytes."""

from __future__ import annotations

import re

from etl.model.values import ProblemCode
from etl.verify.faults import FileError

HEAD_BYTES = 512

_NOT_TEXT = rb"[\x00-\x08\x0e-\x1f\x80-\xff]"
_SIGNATURES = {
    "workbook": rb"PK\x03\x04.{26}(\[Content_Types\]\.xml|_rels/|docProps/|xl/)",
    "zip": rb"PK(\x03\x04|\x05\x06|\x07\x08)",
    "gz": rb"\x1f\x8b",
    "zst": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
    "bz2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "parquet": rb"PAR[1E]" + _NOT_TEXT,
    "xls": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "other": rb"\xfd7zXZ\x00|\x04\x22\x4d\x18|7z\xbc\xaf\x27\x1c"
    rb"|Rar!\x1a\x07|ORC" + _NOT_TEXT + rb"|Obj\x01|ARROW1\x00\x00|SQLite format 3\x00"
    rb"|%PDF-[12]\.[0-9]|\x89PNG\r\n",
    "markup": rb"(\xef\xbb\xbf)?\s*<((?i:!doctype html|html|table|meta|body)[\s>]|\?xml\s)",
    "array": rb"(\xef\xbb\xbf)?\s*\[\s*([{\[\]]|\Z)",
    "object": rb'(\xef\xbb\xbf)?\s*\{\s*("([^"\\]|\\.){0,200}"\s*:|\}\s*\Z)',
}
_COMPILED = [(name, re.compile(pattern, re.DOTALL)) for name, pattern in _SIGNATURES.items()]
_EXPECTED = {
    "ndjson": {"object"},
    "json": {"object", "array"},
    "parquet": {"parquet"},
    "xlsx": {"workbook", "zip", "xls"},
}
_ALWAYS_RECOGNIZED = ("parquet", "xlsx")
_BEGINNINGS = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd", "bz2": b"BZh", "zip": b"PK\x03\x04"}


def check_format(content: bytes, name: str) -> None:
    """Refuse content that is recognized as of another format than this one.

    Raises:  FileError.
    """
    head = content[:HEAD_BYTES]
    found = _recognize(head)
    is_unknown = found is None and name not in _ALWAYS_RECOGNIZED
    if head.strip() and not is_unknown and found not in _EXPECTED.get(name, ()):
        raise FileError(ProblemCode.WRONG_FORMAT)


def check_compression(content: bytes, compression: str) -> None:
    """Refuse content that is not compressed in this way.

    Raises:  FileError.
    """
    head = content[:HEAD_BYTES]
    if not head:
        raise FileError(ProblemCode.CORRUPT_ARCHIVE)
    found = _recognize(head)
    if found == compression:
        return
    magic = _BEGINNINGS[compression]
    is_cut = len(head) < len(magic) and magic.startswith(head)
    if found is not None or not (head.startswith(magic) or is_cut):
        raise FileError(ProblemCode.WRONG_FORMAT)


def _recognize(head: bytes) -> str | None:
    return next((name for name, pattern in _COMPILED if pattern.match(head)), None)

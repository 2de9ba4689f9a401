"""Forms (`multipart/form-data`), parsed strictly: read completely or refused with a reason.

A parser that skips invalid parts could store something the client did not mean. All files of a
form share one temporary file, so that many of them need neither memory nor file descriptors.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    Preamble,
)

from api.http.errors import Refused, WrongParameters
from api.http.spool import out_of_room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Request

MIMETYPE = "multipart/form-data"
MOST_PARTS = 1000
LONGEST_BOUNDARY = 70  # RFC 2046
LARGEST_FIELD_BYTES = 8 * 1024
LARGEST_HEAD_BYTES = 64 * 1024

_PIECE_BYTES = 64 * 1024
_IN_MEMORY_BYTES = 128 * 1024
_AS_IT_IS = {"7bit", "8bit", "binary"}
_REPLACED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form; its content type is empty where none is declared."""

    name: str
    filename: str
    content_type: str
    content: IO[bytes]
    size: int


@dataclass(slots=True)
class Form:
    """The text fields and the files of a form, each in the order they came."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[FormFile] = field(default_factory=list)


@contextmanager
def reading(request: Request) -> Iterator[Form]:
    """The form in the body of a request; its files can be read within the block.

    Raises:  Refused with 400 for a body that is not a whole form, 413 for more parts than are
    read, 507 when the disk is full; WrongParameters for a field that is not UTF-8,
    repeated or too long.
    """
    boundary = _boundary(request)
    kept = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - its end may fail as well
    try:
        yield _read(boundary, request.stream, kept)
    finally:
        with suppress(OSError):  # of a full disk, which was reported already
            kept.close()


def _read(boundary: bytes, body: IO[bytes], kept: IO[bytes]) -> Form:
    try:
        return _Reader(boundary, kept).read(body)
    except ValueError as error:
        raise _malformed(_reason(error)) from error
    except RequestEntityTooLarge as error:
        raise _too_large(
            f"The headers of a part, or the text before the first part, are longer than"
            f" {LARGEST_HEAD_BYTES:,} bytes."
        ) from error
    except OSError as error:
        raise out_of_room(error) from error


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.content_type)
    boundary = options.get("boundary", "")
    if not boundary:
        raise _malformed("Content-Type has no boundary")
    if len(boundary) > LONGEST_BOUNDARY or not boundary.isascii():
        raise _malformed(f"its boundary must have 1 to {LONGEST_BOUNDARY} ASCII characters")
    return boundary.encode()


class _Reader:
    """Takes a form apart."""

    def __init__(self, boundary: bytes, kept: IO[bytes]) -> None:
        # What the decoder holds is a piece, and what was left of the one before.
        self._decoder = MultipartDecoder(boundary, LARGEST_HEAD_BYTES + _PIECE_BYTES)
        self._kept = kept
        self._form = Form()
        self._parts = 0
        self._part: Field | File | None = None
        self._text = bytearray()
        self._start = 0

    def read(self, body: IO[bytes]) -> Form:
        """All of it.

        Raises:  ValueError when the body is not a form, or ends before the form does.
        """
        while piece := body.read(_PIECE_BYTES):
            self._decoder.receive_data(piece)
            self._take_events()
        self._decoder.receive_data(None)
        self._take_events()
        self._kept.flush()  # a full disk shows here, and not while a file is sent on
        return self._form

    def _take_events(self) -> None:
        while not isinstance(event := self._decoder.next_event(), (NeedData, Epilogue)):
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, (Field, File)):
            self._begin(event)
        elif isinstance(event, Data):
            self._add(event.data)
            if not event.more_data:
                self._end()
        else:
            assert isinstance(event, Preamble)  # noqa: S101  (there are no others)

    def _begin(self, part: Field | File) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise _too_large(f"The form has more than {MOST_PARTS:,} parts.")
        if not part.name:
            raise ValueError("a part has no name")
        coding = part.headers.get("Content-Transfer-Encoding", "binary").strip().lower()
        if coding not in _AS_IT_IS or "Content-Encoding" in part.headers:
            raise ValueError("a part is encoded, and nothing is decoded here")
        self._part = part
        self._text.clear()
        self._start = self._kept.tell()

    def _add(self, data: bytes) -> None:
        assert self._part is not None  # noqa: S101  (data follow the head of their part)
        if isinstance(self._part, File):
            self._kept.write(data)
        elif len(self._text) + len(data) > LARGEST_FIELD_BYTES:
            raise _wrong(self._part.name, f"is longer than {LARGEST_FIELD_BYTES:,} bytes")
        else:
            self._text += data

    def _end(self) -> None:
        if isinstance(self._part, File):
            self._form.files.append(self._file(self._part))
        elif self._part is not None:
            self._add_field(self._part.name)

    def _file(self, part: File) -> FormFile:
        if _REPLACED in part.filename and _REPLACED not in part.headers["Content-Disposition"]:
            raise _wrong(part.name, "has a file name that is not UTF-8")
        size = self._kept.tell() - self._start
        content_type = parse_options_header(part.headers.get("Content-Type"))[0].lower()
        content = io.BufferedReader(_Slice(self._kept, self._start, size))
        return FormFile(part.name, part.filename, content_type, content, size)

    def _add_field(self, name: str) -> None:
        if name in self._form.fields:
            raise _wrong(name, "is given more than once")
        try:
            self._form.fields[name] = self._text.decode()
        except UnicodeDecodeError as error:
            raise _wrong(name, "is not UTF-8") from error


class _Slice(io.RawIOBase):
    """Part of a file as a file of its own, to be read by one thread."""

    def __init__(self, whole: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self._whole = whole
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._whole.seek(self._start + self._position)
        left = max(self._size - self._position, 0)
        piece = self._whole.read(min(len(buffer), left))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the headers of a part are not UTF-8"
    text = str(error)
    return "it ends before its last boundary" if "cannot parse beyond" in text else text


def _malformed(reason: str) -> Refused:
    return Refused(
        HTTPStatus.BAD_REQUEST,
        "invalid-form",
        f"The body is not a complete form: {reason}. Nothing was stored.",
        "Send the form again, as `curl -F file=@1000.csv` does.",
    )


def _too_large(detail: str) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "form-too-large",
        f"{detail} Nothing was stored.",
        "Send the files in several forms, or upload each with PUT.",
    )


def _wrong(name: str, message: str) -> WrongParameters:
    return WrongParameters([(name, message)])

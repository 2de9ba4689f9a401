"""A strict parser for forms (`multipart/form-data`), which refuses any invalid part.

A parser that skips invalid parts could store something unintended. All files of a form share one
temporary file, so that many files need neither much memory nor many file descriptors.
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
from api.http.spool import disk_full

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Request

MIMETYPE = "multipart/form-data"
MAX_PARTS = 1000
MAX_BOUNDARY_LENGTH = 70  # RFC 2046
MAX_FIELD_BYTES = 8 * 1024
MAX_HEAD_BYTES = 64 * 1024

_CHUNK_BYTES = 64 * 1024
_IN_MEMORY_BYTES = 128 * 1024
_UNENCODED = {"7bit", "8bit", "binary"}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form; its content type is empty if none is declared."""

    name: str
    filename: str
    content_type: str
    content: IO[bytes]
    size: int


@dataclass(slots=True)
class Form:
    """The text fields and the files of a form, each in order of arrival."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[FormFile] = field(default_factory=list)


@contextmanager
def reading(request: Request) -> Iterator[Form]:
    """Parse the form in a request body; its files can be read only within the block.

    Raises:  Refused with 400 for a malformed or incomplete form, 413 for one with too many parts,
    507 if the disk is full; WrongParameters for a field that is not UTF-8, repeated or too long.
    """
    boundary = _boundary(request)
    spool = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - closing it may fail as well
    try:
        yield _parse(boundary, request.stream, spool)
    finally:
        with suppress(OSError):  # the disk is full, which was reported already
            spool.close()


def _parse(boundary: bytes, body: IO[bytes], spool: IO[bytes]) -> Form:
    try:
        return _FormParser(boundary, spool).parse(body)
    except ValueError as error:
        raise _malformed(_reason(error)) from error
    except RequestEntityTooLarge as error:
        raise _too_large(
            f"The headers of a part, or the text before the first part, exceed"
            f" {MAX_HEAD_BYTES:,} bytes."
        ) from error
    except OSError as error:
        raise disk_full(error) from error


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.content_type)
    boundary = options.get("boundary", "")
    if not boundary:
        raise _malformed("Content-Type has no boundary")
    if len(boundary) > MAX_BOUNDARY_LENGTH or not boundary.isascii():
        raise _malformed(f"the boundary must be 1 to {MAX_BOUNDARY_LENGTH} ASCII characters")
    return boundary.encode()


class _FormParser:
    """Parses one form; writes the content of its files to `spool`."""

    def __init__(self, boundary: bytes, spool: IO[bytes]) -> None:
        # The decoder holds at most one chunk and the unparsed rest of the previous one.
        self._decoder = MultipartDecoder(boundary, MAX_HEAD_BYTES + _CHUNK_BYTES)
        self._spool = spool
        self._form = Form()
        self._parts = 0
        self._part: Field | File | None = None
        self._text = bytearray()
        self._start = 0

    def parse(self, body: IO[bytes]) -> Form:
        """Parse the whole body.

        Raises:  ValueError if the form is malformed or incomplete.
        """
        while chunk := body.read(_CHUNK_BYTES):
            self._decoder.receive_data(chunk)
            self._handle_events()
        self._decoder.receive_data(None)
        self._handle_events()
        self._spool.flush()  # raises here if the disk is full, not while a file is stored
        return self._form

    def _handle_events(self) -> None:
        while not isinstance(event := self._decoder.next_event(), (NeedData, Epilogue)):
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, (Field, File)):
            self._begin(event)
        elif isinstance(event, Data):
            self._add(event.data)
            if not event.more_data:
                self._end()
        else:
            assert isinstance(event, Preamble)  # noqa: S101  (there are no other events)

    def _begin(self, part: Field | File) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _too_large(f"The form has more than {MAX_PARTS:,} parts.")
        if not part.name:
            raise ValueError("a part has no name")
        coding = part.headers.get("Content-Transfer-Encoding", "binary").strip().lower()
        if coding not in _UNENCODED or "Content-Encoding" in part.headers:
            raise ValueError("a part is encoded (such as base64 or gzip), which is not supported")
        self._part = part
        self._text.clear()
        self._start = self._spool.tell()

    def _add(self, data: bytes) -> None:
        assert self._part is not None  # noqa: S101  (the decoder emits data only after a part's headers)
        if isinstance(self._part, File):
            self._spool.write(data)
        elif len(self._text) + len(data) > MAX_FIELD_BYTES:
            raise _wrong(self._part.name, f"is longer than {MAX_FIELD_BYTES:,} bytes")
        else:
            self._text += data

    def _end(self) -> None:
        if isinstance(self._part, File):
            self._form.files.append(self._file(self._part))
        elif self._part is not None:
            self._add_field(self._part.name)

    def _file(self, part: File) -> FormFile:
        if (
            _REPLACEMENT in part.filename
            and _REPLACEMENT not in part.headers["Content-Disposition"]
        ):
            raise _wrong(part.name, "has a file name that is not UTF-8")
        size = self._spool.tell() - self._start
        content_type = parse_options_header(part.headers.get("Content-Type"))[0].lower()
        content = io.BufferedReader(_Slice(self._spool, self._start, size))
        return FormFile(part.name, part.filename, content_type, content, size)

    def _add_field(self, name: str) -> None:
        if name in self._form.fields:
            raise _wrong(name, "is given more than once")
        try:
            self._form.fields[name] = self._text.decode()
        except UnicodeDecodeError as error:
            raise _wrong(name, "is not UTF-8") from error


class _Slice(io.RawIOBase):
    """Part of a file as a separate file, for use by one thread."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self._file = file
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
        self._file.seek(self._start + self._position)
        remaining = max(self._size - self._position, 0)
        chunk = self._file.read(min(len(buffer), remaining))
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the headers of a part are not UTF-8"
    text = str(error)
    return "it ends before the closing boundary" if "cannot parse beyond" in text else text


def _malformed(reason: str) -> Refused:
    return Refused(
        HTTPStatus.BAD_REQUEST,
        "invalid-form",
        f"The body is not a valid multipart/form-data form: {reason}. Nothing was stored.",
        "Send a complete form, for example with `curl -F file=@1000.csv`.",
    )


def _too_large(detail: str) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "form-too-large",
        f"{detail} Nothing was stored.",
        "Split the files over several forms, or upload each file with PUT.",
    )


def _wrong(name: str, message: str) -> WrongParameters:
    return WrongParameters([(name, message)])

"""The parts of a workbook: which sheets it has, and whether it is safe to read one of them."""

from __future__ import annotations

import io
import posixpath
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from python_calamine import CalamineWorkbook

from etl.model.errors import RefusedObject
from etl.model.safe_text import printable
from etl.model.values import ProblemCode
from etl.read import archive
from etl.read.limits import DEFAULT_LIMITS, too_large
from etl.read.xlsx.scan import FREE_CELLS, MOST_CELLS, MOST_SPREAD, SheetScan

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterable, Iterator

    from python_calamine import CalamineSheet

MOST_FILE_BYTES = 256 << 20
MOST_PART_BYTES = 1 << 30  # of the sheet, and of each other part that is read with it
MOST_INDEX_BYTES = 4 << 20  # of the list of sheets, and of what names their parts

_OTHERS = {
    "xl/workbook.bin": "a binary workbook (.xlsb)",
    "content.xml": "an OpenDocument file",
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a PowerPoint presentation",
}
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_OLE = b"\xd0\xcf\x11\xe0"
_WORKBOOK, _RELATIONS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
_SHARED = ("xl/sharedstrings.xml", "xl/styles.xml")
_UNSAFE_BEGINNINGS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
_SHOWN_SHEETS = 20


class Sheet(NamedTuple):
    """One tab of a workbook, and the part with its cells; None for a sheet that is a chart."""

    name: str
    part: str | None
    is_hidden: bool


@dataclass(frozen=True)
class OpenSheet:
    """A sheet, what the scan found in it, and its date system."""

    name: str
    cells: CalamineSheet
    scan: SheetScan
    is_1904: bool

    @property
    def first_column(self) -> int:
        """The 0-based column of the first cell of each row."""
        return self._used.start

    def rows(self) -> Iterator[list[Any]]:
        """The values of all rows from the first one of the sheet, all equally wide.

        They reach as far as the formulas without a value, which calamine does not count as cells.
        """
        left, right, height = [], [], 0
        if self.cells.start is not None and self.cells.end is not None:
            left = [""] * (self.cells.start[1] - self._used.start)
            right = [""] * (self._used.stop - 1 - self.cells.end[1])
            height = self.cells.end[0] + 1
            rows = self.cells.iter_rows()
            yield from ([*left, *row, *right] for row in rows) if left or right else rows
        last = max((row for row, _ in self.scan.formulas), default=-1)
        for _ in range(height, last + 1):
            yield [""] * len(self._used)

    @cached_property
    def _used(self) -> range:
        """The 0-based columns with cells."""
        columns = {column for _, column in self.scan.formulas}
        if self.cells.start is not None and self.cells.end is not None:
            columns |= {self.cells.start[1], self.cells.end[1]}
        return range(min(columns, default=0), max(columns, default=-1) + 1)


def open_sheet(parts: Iterable[bytes], wanted: str | int | None) -> OpenSheet:
    """Open a sheet: by its name, by its place (from 1), or the first one that is not hidden.

    Raises:  RefusedObject.
    """
    content = _content(parts)
    if content.startswith(_OLE):
        raise _old_or_protected(content)
    with archive.opened(io.BytesIO(content), "workbook") as opened:
        package = _Package(opened)
        sheets, is_1904 = package.sheets()
        sheet = _choose(sheets, wanted)
        scan = package.scan(sheet)
    return OpenSheet(sheet.name, _calamine_sheet(content, sheet.name), scan, is_1904)


def _content(parts: Iterable[bytes]) -> bytes:
    found, size = [], 0
    for part in parts:
        size += len(part)
        if size > MOST_FILE_BYTES:
            raise _too_large(f"The file is larger than {MOST_FILE_BYTES >> 20} MB.")
        found.append(part)
    if not size:
        raise RefusedObject(
            ProblemCode.EMPTY_FILE,
            "The file is empty. Upload it again, or remove it from the bucket.",
        )
    return b"".join(found)


def _too_large(fault: str) -> RefusedObject:
    return RefusedObject(
        ProblemCode.ARCHIVE_TOO_LARGE,
        f"{fault} Workbooks are read as a whole, in memory. Split the workbook, or export the sheet"
        " as CSV.",
    )


def _old_or_protected(content: bytes) -> RefusedObject:
    if _ENCRYPTED in content:
        return RefusedObject(
            ProblemCode.ENCRYPTED_ARCHIVE,
            "The workbook is protected by a password. Save it without one: File, Info, Protect "
            "Workbook, Encrypt with Password, then clear the password.",
        )
    return RefusedObject(
        ProblemCode.WRONG_FORMAT,
        "The file is read as xlsx, but seems to be an .xls workbook. Open it in a spreadsheet "
        "program and save it as .xlsx.",
    )


def _choose(sheets: list[Sheet], wanted: str | int | None) -> Sheet:
    if wanted is None:
        tables = [one for one in sheets if one.part is not None]
        found = next((one for one in tables if not one.is_hidden), None)
        found = found or next(iter(tables), None)
        if found is not None:
            return found
        raise RefusedObject(ProblemCode.UNKNOWN_SHEET, "The workbook has no sheet with cells.")
    listed = [f"{place}: {printable(one.name)}" for place, one in enumerate(sheets, 1)]
    more = f" and {len(listed) - _SHOWN_SHEETS} more" if len(listed) > _SHOWN_SHEETS else ""
    names = f"The sheets are {', '.join(listed[:_SHOWN_SHEETS])}{more}."
    if isinstance(wanted, int):
        found = sheets[wanted - 1] if 1 <= wanted <= len(sheets) else None
    else:
        folded = wanted.strip().casefold()  # the case of a sheet's name does not matter to Excel
        found = next((one for one in sheets if one.name.strip().casefold() == folded), None)
    if found is None:
        raise RefusedObject(
            ProblemCode.UNKNOWN_SHEET,
            f"The workbook has no sheet {wanted!r}. {names} Correct `sheet` in the declaration, or "
            "rename the sheet.",
        )
    if found.part is None:
        raise RefusedObject(
            ProblemCode.UNKNOWN_SHEET,
            f"The sheet {wanted!r} is a chart, without cells. {names} Correct `sheet`.",
        )
    return found


class _Package:
    """The files in a workbook, by their names in lower case."""

    def __init__(self, opened: zipfile.ZipFile) -> None:
        self._opened = opened
        self._members: dict[str, zipfile.ZipInfo] = {}
        for one in opened.infolist():
            name = one.filename.lower().replace("\\", "/").removeprefix("/")
            if name in self._members:
                raise archive.corrupt("contains a part twice", "workbook")
            self._members[name] = one

    def sheets(self) -> tuple[list[Sheet], bool]:
        """The sheets in the order of their tabs, and whether dates count from 1904."""
        if _WORKBOOK not in self._members:
            raise self._other()
        targets = {
            _attribute(one, "Id"): one
            for one in self._parsed(_RELATIONS).iter()
            if _local(one.tag) == "Relationship"
        }
        sheets, is_1904 = [], False
        for one in self._parsed(_WORKBOOK).iter():
            if _local(one.tag) == "workbookPr":
                is_1904 = _attribute(one, "date1904") in {"1", "true"}
            elif _local(one.tag) == "sheet":
                sheets.append(self._sheet(one, targets.get(_attribute(one, "id"))))
        return sheets, is_1904

    def scan(self, sheet: Sheet) -> SheetScan:
        """Read the cells of the sheet once, and every part that calamine reads with them."""
        for name in _SHARED:
            if name in self._members:
                for _ in self._read(name):
                    pass
        scan = SheetScan()
        for part in self._read(sheet.part or ""):
            scan.add(part)
        scan.finish()
        if scan.area > MOST_CELLS:
            raise _too_large(f"The sheet has more than {MOST_CELLS:,} cells.")
        if scan.area > max(FREE_CELLS, MOST_SPREAD * scan.cells):
            raise RefusedObject(
                ProblemCode.ARCHIVE_TOO_LARGE,
                f"The sheet has {scan.cells:,} cells, and one of them is so far from the others "
                f"that the area around all of them has {scan.area:,}. Ctrl+End selects its last "
                "cell. Delete the rows or columns that do not belong to the table.",
            )
        return scan

    def _sheet(self, element: ET.Element, relation: ET.Element | None) -> Sheet:
        part = None
        if relation is not None and _attribute(relation, "Type").endswith("/worksheet"):
            part = posixpath.normpath(posixpath.join("/xl", _attribute(relation, "Target"))).lower()
            part = part.removeprefix("/")
            if part not in self._members:
                raise archive.corrupt("lacks the part of a sheet", "workbook")
        is_hidden = _attribute(element, "state") not in {"", "visible"}
        return Sheet(_attribute(element, "name"), part, is_hidden)

    def _parsed(self, name: str) -> ET.Element:
        if name not in self._members:
            raise archive.corrupt("lacks the list of its parts", "workbook")
        text = b"".join(self._read(name, MOST_INDEX_BYTES))
        try:
            return ET.fromstring(text)  # noqa: S314 - it has no DOCTYPE, so no entities
        except (ET.ParseError, ValueError) as error:
            raise archive.corrupt("is damaged", "workbook") from error

    def _read(self, name: str, most_bytes: int | None = None) -> Iterator[bytes]:
        """The XML of a part.

        Raises:  RefusedObject also when it is too large, or has a DOCTYPE.
        """
        most_bytes = MOST_PART_BYTES if most_bytes is None else most_bytes
        member, size, end = self._members[name], 0, b""
        for part in archive.read_member(self._opened, member, "workbook"):
            if not size and part.startswith(_UNSAFE_BEGINNINGS):
                raise archive.corrupt("has a part that is not UTF-8", "workbook")
            size += len(part)
            if size > most_bytes:
                raise _too_large(f"A part of the workbook is larger than {most_bytes >> 20} MB.")
            if not DEFAULT_LIMITS.allow(size, member.compress_size):
                raise too_large(size, member.compress_size, DEFAULT_LIMITS)
            if b"<!DOCTYPE" in end + part[: len(b"<!DOCTYPE")] or b"<!DOCTYPE" in part:
                raise archive.corrupt("has a part with a DOCTYPE, which none may have", "workbook")
            end = part[-len(b"<!DOCTYPE") :]
            yield part

    def _other(self) -> RefusedObject:
        other = next((what for name, what in _OTHERS.items() if name in self._members), None)
        if other is None:
            other = "a zip archive without a workbook"
        return RefusedObject(
            ProblemCode.WRONG_FORMAT,
            f"The file is read as xlsx, but seems to be {other}. Save it as an Excel workbook "
            "(.xlsx).",
        )


def _local(tag: object) -> str:
    """The name of an element without its namespace."""
    return str(tag).rpartition("}")[2]


def _attribute(element: ET.Element, name: str) -> str:
    """The attribute with this name in any namespace, or ""."""
    return next((value for key, value in element.items() if _local(key) == name), "")


def _calamine_sheet(content: bytes, name: str) -> CalamineSheet:
    with faults():
        return CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_name(name)


@contextmanager
def faults() -> Iterator[None]:
    """Turn what calamine raises about damaged content into a refusal.

    Raises:  RefusedObject.
    """
    try:
        yield
    except Exception as error:
        raise archive.corrupt("is damaged", "workbook") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a Rust extension gave up
            raise
        raise archive.corrupt("is damaged", "workbook") from None

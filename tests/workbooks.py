"""Workbooks for tests, as spreadsheet programs write them."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

import openpyxl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from openpyxl.worksheet.worksheet import Worksheet

SHEET = "xl/worksheets/sheet1.xml"


def workbook(
    rows: Iterable[Sequence[object]], change: Callable[[Worksheet], object] | None = None
) -> bytes:
    """A workbook with these rows in its only sheet, after `change`."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if change is not None:
        change(sheet)
    return saved(book)


def saved(book: openpyxl.Workbook) -> bytes:
    """The file of a workbook."""
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def repacked(content: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The workbook with changed parts."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        parts = {one.filename: opened.read(one) for one in opened.infolist()}
    change(parts)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return buffer.getvalue()


def with_cells(content: bytes, xml: dict[str, str]) -> bytes:
    """The workbook with other XML for cells, by their references."""

    def change(parts: dict[str, bytes]) -> None:
        text = parts[SHEET].decode()
        for reference, cell in xml.items():
            text, count = re.subn(rf'<c r="{reference}".*?</c>', lambda _, new=cell: new, text)
            assert count == 1, reference
        parts[SHEET] = text.encode()

    return repacked(content, change)

"""Read CSVs and TSVs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.values import ProblemCode
from etl.verify.header import HeaderReader
from etl.verify.records import read_records
from etl.verify.rows import Rows
from etl.verify.text import decode

if TYPE_CHECKING:
    from etl.verify.file import DatasetFile
    from etl.verify.header import Header
    from etl.verify.records import CsvRecord
    from etl.verify.rows import Reading


def read(file: DatasetFile) -> Reading:
    """The rows and faults of a file.

    Raises:  FileError.
    """
    decoded = decode(file.content)
    delimiter = file.layout.dataset.dialect.delimiter
    if delimiter is None and file.format == "tsv":
        delimiter = "\t"
    header = HeaderReader(file).read(decoded, delimiter)
    rows = Rows(file.columns(header.names))
    for record in read_records(decoded, header.next_line, header.shape):
        _add(record, header, rows)
    reading = rows.finish()
    if decoded.is_guessed and ProblemCode.ROWS_WITHOUT_ID not in reading.faults:
        reading.note(ProblemCode.GUESSED_ENCODING)
    return reading


def _add(record: CsvRecord, header: Header, rows: Rows) -> None:
    if record.cells is None:
        rows.reject(record.line, record.fault or ProblemCode.UNCLOSED_QUOTE)
        return
    if not any(cell and not cell.isspace() for cell in record.cells):
        return
    cells: list[str | None] = [*record.cells]
    shape = header.shape
    omitted = shape.width - len(cells) if shape.min_width <= len(cells) < shape.width else 0
    if omitted:
        rows.note(ProblemCode.MISSING_TRAILING_CELLS)
    if header.is_repeated_by([*record.cells, *[""] * omitted]):
        rows.note(ProblemCode.REPEATED_HEADER)
    elif len(cells) + omitted != shape.width:
        is_short = len(cells) < shape.width
        rows.reject(record.line, ProblemCode.SHORT_ROW if is_short else ProblemCode.LONG_ROW)
    else:
        rows.add(record.line, [*cells, *[None] * omitted])

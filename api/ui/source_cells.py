"""The cells of a line of an object, by the columns of its dataset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from etl.model.formats import SourceFormat, format_of

if TYPE_CHECKING:
    from etl.model.dataset import Dataset
    from etl.read.rows.header import FileHeader

_OF_CELLS = (SourceFormat.CSV, SourceFormat.TSV)


def cells(dataset: Dataset, key: str, header: str | None, line: str) -> dict[str, str]:
    """The cells as they are in the line, before any conversion; not those of a cut or quoted line.

    Undeclared columns have the names of the file. A record of several lines has no cells here.
    """
    found = format_of(dataset, key)
    if found is not None and found.format is SourceFormat.NDJSON:
        return _members(dataset, line)
    columns = _header(dataset, key, header)
    if columns is None:
        return {}
    from etl.read.csv.quoting import Tokenizer

    scan = Tokenizer(columns.delimiter, dataset.dialect.quote_char).scan(line)
    if scan is None or scan.opened is not None:
        return {}
    return dict(zip(columns.columns, scan.cells, strict=False))


def empty_cell(
    dataset: Dataset, key: str, header: str | None, line: str, column: str
) -> tuple[str, str] | None:
    """What is before and after the empty cell of a column; None if it is not found."""
    columns = _header(dataset, key, header)
    quote = dataset.dialect.quote_char
    if columns is None or column not in columns.columns or (quote and quote in line):
        return None
    place, parts = columns.columns.index(column), line.split(columns.delimiter)
    if place >= len(parts) or parts[place].strip():
        return None
    before = "".join(f"{one}{columns.delimiter}" for one in parts[:place])
    return before, line[len(before) + len(parts[place]) :]


def _header(dataset: Dataset, key: str, line: str | None) -> FileHeader | None:
    """The header of a file of cells, if this line is one."""
    found = format_of(dataset, key)
    if line is None or found is None or found.format not in _OF_CELLS:
        return None
    from etl.read.csv.header import read_header
    from etl.read.csv.parse import Layouts
    from etl.read.rows.header import FileHeader

    header = read_header(line, Layouts(dataset, None).of(key))
    return header if isinstance(header, FileHeader) else None


def _members(dataset: Dataset, line: str) -> dict[str, str]:
    """The values of a JSON object, as JSON."""
    from etl.model.routing import path_names
    from etl.read.rows.layout import Layout

    try:
        found = json.loads(line, parse_float=_Literal, parse_int=_Literal)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    names = Layout(dataset, path_names(dataset)).names
    return {names.get(name.strip().casefold(), name): _json(one) for name, one in found.items()}


class _Literal(str):
    """A number as it is written."""

    __slots__ = ()


def _json(value: object) -> str:
    if isinstance(value, _Literal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)

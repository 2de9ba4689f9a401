"""Hints about the columns of a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.safe_text import safe_value
from etl.read.rows.layout import LONGEST_NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.model.dataset import Dataset
    from etl.read.rows.layout import Layout

_SHOWN_NAMES = 10
_DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


def missing_hint(layout: Layout, missing: Sequence[str], written: Sequence[str]) -> str:
    """Which required columns a header lacks, or that it has no declared one, and what it has."""
    listed = _all_accepted(layout.dataset, missing or layout.expected)
    if missing:
        return f"The header lacks {listed}; {_columns(written)}."
    name = layout.dataset.name
    return f"The header has no column that {name} declares: {listed}. I{_columns(written)[1:]}."


def _columns(written: Sequence[str]) -> str:
    return f"its columns are {shown(written)}" if written else "it has no columns"


def no_column_hint(layout: Layout, written: Sequence[str]) -> str:
    """The hint about a file without a header, no row of which has a declared column."""
    dataset = layout.dataset
    return (
        f"No row has a column that {dataset.name} declares: "
        f"{_all_accepted(dataset, layout.expected)}. The columns of the rows are "
        f"{shown(written) or 'none'}. {missing_remedy(dataset, [])}"
    )


def looks_like_header(
    layout: Layout, rows: Iterable[tuple[int, Sequence[str]]], noun: str = "line"
) -> str:
    """Which of the rows below a useless header, by number, seems to be the header; "" if none."""
    wanted = set(layout.required or layout.expected)
    for number, cells in rows:
        found = {layout.names.get(cell.strip().casefold()) for cell in cells}
        if wanted <= found and wanted:
            return (
                f"{noun.capitalize()} {number} looks like the header. Declare "
                f"`dialect = {{ headerRows = [{number}] }}` for {layout.dataset.name}, or remove "
                "what is above it."
            )
    return ""


def missing_remedy(dataset: Dataset, missing: Sequence[str]) -> str:
    """What to do about a header that lacks required columns or, if it lacks none, all others."""
    if not missing:
        return "Move the file, or declare its columns."
    if dataset.is_preset:
        return "Add the missing columns, or rename the columns that contain their values."
    return (
        "Add the missing columns, or add the headers of the columns that contain their values to "
        "`aliases`."
    )


def one_column_hint(layout: Layout, other: str) -> str:
    """The hint about a header that the given delimiter does not split, but another does."""
    dataset, delimiter = layout.dataset, layout.delimiter or ""
    if dataset.dialect.delimiter is not None:
        action = f"Correct `delimiter` in the dialect of {dataset.name}."
    else:
        first = "Set" if dataset.format else "Rename the file to .csv, or set"
        action = f'{first} format = "csv", so that the delimiter is detected.'
    return (
        f"The whole header was read as one column, because the delimiter is {_named(delimiter)}; "
        f"the file seems to have {_named(other)}s. {action}"
    )


def _named(delimiter: str) -> str:
    return _DELIMITER_NAMES.get(delimiter, f'"{safe_value(delimiter)}"')


def _all_accepted(dataset: Dataset, names: Sequence[str]) -> str:
    return ", ".join(_accepted(dataset, name) for name in names[:_SHOWN_NAMES]) + _more(names)


def _accepted(dataset: Dataset, name: str) -> str:
    """The name of a column and its other names."""
    aliases = dataset.field(name).aliases if name in dataset.field_names else ()
    return f"{name} (aliases: {shown(aliases)})" if aliases else name


def absent_hint(dataset: Dataset, absent: Sequence[str], undeclared: Sequence[str]) -> str:
    """The hint about declared columns that a file lacks.

    `undeclared` are its columns that are not declared; without any, the column of `prefer` is
    absent.
    """
    if not undeclared:
        return (
            f"The file has no column {dataset.prefer}. {_without_prefer(dataset)} Add the column."
        )
    hint = (
        f"The file has no column for {shown(absent)}, so all of its rows are null there. "
        f"{dataset.name} does not declare its columns {shown(undeclared)}. If one of these has the "
        "missing values, add its header to `aliases` of the field; otherwise declare it."
    )
    return f"{hint} {_without_prefer(dataset)}" if dataset.prefer in absent else hint


def _without_prefer(dataset: Dataset) -> str:
    return (
        f"Because prefer = {dataset.prefer}, its rows lose to all rows of the same key that have a "
        "value there."
    )


def not_added_hint(names: Sequence[str]) -> str:
    """The hint about columns that the table cannot get."""
    return (
        f"The table gets no columns for {shown(names)}; their cells are in _extra. A new column "
        f"needs a name of at most {LONGEST_NAME_BYTES} bytes that is unique in lower case, does "
        "not begin with _ and is not reserved, and a table gets at most 200 of them."
    )


def shown(names: Sequence[str]) -> str:
    """The first names, shortened and safe to display, and the number of the others."""
    return ", ".join(map(safe_value, names[:_SHOWN_NAMES])) + _more(names)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""

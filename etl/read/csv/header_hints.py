"""Hints about the columns of a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.model.safe_text import safe_value
from etl.read.csv.layout import LONGEST_NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.model.dataset import Dataset

_SHOWN_NAMES = 10


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
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(map(safe_value, names[:_SHOWN_NAMES])) + more

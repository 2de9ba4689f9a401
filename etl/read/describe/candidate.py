"""One guess of a column's type, and what may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from etl.model.values import Severity
from etl.read.types import check_column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from etl.model.dataset import Field

_FIRST = 8  # values that rule out most candidates


@dataclass(frozen=True, slots=True)
class Guess:
    """A field without name and constraints, and a comment if it is uncertain."""

    field: Field
    note: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What a guess depends on besides its values.

    `header` is the name in the file, in lower case. `has_decimal_commas`: other columns have them.
    `is_float`: the file stores floating-point numbers.
    """

    header: str = ""
    has_decimal_commas: bool = False
    is_float: bool = False

    def names(self, *words: str) -> bool:
        """Whether the header has one of the words."""
        return any(word in self.header for word in words)


def accepts(field: Field, values: Sequence[str], today: date | None = None) -> bool:
    """Whether the reader accepts all values for the field."""
    day = datetime.now(UTC).date() if today is None else today
    return all(
        _accepts(field, some, day) for some in (values[:_FIRST], values[_FIRST:]) if len(some)
    )


def _accepts(field: Field, values: Sequence[str], today: date) -> bool:
    texts = pa.chunked_array([pa.array(values, pa.large_string())])
    faults = check_column(texts, field, (), today).faults
    return all(one.severity is not Severity.ERROR for one in faults)

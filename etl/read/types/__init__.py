"""Field types: columns of text cells to typed values and faults. Imports etl.model and pyarrow.

check        one column: missing values, the type, its constraints
column       the result, and conversions that the types share
constraints  bounds, lengths, patterns and enumerations, and their hints
strings, integers, numbers, booleans, years, documents (JSON), epoch_ms: one type each
typed        cells that have a type already; `typed_texts` and `nested` give their texts
times        date, time and datetime; `layouts` reads their digits, `zones` their time zones
"""

from __future__ import annotations

from etl.read.types.check import check_column
from etl.read.types.column import CheckedColumn, Fault
from etl.read.types.constraints import pattern_error

__all__ = ["CheckedColumn", "Fault", "check_column", "pattern_error"]

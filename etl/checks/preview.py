"""The first rows of a Parquet file, read in a process with limits of memory and time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

ROWS = 20
COLUMNS = 30
CHARACTERS = 200  # of a cell
_ZEROS = re.compile(r"\.0+(?=Z?$)")  # a fraction of a second


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The first rows as texts, None for null, and how many columns there are in all."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    column_count: int


def preview_parquet(message: bytes) -> FirstRows | None:
    """The preview of the Parquet file at the path that is the message; None if it has a fault."""
    from etl.runtime.arrow import import_arrow

    import_arrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(message.decode()) as file:
            names = tuple(file.schema_arrow.names)
            batch = next(file.iter_batches(batch_size=ROWS), None)
            columns = [] if batch is None else batch.columns[:COLUMNS]
            cells = [_texts(one) for one in columns]
    except (pa.ArrowException, OSError, ValueError):
        return None
    return FirstRows(names[:COLUMNS], tuple(zip(*cells, strict=True)), len(names))


def _texts(column: Any) -> list[str | None]:  # noqa: ANN401 - an array of Arrow, which is not typed
    import pyarrow as pa

    is_time = pa.types.is_timestamp(column.type)
    try:
        values = column.cast(pa.string()).to_pylist()
    except pa.ArrowException:  # nested values, and bytes that are no text
        values = column.to_pylist()
    texts = [None if one is None else str(one) for one in values]
    if is_time:
        texts = [one and _ZEROS.sub("", one) for one in texts]
    return [one and cut(one) for one in texts]


def cut(text: str) -> str:
    """The text of a cell, with an ellipsis if it is long."""
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"

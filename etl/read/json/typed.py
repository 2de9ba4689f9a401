"""The fast path: whole columns by Arrow, if it reads exactly what the rest of this package would.

Arrow stops at the first fault, takes an object over several lines, and two on one line. So it reads
a block only if each line is one object, and the block is read again row by row if anything in it is
faulty, has no column, or may mean something else than to Arrow.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import json

from etl.model.dataset import FieldType, Moment
from etl.model.types import sql_type
from etl.read.csv.encoding import is_utf8
from etl.read.json.objects import MOST_OBJECT_BYTES, SPACE
from etl.read.types import check_column
from etl.read.types.numerals import is_plain, number_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from etl.model.dataset import Dataset, Field
    from etl.read.json.objects import Text

_TEXT = pa.large_string()
_TEXTS = frozenset(
    {
        FieldType.STRING,
        FieldType.DATE,
        FieldType.TIME,
        FieldType.DATETIME,
        FieldType.OBJECT,
        FieldType.ARRAY,
    }
)
LEAST_BYTES = 4_096  # below, Arrow takes longer to start than the rows would take
_DECIMAL_DIGITS = 38
_DOUBLE_DIGITS = 15  # up to this length, different numbers are different floats
_IS_DIGIT = np.zeros(256, np.bool_)
_IS_DIGIT[list(b"0123456789.")] = True
_IS_E = np.zeros(256, np.bool_)
_IS_E[list(b"eE")] = True
_MANY_ZEROS = b"0" * 40


class ObjectBlock(NamedTuple):
    """Texts that each begin and end with a brace, joined by LF.

    Shapes:  numbers (n,): those of the rows. `first` is the first text, and the longest one has
             `most_bytes`.
    """

    content: bytes
    numbers: NDArray[np.int64]
    first: bytes
    most_bytes: int


def line_block(content: bytes, number: int) -> ObjectBlock | None:
    """Whole lines, the first of which has this number, as a block; None if they cannot be one."""
    if not content.startswith(b"{"):
        return None
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
        if b"\r" in content:
            return None
    content = content.removesuffix(b"\n")
    data = np.frombuffer(content, np.uint8)
    newlines = np.flatnonzero(data == ord("\n"))
    if not content.endswith(b"}"):
        return None
    if (data[newlines - 1] != ord("}")).any() or (data[newlines + 1] != ord("{")).any():
        return None
    lengths = np.diff(newlines, prepend=-1, append=len(content)) - 1
    numbers = np.arange(number, number + len(lengths))
    return ObjectBlock(content, numbers, content[: lengths[0]], int(lengths.max()))


def element_block(texts: list[Text]) -> ObjectBlock | None:
    """The elements of an array as a block; None if they cannot be one."""
    contents = [text.content.strip(SPACE) for text in texts]
    if not contents or not all(one.startswith(b"{") and one.endswith(b"}") for one in contents):
        return None
    numbers = np.arange(texts[0].number, texts[0].number + len(texts))
    return ObjectBlock(b"\n".join(contents), numbers, contents[0], max(map(len, contents)))


def read_columns(
    block: ObjectBlock, fields: Mapping[str, Field | None], dataset: Dataset
) -> dict[str, pa.ChunkedArray] | None:
    """The columns by their names in the block; None if they must be read row by row.

    `fields` are those of the names; None stands for added columns, which are text.
    """
    if block.most_bytes > MOST_OBJECT_BYTES or not is_utf8(block.content):
        return None
    types = {name: _column_type(field, dataset) for name, field in fields.items()}
    try:
        table = json.read_json(
            pa.BufferReader(block.content),
            json.ReadOptions(use_threads=False, block_size=len(block.content) + 1),
            json.ParseOptions(
                explicit_schema=pa.schema(types.items()), unexpected_field_behavior="error"
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns = dict(zip(table.column_names, table.columns, strict=True))
    if len(table) != len(block.numbers) or not _have_exact_digits(block, fields.values()):
        return None
    for name, field in fields.items():
        if field is not None and not _is_exact(columns[name], field, dataset, block):
            return None
    return columns


def _column_type(field: Field | None, dataset: Dataset) -> pa.DataType:
    """The type as which Arrow reads the column; null if it can read nulls only."""
    if field is None or field.type in _TEXTS:
        return _TEXT
    missing = dataset.missing_values if field.missing_values is None else field.missing_values
    if field.type is FieldType.BOOLEAN:
        written = {*field.true_values[:1], *field.false_values[:1]}
        return pa.bool_() if len(written - {*missing}) == len((True, False)) else pa.null()
    number = re.compile(number_pattern(field))
    if field.type is FieldType.ANY or any(number.fullmatch(one) for one in missing):
        return pa.null()
    if field.type is FieldType.NUMBER:
        return _number_type(field)
    return pa.null() if field.constraints.maximum is Moment.TODAY else pa.int64()


def _number_type(field: Field) -> pa.DataType:
    sql = sql_type(field.type, field.sql)
    if sql.name == "real":
        return pa.float32()
    if sql.precision is None or sql.scale is None:
        return pa.float64()
    is_decimal = sql.precision <= _DECIMAL_DIGITS and is_plain(field)  # it takes texts, too
    return pa.decimal128(_DECIMAL_DIGITS, sql.scale) if is_decimal else pa.null()


def _have_exact_digits(block: ObjectBlock, fields: Iterable[Field | None]) -> bool:
    """Whether no number of a numeric column can have more digits than its Arrow type holds."""
    if not any(field is not None and _is_numeric(field) for field in fields):
        return True
    others = np.flatnonzero(~_IS_DIGIT[np.frombuffer(block.content, np.uint8)])
    return bool(np.diff(others).max() - 1 <= _DOUBLE_DIGITS)


def _is_numeric(field: Field) -> bool:
    return field.type is FieldType.NUMBER and sql_type(field.type, field.sql).name == "numeric"


def _is_exact(cells: pa.ChunkedArray, field: Field, dataset: Dataset, block: ObjectBlock) -> bool:
    """Whether the text of each cell would give the same value, without a fault."""
    if pa.types.is_large_string(cells.type) or pa.types.is_null(cells.type):
        return True
    present = cells.drop_null()
    if pa.types.is_floating(cells.type):
        floats = present.to_numpy()
        if not np.isfinite(floats).all() or ((floats == 0).any() and _has_tiny(block.content)):
            return False
    return not check_column(present, field, dataset.missing_values, date.max).faults


def _has_tiny(content: bytes) -> bool:
    """Whether a number may be 0 only because it is too small for a float."""
    data = np.frombuffer(content, np.uint8)
    exponents = np.flatnonzero(_IS_E[data[:-1]] & (data[1:] == ord("-")))
    return _MANY_ZEROS in content or bool(_IS_DIGIT[data[exponents - 1]].any())

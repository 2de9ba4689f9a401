"""Comments on text columns of which nearly all values are numbers, booleans, dates or times."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from etl.model.dataset import FieldType
from etl.model.safe_text import safe_value
from etl.model.values import Severity
from etl.read.describe.guess import typed
from etl.read.describe.numbers import is_like_number
from etl.read.describe.toml import options, toml
from etl.read.types import check_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from etl.model.dataset import Field
    from etl.read.describe.candidate import Context

_LEAST_SHARE = 0.8
_FEWEST = 5  # values
_MOST_TRIED = 5_000  # values
_PIECES, _PIECE = 10, 4  # some of a few values are probably all right
_NOUNS = {
    FieldType.INTEGER: "whole numbers",
    FieldType.NUMBER: "numbers",
    FieldType.BOOLEAN: "booleans",
    FieldType.DATE: "dates",
    FieldType.DATETIME: "dates with times",
    FieldType.TIME: "times",
}
_DIGIT = re.compile(r"[0-9]")
_RUN = re.compile(r"[0-9]+|[^\W\d_]+")


class Near(NamedTuple):
    """What nearly all texts are, in words; the place of the first one that is not."""

    note: str
    place: int


def nearly(texts: Sequence[str], context: Context) -> Near | None:
    """What at least 80 % of the texts, but not all, are; None if that is only text."""
    if len(texts) < _FEWEST:
        return None
    best: tuple[int, Field, NDArray[np.bool_]] | None = None
    tried = []
    for some in _samples(texts):
        guess = typed(some, context) if some else None
        if guess is None or guess.field.type not in _NOUNS or guess.field in tried:
            continue
        tried.append(guess.field)
        is_right = _accepted(guess.field, texts)
        count = int(is_right.sum())
        if best is None or count > best[0]:
            best = count, guess.field, is_right
    if best is None or not _LEAST_SHARE * len(texts) <= best[0] < len(texts):
        return None
    count, field, is_right = best
    written = ", ".join(f"{key} = {value}" for key, value in options(field))
    kind = f"{_NOUNS[field.type]}{f' with {written}' if written else ''}"
    place = int(np.argmin(is_right))
    wrong = toml(safe_value(texts[place]))
    return Near(f"{count:,} of {len(texts):,} values are {kind}; not {wrong}", place)


def _samples(texts: Sequence[str]) -> Iterator[list[str]]:
    """Different texts that may be of one type: frequent ones, those alike, and a few of these."""
    counts = Counter(texts[:_MOST_TRIED])
    total = sum(counts.values())
    seen, frequent = 0, list[str]()
    for text, count in counts.most_common():
        if seen >= _LEAST_SHARE * total:
            break
        frequent.append(text)
        seen += count
    yield frequent
    if sum(count for text, count in counts.items() if _DIGIT.search(text)) < _LEAST_SHARE * total:
        return
    yield [text for text in counts if is_like_number(text)]
    shapes = {
        text: _RUN.sub(lambda run: "9" if run[0][0].isdigit() else "a", text) for text in counts
    }
    usual_shape, _ = Counter(shapes.values()).most_common(1)[0]
    usual = [text for text, shape in shapes.items() if shape == usual_shape]
    yield usual
    step = max(len(usual) // _PIECES, 1)
    for start in range(0, min(len(usual), _PIECES * step), step):
        yield usual[start : start + _PIECE]


def _accepted(field: Field, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts the reader accepts for the field."""
    cells = pa.chunked_array([pa.array(texts, pa.large_string())])
    is_right = np.ones(len(texts), np.bool_)
    for fault in check_column(cells, field, (), datetime.now(UTC).date()).faults:
        if fault.severity is Severity.ERROR:
            is_right &= ~fault.rows
    return is_right

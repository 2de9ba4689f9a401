"""Columns of texts and of typed values, checked against any field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from etl.model.dataset import Dataset
from etl.model.values import ProblemCode, Severity
from etl.read.types import check_column
from etl.read.types.typed_texts import texts_of
from etl.sync.copy_text import copy_text
from etl.verify.cells import CellReader
from etl.verify.expected import identical
from tests.any_files import ARROW_COLUMNS, TEXTS, TYPED
from tests.dataset_outcomes import records_of, stored_value
from tests.fuzz import corpus, tokens
from tests.fuzz.laws import LawBroken
from tests.fuzz.mutations import Mutator
from tests.reader_outcomes import TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from etl.model.dataset import Field

_PIECES = (
    *(one.encode() for one in TEXTS),
    *(one for one in tokens.JSON if one.isascii() and b"\n" not in one),
    *b"+ - . , ' e E 0x 1_0 T Z +05:30 -23 24:00 60 :".split(),
    *map(str.encode, ("\u00a0", "\u202f", "\u2212", "\u0663", "\uff11")),
    *(b"NaN", b"inf", b"9999999999", b"0000", b"2024-", b"-02-30", b"12/31", b"a" * 40),
)


@dataclass(frozen=True)
class ColumnCase:
    """A column, and the field that reads it."""

    field: Field
    missing: tuple[str, ...]
    cells: pa.Array
    place: int

    @property
    def files(self) -> Sequence[tuple[str, bytes]]:
        return [(f"{self.field!r}.column", str(self.cells).encode())]

    def check(self) -> None:
        """Each cell is a value, missing or faulty, whatever the others are, as verify finds."""
        whole = self._judged(self.cells)
        if len(whole) and whole[self.place] != self._judged(self.cells.slice(self.place, 1))[0]:
            raise LawBroken("a cell does not depend on others")
        if pa.types.is_large_string(self.cells.type):
            for text, found in zip(self.cells.to_pylist(), whole, strict=True):
                expected = self._verified(text)
                if found != expected and "\0" not in text:  # which verify looks for elsewhere
                    raise LawBroken(f"verify finds the same: {text!r} {found} {expected}")

    def _verified(self, text: str) -> tuple[object, frozenset[str]]:
        dataset = Dataset(
            name="a", table="a", fields=(self.field,), include=(), missing_values=self.missing
        )
        warnings: list[ProblemCode] = []
        value, codes = CellReader(self.field, dataset, TODAY).read(text, warnings)
        return None if codes else identical(value), frozenset(map(str, (*codes, *warnings)))

    def _judged(self, cells: pa.Array) -> list[tuple[object, frozenset[str]]]:
        checked = check_column(pa.chunked_array([cells]), self.field, self.missing, TODAY)
        checked.values.validate(full=True)
        is_text = pa.types.is_large_string(cells.type)
        texts = texts_of(cells).to_pylist()
        written = copy_text(pa.table({"value": checked.values})).decode()
        values = [
            None if text is None else stored_value(self.field, text)
            for (text,) in records_of(written, 1)
        ]
        is_null = checked.values.is_null().to_pylist()
        if len(values) != len(cells):
            raise LawBroken("each cell has a value")
        codes: list[set[str]] = [set() for _ in values]
        faulty = np.zeros(len(values), np.bool_)
        for fault in checked.faults:
            for row in np.flatnonzero(fault.rows).tolist():
                codes[row].add(fault.code.value)
            if fault.severity is Severity.ERROR:
                faulty |= fault.rows
            if not fault.note(texts[int(np.flatnonzero(fault.rows)[0])] or ""):
                raise LawBroken("a fault has a hint")
        for row, is_faulty in enumerate(faulty.tolist()):
            if is_faulty and not is_null[row]:
                raise LawBroken("a faulty cell has no value")
            is_missing = is_text and texts[row] in self._missing_values
            if is_null[row] and not is_faulty and not is_missing:
                raise LawBroken("a cell without a fault has a value")
        return list(zip(values, map(frozenset, codes), strict=True))

    @property
    def _missing_values(self) -> tuple[str, ...]:
        own = self.field.missing_values
        return self.missing if own is None else own


class ColumnFuzzer:
    """Makes columns of texts, valid, damaged or odd, and of values of Arrow's types."""

    def __init__(self, seed: Random) -> None:
        del seed

    def case(self, rnd: Random) -> ColumnCase:
        field = rnd.choice(TYPED)
        missing = rnd.choice((("",), ("", "NULL"), ("-",)))
        count = rnd.choice((1, 3, 8))
        cells = self._typed(rnd, count) if rnd.random() < 0.15 else self._texts(rnd, count, field)
        return ColumnCase(field, missing, cells, rnd.randrange(max(len(cells), 1)))

    def _texts(self, rnd: Random, count: int, field: Field) -> pa.Array:
        mutator = Mutator(rnd, _PIECES)
        texts = []
        for _ in range(count):
            text = corpus.valid_text(field, rnd) if rnd.random() < 0.6 else rnd.choice(TEXTS)
            if rnd.random() < 0.8:
                text = mutator.mutated(text.encode()).decode("utf-8", "replace")
            texts.append(text.strip() if field.trim else text)
        return pa.array(texts, pa.large_string())

    @staticmethod
    def _typed(rnd: Random, count: int) -> pa.Array:
        while True:
            type_, values = rnd.choice(ARROW_COLUMNS)
            if not (
                pa.types.is_nested(type_) or pa.types.is_dictionary(type_) or "binary" in str(type_)
            ):
                break
        found = pa.array([rnd.choice(values) for _ in range(count)], type_).drop_null()
        return found.cast(pa.large_string()) if pa.types.is_string(type_) else found

"""Check a described dataset against the sampled objects, and correct what does not fit them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from etl.model.values import ProblemCode, Severity
from etl.read.pieces import ObjectValidator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from etl.model.dataset import Dataset
    from etl.model.values import Problem, SourceObject
    from etl.read.describe.columns import Correction
    from etl.read.describe.sample import Bounds, Parts


def errors(
    source: SourceObject, dataset: Dataset, parts: Parts, limit: Bounds, today: date
) -> list[Problem]:
    """The errors in the first rows of an object, as a run would find them."""
    validator = ObjectValidator(source, dataset, today)
    found = []
    for extract in limit.extracts(source, dataset, parts):
        found += validator.validate(extract).problems
    found += validator.object_problems()
    return [one for one in found if one.severity is Severity.ERROR]


def corrected(correction: Correction, found: Iterable[Problem]) -> Correction:
    """The correction that also avoids these errors; the same if it cannot."""
    as_text, unindexed = set(correction.as_text), set(correction.unindexed)
    uncomputed, pads_rows = set(correction.uncomputed), correction.pads_rows
    for one in found:
        if one.code is ProblemCode.SHORT_ROW:
            pads_rows = True
        elif one.code is ProblemCode.CELL_TOO_LONG and one.column is not None:
            unindexed.add(one.column)
        elif one.code is ProblemCode.FORMULA_WITHOUT_VALUE and one.column is not None:
            uncomputed.add(one.column)
        elif one.column is not None:
            as_text.add(one.column)
    return replace(
        correction,
        as_text=frozenset(as_text),
        unindexed=frozenset(unindexed),
        uncomputed=frozenset(uncomputed),
        pads_rows=pads_rows,
    )

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
    by_kind: dict[str, set[str]] = {"optional": set(), "unindexed": set(), "as_text": set()}
    pads_rows = correction.pads_rows
    for one in found:
        if one.code is ProblemCode.SHORT_ROW:
            pads_rows = True
        elif one.column is not None:
            by_kind[_KINDS.get(one.code, "as_text")].add(one.column)
    more = {name: getattr(correction, name) | columns for name, columns in by_kind.items()}
    return replace(correction, pads_rows=pads_rows, **more)


_KINDS = {ProblemCode.MISSING_CELL: "optional", ProblemCode.CELL_TOO_LONG: "unindexed"}

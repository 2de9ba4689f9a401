"""Results, their targets, and the JSON files that store them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.machine import load_average, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Target:
    """A bound for a result: `factor` times the baseline plus `extra`; without a baseline, `extra`.

    `of` is a short name of the baseline, for a target that is only a factor.
    """

    factor: float = 0.0
    extra: float = 0.0
    at_least: bool = False
    of: str = ""

    @property
    def says(self) -> str:
        """The target in words, if the baseline has a short name."""
        return f"{'≥' if self.at_least else '≤'} {self.factor} × {self.of}" if self.of else ""

    def bound(self, baseline: float | None) -> float | None:
        """The bound in the unit of the result; None if its baseline was not measured."""
        if self.factor and baseline is None:
            return None
        return self.factor * (baseline or 0.0) + self.extra

    def holds(self, value: float, bound: float) -> bool:
        """Whether the value meets the bound."""
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    `value` and `baseline_value` are medians of the samples, in `unit`; `bound` is the target in
    the same unit, and `says` the target in words. `passed` is None without a target, or without
    a value or baseline; then `note` says why. `store` is the object store used.
    """

    scenario: str
    what: str
    unit: str
    value: float | None
    samples: list[float] = field(default_factory=list)
    baseline: str = ""
    baseline_value: float | None = None
    baseline_samples: list[float] = field(default_factory=list)
    says: str = ""
    bound: float | None = None
    passed: bool | None = None
    note: str = ""
    store: str = "embedded"


def figure(  # noqa: PLR0913  (a table has that many columns)
    scenario: str,
    what: str,
    unit: str,
    samples: Sequence[float],
    *,
    baseline: str = "",
    baseline_samples: Sequence[float] = (),
    target: Target | None = None,
    says: str = "",
    note: str = "",
) -> Figure:
    """Take the medians and compare them with the target, if there is one."""
    value = median(samples) if samples else None
    baseline_value = median(baseline_samples) if baseline_samples else None
    bound = target.bound(baseline_value) if target else None
    passed = (
        target.holds(value, bound)
        if target is not None and value is not None and bound is not None
        else None
    )
    return Figure(
        scenario,
        what,
        unit,
        value,
        list(samples),
        baseline,
        baseline_value,
        list(baseline_samples),
        says or (target.says if target else ""),
        bound,
        passed,
        note,
    )


def save(figures: Sequence[Figure], mode: str, facts: dict[str, Any], path: Path) -> None:
    """Write the results, replacing those of earlier scenarios of this invocation."""
    path.parent.mkdir(exist_ok=True)
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "mode": mode,
        "machine": facts | {"load_at_end": load_average()},
        "versions": versions(),
        "figures": [asdict(item) for item in figures],
    }
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


def load(path: Path) -> dict[str, Any]:
    """Read one results file; its figures are `Figure` again."""
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    result["figures"] = [Figure(**item) for item in result["figures"]]
    return result


def new_path() -> Path:
    """The results file of this invocation, named by date and time in UTC."""
    return RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"

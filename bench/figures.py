"""What was measured, and how it compares: figures, limits, and the JSON they are kept in."""

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
class Limit:
    """A bound on a figure: `factor` times the rival's, plus `extra`; `extra` alone without one.

    `of` is a short name of the rival, for a limit that is a factor alone and so says itself.
    """

    factor: float = 0.0
    extra: float = 0.0
    at_least: bool = False
    of: str = ""

    @property
    def says(self) -> str:
        """The limit in words, if it has been told what it is a factor of."""
        return f"{'≥' if self.at_least else '≤'} {self.factor} × {self.of}" if self.of else ""

    def bound(self, rival: float | None) -> float | None:
        """The bound in the figure's unit; None when the rival it hangs on was not measured."""
        if self.factor and rival is None:
            return None
        return self.factor * (rival or 0.0) + self.extra

    def holds(self, value: float, bound: float) -> bool:
        """Whether the figure is on the right side of its bound."""
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    `value` and `rival_value` are medians of the samples, in `unit`; `bound` is the limit in
    the same unit, and `says` the limit in words. `passed` is None where there is no limit, or
    nothing to hold it to: `note` tells why. `store` is the object store it was measured on.
    """

    scenario: str
    what: str
    unit: str
    value: float | None
    samples: list[float] = field(default_factory=list)
    rival: str = ""
    rival_value: float | None = None
    rival_samples: list[float] = field(default_factory=list)
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
    rival: str = "",
    rival_samples: Sequence[float] = (),
    limit: Limit | None = None,
    says: str = "",
    note: str = "",
) -> Figure:
    """Take the medians and hold them to the limit, if there is one."""
    value = median(samples) if samples else None
    rival_value = median(rival_samples) if rival_samples else None
    bound = limit.bound(rival_value) if limit else None
    passed = (
        limit.holds(value, bound)
        if limit is not None and value is not None and bound is not None
        else None
    )
    return Figure(
        scenario,
        what,
        unit,
        value,
        list(samples),
        rival,
        rival_value,
        list(rival_samples),
        says or (limit.says if limit else ""),
        bound,
        passed,
        note,
    )


def save(figures: Sequence[Figure], mode: str, facts: dict[str, Any], path: Path) -> None:
    """Write the results, over what an earlier scenario of the same start wrote."""
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
    """Where this start's results go: named by its date and time, UTC."""
    return RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"

"""What `verify` prints: differences by dataset and kind, and their totals."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from etl.cli.render import counted, iso, sentence
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from etl.cli.render import Lines
    from etl.verify import Difference

    Groups: TypeAlias = dict[tuple[str | None, str], list[Difference]]

SHOWN = 20  # of each kind and dataset


def differences(
    found: Sequence[Difference], *, is_output_compared: bool = True, shows_all: bool = True
) -> Lines:
    """Each difference between the bucket and what is stored, or that there is none.

    Without `shows_all`, the first ones of each kind and dataset, and how many more.
    """
    if not found:
        compared = "tables and output files are" if is_output_compared else "the tables are"
        rest = "" if is_output_compared else " The output files were not compared."
        return [Text(f"No difference: {compared} in sync with the bucket.{rest}", "green")]
    held = [one for one in found if one.is_held]
    others = [one for one in found if not one.is_held]
    most = None if shows_all else SHOWN
    return [
        *_counted(others, most, ". If the bucket has changed since the last run: `./run.sh run`."),
        *_counted(held, most, " of held objects and of rows that foreign keys keep.", "yellow"),
    ]


def _counted(
    found: Sequence[Difference], most: int | None, ending: str, style: str = "red"
) -> Lines:
    """The differences in groups, then their number."""
    if not found:
        return []
    groups: Groups = {}
    for one in found:
        groups.setdefault((one.dataset, one.what), []).append(one)
    lines: Lines = []
    for (dataset, what), group in groups.items():
        shown = group[:most]
        lines += [Text(line) for one in shown for line in _difference(one)]
        if len(shown) < len(group):
            left = f"{len(group) - len(shown)} more of {_of(dataset)}{what}"
            lines.append(Text(f"… and {left}; `--all` prints each", "yellow"))
    if len(found) > 1:
        lines += _totals(groups)
    return [*lines, sentence(f"{counted(len(found), 'difference')}{ending}", style)]


def _totals(groups: Groups) -> Lines:
    """The number of differences of each kind, in a line for each dataset."""
    by_dataset: dict[str, list[str]] = {}
    for (dataset, what), group in groups.items():
        name = "no dataset" if dataset is None else dataset
        by_dataset.setdefault(name, []).append(f"{len(group)} {what}")
    return [Text(printable(f"{name}: {', '.join(each)}")) for name, each in by_dataset.items()]


def _of(dataset: str | None) -> str:
    return "" if dataset in {None, "users"} else f"{dataset} "


def _difference(difference: Difference) -> list[str]:
    """The difference, followed by its two sides where at least one has a value."""
    of = _of(difference.dataset)
    first = printable(f"{of}{difference.what} {difference.name}: {difference.note}")
    if difference.expected is None and difference.found is None:
        return [first]
    where = "in the output" if difference.what.startswith("output-") else "in the table"
    return [
        first,
        f"  {'in the bucket':14}{_side(difference.expected)}",
        f"  {where:14}{_side(difference.found)}",
    ]


def _side(value: object) -> str:
    """One side of a difference: the columns by name, or the parts of a row, in one line."""
    match value:
        case None:
            return "nothing"
        case dict():
            return ", ".join(f"{name} {_cell(cell)}" for name, cell in value.items())
        case tuple() | list():
            return ", ".join(map(_cell, value))
        case str():
            return printable(value)
        case _:
            return _cell(value)


def _cell(value: object) -> str:
    """One value: texts in quotes, so that spaces are visible; times in UTC."""
    if isinstance(value, datetime):
        return iso(value)
    if value is None:
        return "none"
    return printable(json.dumps(value, default=str, ensure_ascii=False))

"""Orders with planted faults, and the lines of them that DuckDB's `store_rejects` reports.

Each kind of fault is in several lines far apart, so that one fault does not hide another.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from bench import order_data
from bench.tools import PATHS, baseline_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

ROWS = 20_000
LINES_OF_EACH = 8
TIMEOUT_SECONDS = 120

Cells = list[str]


class Fault(NamedTuple):
    """A kind of fault: how to plant it, and whether DuckDB reports it at all."""

    name: str
    plant: Callable[[str], str]
    is_found_by_duckdb: bool = True


class Faulty(NamedTuple):
    """A CSV, and its faulty lines by the name of their fault. The header is line 1."""

    content: bytes
    lines: Mapping[str, frozenset[int]]


def _with(name: str, value: str) -> Callable[[str], str]:
    """Replace one cell of a line without quotes."""
    place = order_data.rows(1).column_names.index(name)

    def plant(line: str) -> str:
        cells = line.split(";")
        cells[place] = value
        return ";".join(cells)

    return plant


def _cut(line: str) -> str:
    return ";".join(line.split(";")[:5])


def _lengthened(line: str) -> str:
    return f"{line};one;too many"


FAULTS = (
    Fault("integer: text", _with("quantity", "twelve")),
    Fault("integer: fraction", _with("quantity", "1,5")),
    Fault("integer: over 64 bits", _with("article", "9223372036854775808")),
    Fault("number: text", _with("amount", "12,34 EUR")),
    Fault("number: over the precision", _with("amount", "12345678901,00")),
    Fault("number: over the scale", _with("amount", "1,005"), is_found_by_duckdb=False),
    Fault("number: group of two digits", _with("amount", "12.34,00"), is_found_by_duckdb=False),
    Fault("double: text", _with("weight", "heavy")),
    Fault("boolean: text", _with("is_gift", "perhaps")),
    Fault("date: February 30", _with("ordered_on", "2024-02-30")),
    Fault("date: another order", _with("ordered_on", "24.12.2024")),
    Fault("datetime: month 13", _with("updated_at", "01.13.2024 10:00:00")),
    Fault("datetime: ISO 8601", _with("updated_at", "2024-01-13T10:00:00")),
    Fault(
        "datetime: not on a clock",
        _with("updated_at", "31.03.2024 02:30:00"),
        is_found_by_duckdb=False,
    ),
    Fault("required: empty", _with("user_id", ""), is_found_by_duckdb=False),
    Fault("pattern: another id", _with("order_id", "AA/1"), is_found_by_duckdb=False),
    Fault("enum: another status", _with("status", "lost"), is_found_by_duckdb=False),
    Fault("minimum: a negative amount", _with("amount", "-1,00"), is_found_by_duckdb=False),
    Fault("length: a long country", _with("country", "DEU"), is_found_by_duckdb=False),
    Fault("too few columns", _cut),
    Fault("too many columns", _lengthened),
    Fault("text after a quote", _with("note", '"left" right')),
)


def faulty_orders() -> Faulty:
    """The CSV with every kind of fault, the same each time."""
    lines = order_data.one_csv(ROWS).decode().splitlines()
    plain = [number for number in range(2, ROWS, 41) if '"' not in lines[number - 1]]
    planted: dict[str, frozenset[int]] = {}
    for place, fault in enumerate(FAULTS):
        chosen = plain[place :: len(FAULTS)][:LINES_OF_EACH]
        for number in chosen:
            lines[number - 1] = fault.plant(lines[number - 1])
        planted[fault.name] = frozenset(chosen)
    return Faulty("\n".join([*lines, ""]).encode(), planted)


def reported_by_duckdb() -> frozenset[int]:
    """The lines of `faulty_orders` that DuckDB 1.4.4 reports."""
    lines = faulty_orders().lines
    return frozenset(
        number for fault in FAULTS if fault.is_found_by_duckdb for number in lines[fault.name]
    )


def ask_duckdb(path: Path, columns: Iterable[str] = ()) -> dict[str, list[int]]:
    """The lines that DuckDB reports for that CSV of orders, by its name of the fault.

    `columns` are those of the file; none are all twelve.

    Raises:  subprocess.CalledProcessError when it cannot read the file.
    """
    done = subprocess.run(  # noqa: S603  (our own script)
        baseline_command("rejects", str(path), *columns),
        env=os.environ | PATHS,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found

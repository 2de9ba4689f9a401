"""datasets.toml: read and checked as a whole, so that one error reports all of its faults."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from etl.model.dataset import USERS, Dataset
from etl.settings.datasets.faults import FaultReport, refuse_file, shown
from etl.settings.datasets.keys import ROOT
from etl.settings.datasets.lines import toml_lines
from etl.settings.datasets.parse import Surroundings, parse_dataset
from etl.settings.datasets.section import Section

if TYPE_CHECKING:
    from pathlib import Path

    from etl.settings.model import Settings

FORMAT_VERSION = 1


def read_datasets(path: Path, settings: Settings) -> tuple[Dataset, ...]:
    """The datasets of a file, in its order.

    Raises:  ConfigurationError with each fault, its line, its key and its remedy.
    """
    return parse_datasets(path, _text(path), settings)


def parse_datasets(path: Path, text: str, settings: Settings) -> tuple[Dataset, ...]:
    """The datasets of a text that is, or could be, the content of a file.

    Raises:  as read_datasets.
    """
    document = _parsed(path, text)
    report = FaultReport(str(path), toml_lines(text))
    root = Section(document, (), report, ROOT)
    if root.get("version", FORMAT_VERSION) != FORMAT_VERSION:
        root.fault("version", "The version is not supported.", f"Write version = {FORMAT_VERSION}.")
    surroundings = Surroundings(path.parent, _own_buckets(settings))
    found = [
        parse_dataset(name, table, report, surroundings)
        for name, table in root.get("datasets", {}).items()
        if _is_table(root, name, table)
    ]
    if "datasets" in root and not root.get("datasets"):
        root.fault("datasets", "The file declares no dataset.", "Declare one, or remove the file.")
    _check_tables(found, report)
    _check_outputs(found, report)
    report.raise_faults()
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        refuse_file(path, "not UTF-8.", "Save the file as UTF-8.", line=line)
    except OSError as error:
        refuse_file(
            path,
            f"The datasets file cannot be read: {error.strerror}.",
            "Set DATASETS_FILE to a file that this account may read.",
        )


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        refuse_file(path, "The file is nested too deeply.", "Remove some of its brackets.")
    except ValueError as error:
        said = str(error)
        found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
        line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
        column = f" in column {found[2]}" if found and found[2] else ""
        said = said[: found.start()] if found else said
        refuse_file(
            path,
            f"not valid TOML{column}: {said}.",
            "Correct the line, or the one before it.",
            line=line if found else None,
        )


def _own_buckets(settings: Settings) -> dict[str, str]:
    return {
        settings.processed_bucket: "PROCESSED_BUCKET",
        settings.thumbnail_bucket: "THUMBNAIL_BUCKET",
        settings.document_bucket: "DOCUMENT_BUCKET",
    }


def _is_table(root: Section, name: str, table: object) -> bool:
    if isinstance(table, dict):
        return True
    root.fault(
        "datasets", f"{shown(name)} is not a table.", f"Write [datasets.{shown(name)}].", name
    )
    return False


def _check_tables(datasets: list[Dataset], report: FaultReport) -> None:
    """Report tables that two datasets would share, in any letter case."""
    taken: dict[str, str] = {}
    for name in (USERS.table, f"{USERS.table}_retired", f"{USERS.table}_shadowed"):
        taken[name] = USERS.name
    for dataset in datasets:
        tables = (dataset.table, f"{dataset.table}_retired", f"{dataset.table}_shadowed")
        for table in tables if dataset.name.lower() != USERS.name else ():
            owner = taken.setdefault(table.lower(), dataset.name)
            if owner != dataset.name:
                report.add(
                    ("datasets", dataset.name, "table"),
                    f"The table {shown(table)} belongs to the dataset {shown(owner)}.",
                    "Set table to another name.",
                )
                break
    names: dict[str, str] = {}
    for dataset in datasets:
        other = names.setdefault(dataset.name.lower(), dataset.name)
        if other != dataset.name:
            report.add(
                ("datasets", dataset.name),
                f"{shown(dataset.name)} differs from {shown(other)} only in case.",
                "Rename one of them.",
            )


def _check_outputs(datasets: list[Dataset], report: FaultReport) -> None:
    """Report published files that two datasets would write."""
    taken = {"output.csv": USERS.name, "output.parquet": USERS.name}
    for dataset in datasets:
        seen = set()
        for place, output in enumerate(dataset.publish):
            owner = taken.setdefault(output.lower(), dataset.name)
            if owner != dataset.name or output.lower() in seen:
                report.add(
                    ("datasets", dataset.name, "publish", place),
                    f"{shown(output)} is published by the dataset {shown(owner)}.",
                    "Choose another name.",
                )
            seen.add(output.lower())

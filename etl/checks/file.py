"""Check one local file, in this process or in one with limits of memory and time."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from etl.model.values import ObjectKind, ObjectState, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from etl.model.dataset import Dataset
    from etl.read.check import Checked

_PART_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What to check: a file, as an object that a dataset reads or, of kind OTHER, cannot read.

    `today` is the latest valid birthdate, and `added` are the columns that files have added to the
    table. A compressed file may expand to `expanded_bytes`.
    """

    path: str
    key: str
    dataset: Dataset
    kind: ObjectKind
    today: date
    expanded_bytes: int
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """What was found, and the lines of the file that problems name, by number."""

    checked: Checked
    raw_lines: dict[int, str] = field(default_factory=dict)


def check_pickled(message: bytes) -> CheckedFile:
    """Check the file of a `FileCheck` that the parent of this sandbox has pickled.

    Raises:  OSError when it cannot be read.
    """
    task: FileCheck = pickle.loads(message)  # noqa: S301
    checked = check_file(task)
    if task.kind is ObjectKind.OTHER:
        return CheckedFile(checked)
    from etl.read.formats import expanded_parts
    from etl.read.limits import ExpansionLimits
    from etl.read.raw_lines import raw_lines

    path = Path(task.path)
    source = local_source(task.key, path)
    numbers = {one.line for one in checked.problems if one.line is not None}
    limits = ExpansionLimits(task.expanded_bytes)
    expanded = expanded_parts(source, task.dataset, local_parts(path), limits)
    return CheckedFile(checked, raw_lines(source, task.dataset, expanded, numbers))


def check_file(task: FileCheck) -> Checked:
    """Check the file in constant memory.

    Raises:  OSError when it cannot be read.
    """
    from etl.runtime.arrow import import_arrow

    import_arrow()
    from etl.read import file_rules
    from etl.read.check import Checked, check_object
    from etl.read.limits import ExpansionLimits
    from etl.read.rows.layout import AddedColumns

    path = Path(task.path)
    source = local_source(task.key, path)
    if task.kind is ObjectKind.OTHER:
        warning = file_rules.unsupported(task.key, source.etag, task.dataset)
        return Checked(ObjectState.QUARANTINED, problems=[warning])
    return check_object(
        source,
        task.dataset,
        partial(local_parts, path),
        task.today,
        added=AddedColumns(task.added),
        limits=ExpansionLimits(task.expanded_bytes),
    )


def local_source(key: str, path: Path) -> SourceObject:
    """A local file as the object with a key."""
    stat = path.stat()
    modified = datetime.fromtimestamp(stat.st_mtime, UTC)
    return SourceObject(key, "", stat.st_size, modified)


def local_parts(path: Path) -> Iterator[bytes]:
    """The content of a local file in parts."""
    with path.open("rb") as file:
        while part := file.read(_PART_BYTES):
            yield part

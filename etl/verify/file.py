"""One file of a dataset, whatever its format: its content, and what its columns are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from etl.model.dataset import UnknownColumns
from etl.model.values import ProblemCode
from etl.verify import names
from etl.verify.faults import FileError
from etl.verify.globs import path_texts
from etl.verify.layout import folded
from etl.verify.rows import FileColumns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from etl.verify.layout import ObjectColumns


@dataclass(frozen=True)
class DatasetFile:
    """The content of a file, not compressed, and its dataset; `today` is the last birthdate."""

    format: str
    content: bytes
    layout: ObjectColumns
    key: str
    today: date

    @cached_property
    def found(self) -> dict[str, str | None]:
        """The texts of the path columns."""
        template = self.layout.dataset.path_columns
        return {} if template is None else path_texts(template, self.layout.path_names, self.key)

    @cached_property
    def own(self) -> frozenset[str]:
        """The declared columns that are not in the path."""
        return frozenset(self.layout.dataset.field_names).difference(self.found)

    @cached_property
    def filled(self) -> frozenset[str]:
        """The columns of the file that are never null."""
        return self.layout.filled.difference(self.found)

    @cached_property
    def required(self) -> frozenset[str]:
        """The columns that the file must have."""
        return self.filled - {self.layout.dataset.id_from_name}

    def names(self, written: Iterable[str]) -> list[str]:
        """The columns of the file: known ones by their field, nameless ones by their place."""
        return [normalized(name, number, self.layout) for number, name in enumerate(written, 1)]

    def check(self, in_file: Sequence[str]) -> None:
        """Check the columns of a file.

        Raises:  FileError with the first fault.
        """
        dataset = self.layout.dataset
        if max(Counter(in_file).values(), default=0) > 1:
            raise FileError(ProblemCode.DUPLICATE_COLUMN)
        is_of_something_else = bool(self.own) and self.own.isdisjoint(in_file)
        if is_of_something_else or not self.required.issubset(in_file):
            raise FileError(ProblemCode.MISSING_COLUMN)
        id_field = dataset.id_from_name
        if id_field is not None and id_field not in in_file and names.user_id(self.key) == "":
            raise FileError(ProblemCode.MISSING_COLUMN)
        are_all_known = set(self.layout.names).issuperset(in_file)
        if dataset.unknown_columns is UnknownColumns.REFUSE and not are_all_known:
            raise FileError(ProblemCode.UNKNOWN_COLUMN)

    def columns(self, in_file: Sequence[str]) -> FileColumns:
        """What becomes of the cells of these columns."""
        return FileColumns(
            self.layout,
            in_file,
            self.key,
            self.found,
            self.today,
            has_types=self.format == "parquet",
        )


def normalized(written: str, number: int, layout: ObjectColumns) -> str:
    """The column of a known name, else the name as written or, if it is empty, its place."""
    name = written.strip()
    if name == "":
        return f"column_{number}"
    return layout.by_header.get(folded(name), name)

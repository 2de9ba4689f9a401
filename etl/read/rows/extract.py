"""The rows and problems of some objects, as every reader returns them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from etl.model.routing import path_names
from etl.model.values import Problem, ProblemCode, Severity, SourceObject
from etl.read.columns import EXTRA
from etl.read.rows.collect import Collector
from etl.read.rows.layout import Layout
from etl.read.rows.storable import storable
from etl.read.rows.table import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.model.dataset import Dataset
    from etl.model.errors import RefusedObject


@dataclass(frozen=True)
class Extract:
    """The rows and problems of a batch of files of one dataset.

    Shapes:  rows (n, …): _source_key, _source_line (int64, from 1), then texts: the declared
             columns and those of the path; the columns that the files add; _extra (JSON object
             of the nonblank cells of all other columns, or null). Null where a file has no such
             cell. In the order of the files and of their lines. Declared columns of a typed
             format may have its types in place of texts.
             problems: sorted by key, line, column and code; at least the first 1,000 row
             problems of each object. more: by key, how many of each code are left out.
             rows_read: by key, the number of data rows, including rejected ones.
             rows_rejected: by key, the number of rejected rows, if any.
             without_id: keys of files with several rows, which all take their key from the name.
             added: the columns that the files add.
    """

    rows: pa.Table
    problems: list[Problem]
    rows_read: dict[str, int]
    rows_rejected: dict[str, int] = field(default_factory=dict)
    more: dict[str, Counter[ProblemCode]] = field(default_factory=dict)
    without_id: frozenset[str] = frozenset()
    added: tuple[str, ...] = ()


def to_extract(sources: Sequence[SourceObject], layout: Layout, collector: Collector) -> Extract:
    """The collector's rows and problems of these objects."""
    keys = [source.key for source in sources]
    blocks = [storable(block, collector) for block in collector.blocks()]
    rejected = collector.rows_rejected
    return Extract(
        rows=Tables(keys, layout).joined(blocks),
        problems=sort_problems(collector.problems),
        rows_read=dict(zip(keys, collector.rows_read, strict=True)),
        rows_rejected={key: count for key, count in zip(keys, rejected, strict=True) if count},
        more={keys[index]: counted for index, counted in collector.more.items()},
        without_id=frozenset(
            keys[index] for index in collector.without_id if collector.rows_read[index] > 1
        ),
        added=tuple(dict.fromkeys(name for block in blocks for _, name in block.header.added)),
    )


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by key, line (those of the whole object first), column and code."""
    return sorted(problems, key=lambda p: (p.key, p.line or 0, p.column or "", p.code))


def add_empty_file(index: int, collector: Collector) -> None:
    """Add the problem of a file without text."""
    collector.add_object_problem(
        index,
        ProblemCode.EMPTY_FILE,
        "The file is empty. Upload it again, or remove it from the bucket.",
    )


def add_no_rows(index: int, collector: Collector) -> None:
    """Add the warning of a file with a valid header and no rows."""
    collector.add_object_problem(
        index,
        ProblemCode.NO_ROWS,
        "The file has a header but no rows. Add rows, or remove the file from the bucket.",
        severity=Severity.WARNING,
    )


def refused_extract(source: SourceObject, dataset: Dataset, refused: RefusedObject) -> Extract:
    """The Extract of an object whose content cannot be read."""
    collector = Collector([source])
    collector.add_object_problem(0, refused.problem_code, refused.message, refused.value)
    return to_extract([source], Layout(dataset, path_names(dataset)), collector)


def joined(extracts: Sequence[Extract]) -> Extract:
    """The Extracts of consecutive parts of one object, at least one, as one."""
    if len(extracts) == 1:
        return extracts[0]
    rows_read: Counter[str] = Counter()
    rows_rejected: Counter[str] = Counter()
    more: defaultdict[str, Counter[ProblemCode]] = defaultdict(Counter)
    for one in extracts:
        rows_read.update(one.rows_read)
        rows_rejected.update(one.rows_rejected)
        for key, counted in one.more.items():
            more[key].update(counted)
    return Extract(
        rows=_concatenated([one.rows for one in extracts]),
        problems=sort_problems(problem for one in extracts for problem in one.problems),
        rows_read=dict(rows_read),
        rows_rejected=dict(rows_rejected),
        more=dict(more),
        without_id=frozenset().union(*(one.without_id for one in extracts)),
        added=tuple(dict.fromkeys(name for one in extracts for name in one.added)),
    )


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables, with _extra last; a column that a table lacks is null in its rows.

    Tables without rows are left out, because their columns may have other types.
    """
    some = [table for table in tables if len(table)] or tables[:1]
    rows = pa.concat_tables(some, promote_options="default")
    others = [name for name in rows.column_names if name != EXTRA]
    return rows.select([*others, EXTRA])

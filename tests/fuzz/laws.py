"""What must hold for any file, whatever its bytes: rows and problems that add up, or a refusal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.formats import content_size, format_of
from etl.model.values import ObjectState, Problem, ProblemCode, Severity, SourceFile
from etl.read.columns import EXTRA, SOURCE_KEY, SOURCE_LINE
from etl.read.file_rules import is_refusal
from etl.read.formats import expand_file, expanded_parts, read_files, read_object
from etl.read.limits import DEFAULT_LIMITS
from etl.read.pieces import ObjectValidator
from etl.read.rows.extract import refused_extract
from etl.read.rows.layout import AddedColumns
from etl.read.validate import validate
from etl.sync.copy_text import copy_text
from etl.verify.compare import as_met_first
from etl.verify.expected import Expected
from etl.verify.faults import FileError
from etl.verify.layout import ObjectColumns
from etl.verify.reader import read as verify_read
from etl.verify.unpack import unpack
from tests.reader_outcomes import TODAY, source_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.rows.extract import Extract

_MOST_TOGETHER = 4 << 20  # of expanded bytes
_LONGEST_NOTE = 4_000


class LawBroken(AssertionError):
    """A result that must not be."""


@dataclass
class _Found:
    """What was read of one object: the lines of its valid rows, and its problems."""

    rows_read: int = 0
    rejected: int = 0
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    is_loaded: bool = True

    @property
    def faulty_lines(self) -> set[int]:
        return {
            one.line
            for one in self.problems
            if one.line is not None and one.severity is Severity.ERROR
        }


def check_alone(
    dataset: Dataset, key: str, content: bytes, cuts: Sequence[int], *, is_verified: bool
) -> None:
    """Read the file as one that arrives in parts, which end at the cuts."""
    source = source_of(key, content)
    parts = list(_cut(content, cuts))
    try:
        extracts = read_object(
            source, dataset, AddedColumns(), expanded_parts(source, dataset, parts)
        )
        found = _validated(source, dataset, extracts)
    except RefusedObject as refused:
        found = _refused(refused_extract(source, dataset, refused))
    _expect_whole(found)
    if content_size(dataset, source) is not None and found.lines and key.endswith(("csv", "json")):
        most = content.count(b"\n") + content.count(b"\r") + content.count(b",") + 1
        _expect(max(found.lines) <= most, "a line is in the file")
    if is_verified:
        _expect_as_verified(found, dataset, key, content)


def check_together(dataset: Dataset, files: Sequence[tuple[str, bytes]]) -> None:
    """Read small files together, as runs do."""
    sources = {key: source_of(key, content) for key, content in files}
    expanded = []
    for key, content in files:
        file = SourceFile(sources[key], content)
        try:
            text = expand_file(file, dataset, _MOST_TOGETHER, DEFAULT_LIMITS)
        except RefusedObject as refused:
            _expect_whole(_refused(refused_extract(file.source, dataset, refused)))
            _expect_as_unpacked(dataset, file, refused.problem_code)
        else:
            if text is not None:
                expanded.append(text)
                _expect_as_unpacked(dataset, file, text.content)
    by_key: dict[str, _Found] = {}
    for extract in read_files(expanded, dataset, AddedColumns()) if expanded else []:
        etags = {key: sources[key].etag for key in extract.rows_read}
        checked = validate(extract.rows, dataset, etags, TODAY)
        _expect_storable(checked.rows)
        rejected = Counter(extract.rows_rejected) + Counter(checked.rows_rejected)
        for key, count in extract.rows_read.items():
            _expect(key not in by_key, "an object is in one Extract")
            more = extract.more.get(key, Counter()) + checked.more.get(key, Counter())
            by_key[key] = _Found(count, rejected[key], more=more.total())
        keys, lines = (checked.rows[name].to_pylist() for name in (SOURCE_KEY, SOURCE_LINE))
        for key, line in zip(keys, lines, strict=True):
            by_key[key].lines.append(line)
        for one in (*extract.problems, *checked.problems):
            by_key[one.key].problems.append(one)
    _expect({one.source.key for one in expanded} <= by_key.keys(), "no object is left out")
    for found in by_key.values():
        found.is_loaded = not any(map(is_refusal, found.problems))
        _expect_whole(found)


def _refused(extract: Extract) -> _Found:
    """The only problem of an object that is refused as a whole."""
    _expect(not len(extract.rows) and len(extract.problems) == 1, "a refused object has a problem")
    return _Found(problems=extract.problems, is_loaded=False)


def _validated(source: SourceObject, dataset: Dataset, extracts: Iterable[Extract]) -> _Found:
    """As a run reads an object that it streams."""
    validator = ObjectValidator(source, dataset, TODAY)
    found = _Found()
    count = 0
    for extract in extracts:
        count += 1
        some = validator.validate(extract)
        if some.rejects_object:
            found.lines, found.problems = [], []
        _expect_storable(some.rows)
        found.lines += some.rows[SOURCE_LINE].to_pylist()
        found.problems += some.problems
    _expect(count > 0, "there is at least one Extract")
    found.problems += validator.object_problems()
    found.rows_read, found.rejected, _ = validator.figures
    found.more = sum(one.code is ProblemCode.MORE_PROBLEMS for one in found.problems)
    found.is_loaded = validator.state is ObjectState.LOADED
    if not found.is_loaded:
        found.lines = []
    return found


def _expect_whole(found: _Found) -> None:
    """Each row that was read is valid, or has a problem; there are no others."""
    for one in found.problems:
        _expect_problem(one)
    if not found.is_loaded:
        _expect(any(map(is_refusal, found.problems)), "a refused object has a problem")
        _expect(not found.lines, "a refused object has no rows")
        return
    good, faulty = set(found.lines), found.faulty_lines
    _expect(found.rows_read == len(found.lines) + found.rejected, "rows add up")
    _expect(len(good) == len(found.lines), "no line is two rows")
    _expect(good.isdisjoint(faulty), "no valid row has an error")
    _expect(min([1, *good, *faulty]) >= 1, "lines count from 1")
    if not found.more:
        _expect(len(faulty) == found.rejected, "each rejected row has a problem")


def _expect_problem(one: Problem) -> None:
    """The problem can be stored and shown."""
    for text in (one.note, one.column, one.value):
        if text is not None:
            _expect(text.isprintable(), f"{one.code} is printable")
            _expect(len(text) <= _LONGEST_NOTE, f"{one.code} is short")
            text.encode()
    _expect(bool(one.note), f"{one.code} has a hint")


def _expect_storable(rows: pa.Table) -> None:
    """The rows can be sent to PostgreSQL."""
    for column in rows.columns:
        column.validate(full=True)
    text = copy_text(rows)
    _expect(b"\0" not in text, "no NUL is sent")
    text.decode()
    for extra in rows[EXTRA].drop_null().to_pylist():
        _expect(extra.startswith("{"), "_extra is an object")


def _expect_as_verified(found: _Found, dataset: Dataset, key: str, content: bytes) -> None:
    """The second reader finds the same rows and problems."""
    reading = verify_read(content, ObjectColumns(dataset), key, TODAY)
    expected = Expected(object_problems=Counter(("b", key, code) for code in reading.faults))
    is_loaded = not expected.quarantined()
    if key.endswith(".xlsx"):
        return  # what damaged XML means depends on the library; verify uses another one
    problems: Counter[tuple[int | None, str]] = Counter(reading.rejected)
    of_object = Counter(("b", key, str(one.code)) for one in found.problems if one.line is None)
    faults = Counter({("b", key, str(code)): count for code, count in reading.faults.items()})
    met = as_met_first(faults, of_object)
    problems.update({(None, code): count for (_, _, code), count in met.items()})
    of_verify = {
        "loaded": is_loaded,
        "read": len(reading.rows) + reading.rows_rejected,
        "rejected": reading.rows_rejected,
        "lines": sorted(row.line for row in reading.rows) if is_loaded else [],
        "problems": dict(problems),
    }
    of_run = {
        "loaded": found.is_loaded,
        "read": found.rows_read,
        "rejected": found.rejected,
        "lines": sorted(found.lines),
        "problems": dict(Counter((one.line, str(one.code)) for one in found.problems)),
    }
    is_damaged = any(one.code == ProblemCode.CORRUPT_ARCHIVE for one in found.problems)
    if key.endswith(".parquet") and (is_damaged or not (found.is_loaded or is_loaded)):
        return  # a footer that contradicts itself is refused; of two faults, the first is reported
    different = {
        name: (of_run[name], of_verify[name]) for name in of_run if of_run[name] != of_verify[name]
    }
    _expect(not different, f"verify finds the same; run and verify: {different}")


def _expect_as_unpacked(dataset: Dataset, file: SourceFile, found: bytes | ProblemCode) -> None:
    """The second reader expands a compressed file to the same content, or refuses it likewise."""
    format_ = format_of(dataset, file.source.key)
    if format_ is None or format_.compression is None:
        return
    expected: bytes | ProblemCode
    try:
        expected = unpack(file.content, format_.compression.value)
    except FileError as error:
        expected = error.code
    _expect(found == expected, f"verify expands to the same: {found!r} {expected!r}")


def _expect(holds: bool, law: str) -> None:  # noqa: FBT001 - as in assert
    if not holds:
        raise LawBroken(law)


def _cut(content: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    places = sorted({0, *(one for one in cuts if one < len(content)), len(content)})
    for start, end in pairwise(places):
        yield content[start:end]

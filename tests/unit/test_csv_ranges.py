"""Large CSVs give the same rows and problems in parts as in one piece, wherever they are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import USERS
from etl.model.values import Change, ChangeKind, Problem, SourceObject
from etl.read.csv import ranges, records
from etl.read.formats import read_object
from etl.read.pieces import ObjectPart, ObjectValidator
from etl.read.rows.extract import sort_problems
from etl.read.rows.notices import Notices
from etl.sync import parts
from etl.sync.reading import BucketReading, StagedObject, entry

TODAY = date(2026, 1, 1)
READING = BucketReading.of([USERS], "users", TODAY)
HEADERS = [
    "user_id,first_name,last_name,birthts\n",
    "\ufeffuser_id;first_name;last_name;birthts\r\n",
]
ROWS = [
    "a,b,c,1\n",
    "a,b,c,1\n",
    "a;b;c;1\r\n",
    'a,"b",c,1\n',
    'a,"b\nb",c,1\n',
    'a;"b\r\n\r\n;""b";c;1\r\n',
    '"a,b\n',
    'b",c,1\n',
    ",,,\n",
    "\n",
    "\r",
    "a,b,c,x\n",
    "a,b\n",
    "a,b,c,1,d\n",
    "a,é,\u2028,-5\n",
    "user_id,first_name,last_name,birthts\n",
    '"\n',
    ',"\n',
    "\0\n",
]
ODD = [b"", b"a,Ren\xe9,c,1\n", b"a,\xed\xa0\xbd,b,1\n", b'"\x81\n"', b"\xef\xbb\xbf\n"]


class Read(NamedTuple):
    """All that the tables have of an object."""

    rows: pa.Table
    problems: list[Problem]
    staged: StagedObject


def source_of(content: bytes) -> SourceObject:
    return SourceObject("a/1.csv", "etag", len(content), datetime(2026, 1, 1, tzinfo=UTC))


def in_one_piece(content: bytes) -> Read:
    source, problems, tables = source_of(content), [], []
    validator = ObjectValidator(source, USERS, TODAY)
    for extract in read_object(source, USERS, None, [content]):
        found = validator.validate(extract)
        tables.append(found.rows)
        problems += found.problems
    problems += validator.object_problems()
    staged = entry(ChangeKind.ADDED, source, READING, validator.state, validator.figures)
    return Read(joined(tables), sort_problems(problems), staged)


def parts_of(content: bytes, range_bytes: int) -> tuple[bytes, list[ranges.LineRange]]:
    """The head and the parts of a file; none if it cannot be cut."""
    head = ranges.read_head(source_of(content), USERS, content)
    if head is None:
        return b"", []
    surveyed = [
        ranges.survey(
            content[max(start - 1, 0) : start + range_bytes], head.header, is_first=not start
        )
        for start in range(0, len(content), range_bytes)
    ]
    return head.content, ranges.parts_of(len(content), range_bytes, surveyed)


def in_parts(content: bytes, head: bytes, of: Sequence[ranges.LineRange]) -> Read | None:
    source, tables, found = source_of(content), [], []
    for part in of:
        validator, notices, problems = ObjectValidator(source, USERS, TODAY), Notices(), []
        contents = [content[part.start : part.end]]
        for extract in ranges.read_lines(source, USERS, head, part, contents, notices):
            checked = validator.validate(extract)
            tables.append(checked.rows)
            problems += checked.problems
        found.append(through_json(validator.part(problems, notices)))
    batch = parts.joined(found, Change(ChangeKind.ADDED, source), READING)
    if batch is None:
        return None
    return Read(joined(tables), sort_problems(batch.problems), batch.objects[0])


def through_json(part: ObjectPart) -> ObjectPart:
    return parts.from_json(json.loads(json.dumps(parts.as_json(part))))


def joined(tables: list[pa.Table]) -> pa.Table:
    some = [one for one in tables if len(one)] or tables[:1]
    return pa.concat_tables(some, promote_options="default").combine_chunks()


def assert_same_in_parts(content: bytes, range_bytes: int) -> int:
    """The number of parts."""
    head, found = parts_of(content, range_bytes)
    if not found:
        return 0
    assert [part.start for part in found[1:]] == [part.end for part in found[:-1]]
    assert (found[0].start, found[-1].end) == (0, len(content))
    read = in_parts(content, head, found)
    whole = in_one_piece(content)
    if read is None:
        assert not whole.staged.rows_read
    else:
        assert read.rows.equals(whole.rows)
        assert read.problems == whole.problems
        assert read.staged == whole.staged
    return len(found)


@pytest.fixture(scope="module", autouse=True)
def short_records() -> Iterator[None]:
    """Records of several lines are short, so that small files can be cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_LINES", 4)
        patch.setattr(records, "MAX_CHARACTERS", 30)
        yield


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    rows = st.lists(st.sampled_from(ROWS), max_size=40).map("".join)
    text = draw(st.sampled_from(["", "\n", " \r\n"])) + draw(st.sampled_from(HEADERS)) + draw(rows)
    return (
        text.encode()
        + draw(st.sampled_from(ODD))
        + draw(rows).encode()
        + draw(st.sampled_from(ODD))
    )


@given(contents(), st.integers(20, 150))
@example(
    b'user_id,first_name,last_name,birthts\na,b,c,1\n"\n"\n"\na,b,c,1\n' + b"a,b,c,1\n" * 9, 40
)
def test_parts_have_the_rows_and_problems_of_the_whole(content: bytes, range_bytes: int):
    assert_same_in_parts(content, range_bytes)


@given(st.binary(max_size=300), st.integers(1, 60))
def test_any_bytes_in_parts_are_read_like_the_whole(content: bytes, range_bytes: int):
    assert_same_in_parts(HEADERS[0].encode() + content, range_bytes)


@pytest.mark.parametrize(
    "row", ["a,b,c,1\n", "a,b,c,1\r\n", '"a","b","c","1"\n', 'a,"b\n\nb",c,1\n']
)
def test_file_of_many_ranges_has_nearly_as_many_parts(row: str):
    content = (HEADERS[0] + row * 500).encode()
    ranges_of_file = -(-len(content) // 200)
    assert assert_same_in_parts(content, 200) >= ranges_of_file - 1


def test_only_the_first_problems_of_all_parts_are_listed():
    content = (HEADERS[0] + "a,b,c,x\n" * 3_000).encode()
    assert assert_same_in_parts(content, 4_000) > 3


def test_file_is_not_cut_where_its_quotes_leave_open_where_records_begin():
    content = (HEADERS[0] + 'a,b,c,"\n' * 200).encode()
    assert assert_same_in_parts(content, 100) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"first_name,last_name,birthts\n" + b"a,b,1\n" * 50,  # all of them of one user
        "user_id,first_name,last_name,birthts\na,b,c,1\n".encode("utf-16"),
        b"user_id,first_name,last_name,birthts\r" + b"a,b,c,1\r" * 50,
        b"user_id,first_name\n" + b"a,b\n" * 50,
        b"\n" * 50,
        b"",
    ],
)
def test_other_files_are_read_as_a_whole(content: bytes):
    assert parts_of(content, 20) == (b"", [])

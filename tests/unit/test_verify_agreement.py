"""Both readers get the same result from any bytes.

They share no code, so an error in one of them appears as a difference here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model import keys
from etl.model.dataset import USERS
from etl.model.values import ObjectKind
from etl.sync import batch
from etl.verify import names
from etl.verify.routes import Routes
from tests.csv_corpus import BIRTHS, CESU, CORPUS, HEADER, MARK
from tests.reader_outcomes import (
    Outcome,
    huge_run_outcome,
    run_outcomes,
    source_of,
    verify_outcomes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _huge_from_the_first_byte() -> Iterator[None]:
    """Treat objects of any size as huge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "MAX_BYTES", -1)
        yield


def assert_agreed(key: str, content: bytes, found: Outcome) -> None:
    expected = verify_outcomes(key, content)
    assert found.problems == expected.problems
    assert found == expected


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("key", ["7.csv", ".csv"])
def test_readers_agree_on_awkward_files(name: str, key: str):
    assert_agreed(key, CORPUS[name], run_outcomes([(key, CORPUS[name])])[key])


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("pieces", [1, 150])
def test_readers_agree_on_awkward_files_in_pieces(name: str, pieces: int):
    content = CORPUS[name]
    cuts = range(0, len(content), len(content) // pieces + 1)
    assert_agreed("7.csv", content, huge_run_outcome("7.csv", content, cuts))


def test_readers_agree_on_all_awkward_files_at_once():
    files = [(f"{number}.csv", content) for number, content in enumerate(CORPUS.values())]
    found = run_outcomes(files)
    for key, content in files:
        assert_agreed(key, content, found[key])


def seldom(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """Mostly one value, and sometimes one of the others."""
    return st.sampled_from([usual] * (8 * len(others)) + list(others))


GOOD_HEADERS = [
    "user_id,first_name,last_name,birthts",
    "first_name, last_name, birthts",
    "birthts;first_name;last_name;user_id",
    'user_id;first_name;last_name;birthts;"Street, City, Zip, Land"',
    "first_name|last_name|birthts|town||town2",
    "USER_ID\tFirst_Name\tlast_name\tbirthts\tcaf\u00e9",
    "user_id,first_name,last_name,birthts,a;b;c;d;e",
]
headers = st.one_of(
    *[st.sampled_from(GOOD_HEADERS)] * 6,
    st.sampled_from(["first_name,last_name", 'user_id,first_name,last_name,"birthts', "a,a", ""]),
)
good_cells = st.sampled_from(["A", "7", "8", " A ", "\u00e9", "\U0001f600", '"A"', '"x""y"', 'O"B'])
good_births = st.sampled_from(["0", "0.0", "1970-01-01", "612302400", "612302400000", "1980-05-03"])
cells = st.sampled_from(
    [
        "",
        " ",
        "\u20ac",
        "A\ufeff",
        "\xa0",
        '"a,b;c"',
        '"',
        '""',
        ' "q" ',
        '"q"x',
        "\0",
        '"a',
        *BIRTHS,
    ]
)


@st.composite
def lines(draw: st.DrawFn, header: str) -> str:
    """A valid or nearly valid row, a repeated header, or almost any text."""
    delimiter = max(",;\t|", key=header.partition('"')[0].count)
    if draw(seldom("row", "other")) == "other":
        return draw(st.sampled_from([header, header.upper(), f"{header},", f" {header} "]))
    if draw(seldom("row", "other")) == "other":
        return delimiter.join(draw(st.lists(cells | good_cells, max_size=8)))
    names = [name.strip().casefold() for name in header.split(delimiter)]
    row = [draw(good_births if name == "birthts" else good_cells) for name in names]
    if draw(st.booleans()):
        place = draw(st.integers(0, len(row) - 1))
        row[place] = draw(st.sampled_from(BIRTHS) if names[place] == "birthts" else cells)
    return delimiter.join(row[: len(row) - draw(seldom(0, 1, 2))])


@st.composite
def raw_lines(draw: st.DrawFn, text: str) -> bytes:
    """A line in its own encoding, sometimes with an odd byte, a mark or another line ending."""
    encoding = draw(seldom("utf-8", "cp1252", "cp1252"))
    odd = draw(seldom(b"", b"\x81", CESU, b"\xe9", b"\xc3", MARK, b"\n"))
    place = draw(st.integers(0, len(text))) if odd else 0
    parts = (part.encode(encoding, "ignore") for part in (text[:place], text[place:]))
    end = draw(seldom(b"\n", b"\r\n", b"\r", b"\n\n", b"\n\r", b""))
    return draw(seldom(b"", MARK, MARK * 2)) + odd.join(parts) + end


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file with mixed lines, or a text in one encoding."""
    header = draw(headers)
    texts = [header, *draw(st.lists(lines(header), max_size=8))]
    whole = draw(seldom(None, "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"))
    if whole is not None:
        return draw(st.sampled_from(["\n", "\r\n", "\r"])).join(texts).encode(whole, "ignore")
    return b"".join(draw(raw_lines(text)) for text in texts)


@given(files())
def test_parser_and_verifier_agree_on_any_file(content: bytes):
    assert_agreed("7.csv", content, run_outcomes([("7.csv", content)])["7.csv"])


@given(files(), st.lists(st.integers(1, 400), max_size=12))
def test_readers_agree_however_a_file_is_cut(content: bytes, cuts: list[int]):
    inside = [cut for cut in cuts if cut < len(content)]
    assert_agreed("7.csv", content, huge_run_outcome("7.csv", content, inside))


@given(st.lists(files(), min_size=2, max_size=4))
def test_readers_agree_on_files_read_together(contents: list[bytes]):
    named = [(f"{number}.csv", content) for number, content in enumerate(contents)]
    found = run_outcomes(named)
    for key, content in named:
        assert_agreed(key, content, found[key])


@given(files(), st.data())
def test_readers_agree_on_damaged_files(content: bytes, data: st.DataObject):
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 3)))
    damaged = content[:start] + data.draw(st.binary(max_size=3)) + content[end:]
    assert_agreed("7.csv", damaged, run_outcomes([("7.csv", damaged)])["7.csv"])


@given(st.binary(max_size=120))
def test_readers_agree_on_any_bytes_under_a_header(body: bytes):
    content = HEADER + b"\n" + body
    assert_agreed("7.csv", content, run_outcomes([("7.csv", content)])["7.csv"])


folders = st.sampled_from(
    [
        *("a", "__MACOSX", "__macosx", ".AppleDouble", ".appledouble", ".ipynb_checkpoints"),
        *("$RECYCLE.BIN", "$Recycle.Bin", ".bucketline", "~$a", "._a", "a.csv", "Thumbs.db", ""),
    ]
)
stems = st.sampled_from(
    ["7", "~$7", "._7", ".DS_Store", "Thumbs", "DESKTOP", "$RECYCLE", "Zoe\u0308"]
)
extensions = st.sampled_from(["", ".csv", ".CSV", ".PNG", ".jpeg", ".ini", ".db", ".BIN", ".", "/"])


@given(st.lists(folders, max_size=3), stems, extensions, st.integers(0, 1))
def test_readers_agree_on_keys(path: list[str], stem: str, extension: str, size: int):
    source = replace(source_of("/".join([*path, stem + extension]), b""), size=size)
    route = Routes([USERS], "b", "b").of(source.key)
    assert route is not None
    is_marker = size == 0 and route.kind is ObjectKind.OTHER
    assert (names.is_junk(source.key) or is_marker) == keys.is_ignored(source)
    assert route.kind == keys.kind_of(source.key)
    assert names.user_id(source.key) == keys.user_id_of(source.key)
    if route.kind is ObjectKind.IMAGE:
        assert route.attachment_id == keys.image_id_of(source.key)

"""The oracle's idea of what a bucket ought to give."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model import SourceObject
from etl.verify import Expected, ExpectedUser, expect, names
from etl.verify.expected import refuse

TODAY = date(2024, 2, 29)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def listed(key: str, age_minutes: int = 0, size: int = 10) -> SourceObject:
    return SourceObject(key, f"etag-{key}", size, EPOCH - timedelta(minutes=age_minutes))


def person(key: str, *rows: str, age_minutes: int = 0) -> tuple[SourceObject, bytes]:
    body = "\n".join(["first_name,last_name,birthts,user_id", *rows])
    return listed(key, age_minutes), body.encode()


def test_a_user_is_who_the_file_says():
    content = b"first_name, last_name, birthts\nAda, Lovelace, 7"
    found = expect([(listed("a/1000.csv"), content)], [listed("img/1000.PNG")], "src-data", TODAY)
    assert found == Expected(
        {"1000": ExpectedUser("Ada", "Lovelace", 7, "src-data/img/1000.PNG", None, "a/1000.csv", 2)}
    )


def test_the_newest_object_wins():
    found = expect(
        [person("a.csv", "Old,B,0,7", age_minutes=1), person("b.csv", "New,B,0,7")], [], "b", TODAY
    )
    assert found.users["7"].first_name == "New"
    assert found.shadowed == {("a.csv", 2, "7")}


def test_the_smallest_key_in_bytes_wins_among_equally_old():
    found = expect([person("é.csv", "E,B,0,7"), person("z.csv", "Z,B,0,7")], [], "b", TODAY)
    assert found.users["7"].source_key == "z.csv"


def test_the_last_line_wins_within_an_object():
    found = expect([person("a.csv", "A,B,0,7", "C,B,0,7", "D,B,0,7")], [], "b", TODAY)
    assert found.users["7"].source_line == 4
    assert found.shadowed == {("a.csv", 2, "7"), ("a.csv", 3, "7")}


def test_a_refused_row_neither_wins_nor_is_shadowed():
    found = expect([person("a.csv", "A,B,0,7", "C,B,x,7")], [], "b", TODAY)
    assert found.users["7"].source_line == 2
    assert found.shadowed == set()
    assert found.rejected == {("a.csv", 3, "not-an-integer")}


def test_the_newest_image_is_joined_then_the_smallest_key():
    csv = [person("a.csv", "A,B,0,7")]
    images = [listed("z/7.png"), listed("a/7.jpg", age_minutes=1)]
    assert expect(csv, images, "b", TODAY).users["7"].img_path == "b/z/7.png"
    images.append(listed("m/7.GIF"))
    assert expect(csv, images, "b", TODAY).users["7"].img_path == "b/m/7.GIF"


def test_an_image_of_nobody_gives_nothing():
    assert expect([], [listed("7.png")], "b", TODAY) == Expected()


def test_an_unsupported_type_is_a_problem_of_its_object():
    found = expect([], [listed("a/notes.txt"), listed("empty", size=0)], "b", TODAY)
    assert found == Expected(object_problems={("a/notes.txt", "unsupported-type")})


def test_a_faulty_file_gives_only_its_problem():
    found = expect([(listed("7.csv"), b"")], [listed("7.png")], "b", TODAY)
    assert found == Expected(object_problems={("7.csv", "empty-file")})


def test_an_object_the_store_refuses_is_a_problem_too():
    found = refuse(expect([person("7.csv", "A,B,0,7")], [], "b", TODAY), ["8.csv"])
    assert set(found.users) == {"7"}
    assert found.object_problems == {("8.csv", "access-refused")}


@pytest.mark.parametrize(
    "key",
    [
        "__MACOSX/a/7.csv",
        "a/__MACOSX/7.csv",
        "a/._7.csv",
        ".DS_Store",
        "a/thumbs.DB",
        "Desktop.ini",
        "folder/",
    ],
)
def test_litter_is_ignored(key: str):
    assert names.is_ignored(listed(key))
    assert expect([person(key, "A,B,0,7")], [listed(key)], "b", TODAY) == Expected()


@pytest.mark.parametrize("key", ["__MACOSX2/7.csv", "a._b.csv", "_.csv", "x.DS_Store"])
def test_what_only_looks_like_litter_is_not_ignored(key: str):
    assert not names.is_ignored(listed(key))


@pytest.mark.parametrize(
    ("key", "kind", "user_id"),
    [
        ("a.b/1000.csv", "csv", "1000"),
        ("0001.CSV", "csv", "0001"),
        (".csv", "csv", ""),
        ("a.b.jpeg", "image", "a.b"),
        ("x/7.WebP", "image", "7"),
        ("x/7.csv.gz", "other", "7.csv"),
        ("x.csv/README", "other", "README"),
    ],
)
def test_a_key_tells_kind_and_user(key: str, kind: str, user_id: str):
    assert names.kind(key) == kind
    assert names.user_id(key) == user_id


@given(st.data())
def test_the_order_of_reading_changes_nothing(data: st.DataObject):
    row = st.sampled_from(["A,B,0,7", "C,D,0,7", "E,F,0,8", "G,H,x,8"])
    files = [
        person(f"{name}.csv", *data.draw(st.lists(row, max_size=3)), age_minutes=age)
        for name, age in zip("abcé", data.draw(st.tuples(*[st.integers(0, 1)] * 4)), strict=True)
    ]
    images = [listed(f"{folder}/7.png", data.draw(st.integers(0, 1))) for folder in "xyé"]
    forwards = expect(files, images, "b", TODAY)
    shuffled = expect(
        data.draw(st.permutations(files)), data.draw(st.permutations(images)), "b", TODAY
    )
    assert shuffled == forwards

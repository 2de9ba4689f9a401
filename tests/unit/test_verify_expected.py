"""The result that the verifier expects of a bucket."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.values import SourceObject
from etl.verify import Expected, ExpectedUser, expect, names
from etl.verify.expected import add_refused

TODAY = date(2024, 2, 29)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def listed(key: str, age_minutes: int = 0, size: int = 10) -> SourceObject:
    return SourceObject(key, f"etag-{key}", size, EPOCH - timedelta(minutes=age_minutes))


def person(key: str, *rows: str, age_minutes: int = 0) -> tuple[SourceObject, bytes]:
    body = "\n".join(["first_name,last_name,birthts,user_id", *rows])
    return listed(key, age_minutes), body.encode()


def test_user_has_the_values_of_the_file():
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
    assert found.rejected == {("a.csv", 3, "not-an-integer"): 1}
    assert found.rows_rejected == {"a.csv": 1}


def test_the_newest_image_is_joined_then_the_smallest_key():
    csv = [person("a.csv", "A,B,0,7")]
    images = [listed("z/7.png"), listed("a/7.jpg", age_minutes=1)]
    assert expect(csv, images, "b", TODAY).users["7"].img_path == "b/z/7.png"
    images.append(listed("m/7.GIF"))
    assert expect(csv, images, "b", TODAY).users["7"].img_path == "b/m/7.GIF"


COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize("user", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("image", [COMPOSED, DECOMPOSED])
def test_equivalent_names_match_and_stay_as_written(user: str, image: str):
    found = expect([person("a.csv", f"A,B,0,{user}")], [listed(f"{image}.png")], "b", TODAY)
    assert {name: person.img_path for name, person in found.users.items()} == {
        user: f"b/{image}.png"
    }


def test_newest_image_belongs_to_all_equivalent_ids():
    rows = [f"A,B,0,{COMPOSED}", f"C,D,0,{DECOMPOSED}"]
    images = [listed(f"{COMPOSED}.png", age_minutes=1), listed(f"{DECOMPOSED}.png")]
    found = expect([person("a.csv", *rows)], images, "b", TODAY)
    assert [user.img_path for user in found.users.values()] == [f"b/{DECOMPOSED}.png"] * 2


def test_similar_names_are_not_joined():
    rows = ["A,B,0,\ufb01", "A,B,0,a", "A,B,0,\u212a"]
    images = [listed("fi.png"), listed("A.png"), listed("K.png")]
    found = expect([person("a.csv", *rows)], images, "b", TODAY)
    assert [user.img_path for user in found.users.values()] == [None] * 3


def test_rows_without_id_leave_nothing_of_the_object():
    content = b"first_name,last_name,birthts\nA,B,0\nC,D,0\nE,F,x\n"
    found = expect([(listed("7.csv"), content)], [], "b", TODAY)
    assert found == Expected(
        object_problems={("7.csv", "rows-without-id")}, rows_rejected={"7.csv": 3}
    )
    assert found.quarantined() == {"7.csv"}


def test_remarks_on_an_object_do_not_quarantine_it():
    rows = ["first_name,last_name,birthts,user_id,town", "A,B,612302400,7"] * 2 + [
        "Zo\u00eb"
    ] * 1_001
    content = "\n".join(rows).encode("cp1252")
    found = expect([(listed("7.csv"), content)], [], "b", TODAY)
    assert {code for _, code in found.object_problems} == {
        "epoch-seconds",
        "guessed-encoding",
        "missing-trailing-cells",
        "more-problems",
        "repeated-header",
    }
    assert found.quarantined() == set()
    assert (found.rejected.total(), found.rows_rejected) == (1_000, {"7.csv": 1_001})


def test_image_without_a_user_is_ignored():
    assert expect([], [listed("7.png")], "b", TODAY) == Expected()


def test_an_unsupported_type_is_a_problem_of_its_object():
    found = expect([], [listed("a/notes.txt"), listed("empty", size=0)], "b", TODAY)
    assert found == Expected(object_problems={("a/notes.txt", "unsupported-type")})


def test_faulty_file_yields_only_its_problem():
    found = expect([(listed("7.csv"), b"")], [listed("7.png")], "b", TODAY)
    assert found == Expected(object_problems={("7.csv", "empty-file")})


def test_an_object_the_store_refuses_is_a_problem_too():
    found = add_refused(expect([person("7.csv", "A,B,0,7")], [], "b", TODAY), ["8.csv"])
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
        "a/~$7.csv",
        "a/.AppleDouble/7.csv",
        ".ipynb_checkpoints/7.csv",
        "$RECYCLE.BIN/S-1-5/7.csv",
        "$Recycle.Bin/7.csv",
        ".bucketline/7.csv",
    ],
)
def test_system_files_are_ignored(key: str):
    assert names.is_ignored(listed(key))
    assert expect([person(key, "A,B,0,7")], [listed(key)], "b", TODAY) == Expected()


@pytest.mark.parametrize(
    "key",
    [
        "__MACOSX2/7.csv",
        "a._b.csv",
        "_.csv",
        "x.DS_Store",
        "a~$7.csv",
        "~7.csv",
        ".AppleDouble.csv",
        "x.ipynb_checkpoints/7.csv",
        "$RECYCLE.BIN.csv",
        ".bucketline",
        ".bucketline.csv",
    ],
)
def test_keys_similar_to_os_metadata_are_not_ignored(key: str):
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
def test_key_gives_kind_and_user(key: str, kind: str, user_id: str):
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

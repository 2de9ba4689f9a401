"""The result that the verifier expects of a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import USERS
from etl.model.values import ObjectKind, ProblemCode, SourceObject
from etl.verify import names
from etl.verify.expected import Expectation, Listed, ObjectPlace, StoredRow
from etl.verify.layout import ObjectColumns
from etl.verify.routes import Routes

TODAY = date(2024, 2, 29)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Found:
    """What is expected of a bucket of users, in the forms that the tests assert."""

    users: dict[str, dict[str, object]] = field(default_factory=dict)
    shadowed: set[tuple[str, int, str]] = field(default_factory=set)
    rejected: dict[tuple[str, int, str], int] = field(default_factory=dict)
    rows_rejected: dict[str, int] = field(default_factory=dict)
    object_problems: set[tuple[str, str]] = field(default_factory=set)
    quarantined: set[str] = field(default_factory=set)


def listed(key: str, age_minutes: int = 0, size: int = 10) -> SourceObject:
    return SourceObject(key, f"etag-{key}", size, EPOCH - timedelta(minutes=age_minutes))


def person(key: str, *rows: str, age_minutes: int = 0) -> tuple[SourceObject, bytes]:
    body = "\n".join(["first_name,last_name,birthts,user_id", *rows])
    return listed(key, age_minutes), body.encode()


def routed(source: SourceObject, bucket: str) -> Listed | None:
    route = Routes([USERS], bucket, bucket).of(source.key)
    return None if route is None else Listed(ObjectPlace(bucket, source.key), source, route)


def expect(
    files: Sequence[tuple[SourceObject, bytes]],
    images: Sequence[SourceObject],
    bucket: str = "b",
    refused: Sequence[str] = (),
) -> Found:
    layout = ObjectColumns(USERS)
    expectation = Expectation([layout], TODAY)
    for source, content in files:
        one = routed(source, bucket)
        assert one is not None
        assert one.route.kind is ObjectKind.DATA
        expectation.add_file(one, content)
    for source in images:
        one = routed(source, bucket)
        assert one is not None
        expectation.add_unopened(one)
    for key in refused:
        expectation.add_problem(ObjectPlace(bucket, key), ProblemCode.ACCESS_REFUSED)
    expected = expectation.finish()
    rows = expected.datasets["users"]
    return Found(
        {str(user_id): named(layout.columns, row) for (user_id,), row in rows.rows.items()},
        {(key, line, str(row.values[0])) for (key, line), row in rows.shadowed.items()},
        {item[1:]: count for item, count in expected.rejected.items()},
        {place.key: count for place, count in expected.rows_rejected.items() if count},
        {(key, code) for _, key, code in expected.object_problems},
        {place.key for place in expected.quarantined()},
    )


def named(columns: tuple[str, ...], row: StoredRow) -> dict[str, object]:
    lineage = {"extra": row.extra, "source_key": row.source_key, "source_line": row.source_line}
    return dict(zip(columns, row.values, strict=True)) | lineage


def test_user_has_the_values_of_the_file():
    content = b"first_name, last_name, birthts\nAda, Lovelace, 7"
    found = expect([(listed("a/1000.csv"), content)], [listed("img/1000.PNG")], "src-data")
    assert found == Found(
        {
            "1000": {
                "user_id": "1000",
                "first_name": "Ada",
                "last_name": "Lovelace",
                "birthts": 7,
                "birthdate": date(1970, 1, 1),
                "img_path": "src-data/img/1000.PNG",
                "extra": None,
                "source_key": "a/1000.csv",
                "source_line": 2,
            }
        }
    )


def test_the_newest_object_wins():
    found = expect([person("a.csv", "Old,B,0,7", age_minutes=1), person("b.csv", "New,B,0,7")], [])
    assert found.users["7"]["first_name"] == "New"
    assert found.shadowed == {("a.csv", 2, "7")}


def test_the_smallest_key_in_bytes_wins_among_equally_old():
    found = expect([person("é.csv", "E,B,0,7"), person("z.csv", "Z,B,0,7")], [])
    assert found.users["7"]["source_key"] == "z.csv"


def test_the_last_line_wins_within_an_object():
    found = expect([person("a.csv", "A,B,0,7", "C,B,0,7", "D,B,0,7")], [])
    assert found.users["7"]["source_line"] == 4
    assert found.shadowed == {("a.csv", 2, "7"), ("a.csv", 3, "7")}


def test_a_refused_row_neither_wins_nor_is_shadowed():
    found = expect([person("a.csv", "A,B,0,7", "C,B,x,7")], [])
    assert found.users["7"]["source_line"] == 2
    assert found.shadowed == set()
    assert found.rejected == {("a.csv", 3, "not-an-integer"): 1}
    assert found.rows_rejected == {"a.csv": 1}


def test_the_newest_image_is_joined_then_the_smallest_key():
    csv = [person("a.csv", "A,B,0,7")]
    images = [listed("z/7.png"), listed("a/7.jpg", age_minutes=1)]
    assert expect(csv, images).users["7"]["img_path"] == "b/z/7.png"
    images.append(listed("m/7.GIF"))
    assert expect(csv, images).users["7"]["img_path"] == "b/m/7.GIF"


COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize("user", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("image", [COMPOSED, DECOMPOSED])
def test_equivalent_names_match_and_stay_as_written(user: str, image: str):
    found = expect([person("a.csv", f"A,B,0,{user}")], [listed(f"{image}.png")])
    assert {name: user["img_path"] for name, user in found.users.items()} == {
        user: f"b/{image}.png"
    }


def test_newest_image_belongs_to_all_equivalent_ids():
    rows = [f"A,B,0,{COMPOSED}", f"C,D,0,{DECOMPOSED}"]
    images = [listed(f"{COMPOSED}.png", age_minutes=1), listed(f"{DECOMPOSED}.png")]
    found = expect([person("a.csv", *rows)], images)
    assert [user["img_path"] for user in found.users.values()] == [f"b/{DECOMPOSED}.png"] * 2


def test_similar_names_are_not_joined():
    rows = ["A,B,0,\ufb01", "A,B,0,a", "A,B,0,\u212a"]
    images = [listed("fi.png"), listed("A.png"), listed("K.png")]
    found = expect([person("a.csv", *rows)], images)
    assert [user["img_path"] for user in found.users.values()] == [None] * 3


def test_rows_without_id_leave_nothing_of_the_object():
    content = b"first_name,last_name,birthts\nA,B,0\nC,D,0\nE,F,x\n"
    found = expect([(listed("7.csv"), content)], [])
    assert found == Found(
        object_problems={("7.csv", "rows-without-id")},
        rows_rejected={"7.csv": 3},
        quarantined={"7.csv"},
    )


def test_remarks_on_an_object_do_not_quarantine_it():
    rows = ["first_name,last_name,birthts,user_id,town", "A,B,612302400,7"] * 2 + [
        "Zo\u00eb"
    ] * 1_001
    content = "\n".join(rows).encode("cp1252")
    found = expect([(listed("7.csv"), content)], [])
    assert {code for _, code in found.object_problems} == {
        "epoch-seconds",
        "guessed-encoding",
        "missing-trailing-cells",
        "more-problems",
        "repeated-header",
    }
    assert found.quarantined == set()
    assert (sum(found.rejected.values()), found.rows_rejected) == (1_000, {"7.csv": 1_001})


def test_image_without_a_user_is_ignored():
    assert expect([], [listed("7.png")]) == Found()


def test_an_unsupported_type_is_a_problem_of_its_object():
    found = expect([], [listed("a/notes.txt")])
    assert found == Found(
        object_problems={("a/notes.txt", "unsupported-type")}, quarantined={"a/notes.txt"}
    )


def test_faulty_file_yields_only_its_problem():
    found = expect([(listed("7.csv"), b"")], [listed("7.png")])
    assert found == Found(object_problems={("7.csv", "empty-file")}, quarantined={"7.csv"})


def test_an_object_the_store_refuses_is_a_problem_too():
    found = expect([person("7.csv", "A,B,0,7")], [], refused=["8.csv"])
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
    assert names.is_junk(key)


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
    assert not names.is_junk(key)


@pytest.mark.parametrize(
    ("key", "kind", "image_id"),
    [
        ("a.b/1000.csv", "data", None),
        ("0001.CSV", "data", None),
        (".csv", "data", None),
        ("a.b.jpeg", "image", "a.b"),
        ("x/7.WebP", "image", "7"),
        (".png", "image", ""),
        (f"x/{DECOMPOSED}.png", "image", COMPOSED),
        ("x/7.csv.gz", "other", None),
        ("x.csv/README", "other", None),
        ("7.c\u017fv", "other", None),
        ("7.g\u0130f", "other", None),
    ],
)
def test_key_gives_kind_and_user(key: str, kind: str, image_id: str | None):
    one = routed(listed(key), "b")
    assert one is not None
    assert (one.route.kind, one.route.attachment_id) == (kind, image_id)


@given(st.data())
def test_the_order_of_reading_changes_nothing(data: st.DataObject):
    row = st.sampled_from(["A,B,0,7", "C,D,0,7", "E,F,0,8", "G,H,x,8"])
    files = [
        person(f"{name}.csv", *data.draw(st.lists(row, max_size=3)), age_minutes=age)
        for name, age in zip("abcé", data.draw(st.tuples(*[st.integers(0, 1)] * 4)), strict=True)
    ]
    images = [listed(f"{folder}/7.png", data.draw(st.integers(0, 1))) for folder in "xyé"]
    forwards = expect(files, images)
    shuffled = expect(data.draw(st.permutations(files)), data.draw(st.permutations(images)))
    assert shuffled == forwards

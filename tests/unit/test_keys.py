"""Kind and user of an object key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.keys import image_id_of, is_ignored, kind_of, spellings, user_id_of, without_ignored
from etl.model.values import ObjectKind, SourceObject


@pytest.mark.parametrize(
    ("key", "user_id"),
    [
        ("1000.csv", "1000"),
        ("a/b/0001.csv", "0001"),
        ("Anna.Lee.PNG", "Anna.Lee"),
        ("dir.v2/name", "name"),
        (".csv", ""),
        ("é ü.csv", "é ü"),
    ],
)
def test_a_users_id_is_the_base_name_as_text(key: str, user_id: str):
    assert user_id_of(key) == user_id


@pytest.mark.parametrize(
    ("key", "image_id"),
    [
        ("Jose\u0301.png", "Jos\xe9"),
        ("a/Jos\xe9.png", "Jos\xe9"),
        ("e\u0302\u0301.png", "\u1ebf"),
        ("\xea\u0301.png", "\u1ebf"),
        ("\u212b.png", "\xc5"),
        ("\u212a.png", "\u212a"),
        ("0001.png", "0001"),
        (".png", ""),
    ],
)
def test_an_image_is_joined_by_its_name_in_nfc(key: str, image_id: str):
    assert image_id_of(key) == image_id


@pytest.mark.parametrize(
    ("key", "listed"),
    [("/a.csv", "a.csv"), ("a//b///c.csv", "a/b/c.csv"), ("a/b.csv", "a/b.csv"), ("//", "//")],
)
def test_a_key_with_empty_segments_has_two_spellings(key: str, listed: str):
    assert spellings(key) == {key, listed}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("1.csv", ObjectKind.DATA),
        ("1.CSV", ObjectKind.DATA),
        ("1.Png", ObjectKind.IMAGE),
        ("1.jpg", ObjectKind.IMAGE),
        ("1.JPEG", ObjectKind.IMAGE),
        ("1.webp", ObjectKind.IMAGE),
        ("1.gif", ObjectKind.IMAGE),
        ("1.csv.gz", ObjectKind.OTHER),
        ("csv", ObjectKind.OTHER),
        ("a.csv/notes", ObjectKind.OTHER),
    ],
)
def test_extension_in_any_case_gives_the_kind(key: str, kind: ObjectKind):
    assert kind_of(key) is kind


@pytest.mark.parametrize(
    ("key", "size", "ignored"),
    [
        ("__MACOSX/1.csv", 5, True),
        ("a/__MACOSX/1.csv", 5, True),
        ("__MACOSX.csv", 5, False),
        ("a/._1.csv", 5, True),
        (".DS_Store", 5, True),
        ("a/Thumbs.db", 5, True),
        ("DESKTOP.INI", 5, True),
        ("folder/", 0, True),
        ("folder", 0, True),
        ("~$1.csv", 5, True),
        ("a/~$1.png", 5, True),
        ("~1.csv", 5, False),
        ("a~$1.csv", 5, False),
        ("~$a/1.csv", 5, False),
        (".AppleDouble/1.csv", 5, True),
        ("a/.AppleDouble/b/1.png", 5, True),
        (".appledouble/1.csv", 5, False),
        ("a/.ipynb_checkpoints/1-checkpoint.csv", 5, True),
        (".ipynb_checkpoints.csv", 5, False),
        ("$RECYCLE.BIN/S-1-5/$I1.csv", 5, True),
        ("a/$Recycle.Bin/1.csv", 5, True),
        ("$RECYCLE.BIN", 5, False),
        (".bucketline/probe.csv", 5, True),
        ("a/.bucketline/1.csv", 5, True),
        (".bucketline.csv", 5, False),
        ("1.csv", 0, False),
        ("1.png", 0, False),
        ("notes.txt", 5, False),
        ("1.csv", 5, False),
    ],
)
def test_system_files_and_folder_markers_are_ignored(key: str, size: int, ignored: bool):  # noqa: FBT001
    source = SourceObject(key, "e", size, datetime(2026, 1, 1, tzinfo=UTC))
    assert is_ignored(source) is ignored


NAMES = st.sampled_from(
    [
        "",
        "1.csv",
        "a",
        "._1.csv",
        ".DS_Store",
        "thumbs.DB",
        "desktop.ini",
        "des\u212atop.ini",
        "__MACOSX",
        "__macosx",
        "x._1.csv",
        "~$1.csv",
        "x~$",
        ".AppleDouble",
        ".appledouble",
        ".ipynb_checkpoints",
        "$Recycle.Bin",
        "$recycle.b\u0130n",
        ".bucketline",
        "\n",
        "a\n.ds_store",
        "not.ds_store",
        "\u0130",
    ]
)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(KEYS, st.sampled_from([0, 1, 1, 1, 1])), max_size=4))
def test_a_page_loses_the_very_objects_that_are_ignored(found: list[tuple[str, int]]):
    rows = [(key, "e", size, datetime(2026, 1, 1, tzinfo=UTC)) for key, size in found]
    assert without_ignored(rows) == [row for row in rows if not is_ignored(SourceObject(*row))]

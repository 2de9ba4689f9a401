"""verify() after correct runs, and after runs that are made to misread."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import pytest

from etl.model.values import Trigger
from etl.read import pieces
from etl.read.formats import read_files
from etl.sync import batch, stream
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket
from tests.csv_corpus import CORPUS, HEADER, MARK

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.read.rows.extract import Extract
    from etl.settings import Settings

Misread = Callable[[bytes], bytes]

SEVERAL = HEADER + b"\n1,Ann,Lee,0\n2,Bob,Li,612302400000\n"
MIXED = HEADER + b"\n1,Zo\xc3\xab,Lee,0\n2,Ren\xe9,Li,0\n"
# name: the file, how a faulty parser misreads it, and the differences that verify finds
MISREADINGS: dict[str, tuple[bytes, Misread, set[str]]] = {
    "one bad byte makes every name cp1252": (
        MIXED,
        lambda content: content.decode("cp1252").encode(),
        {"user-differs", "output-differs", "problem-missing"},
    ),
    "a mark in mid file becomes part of an id": (
        SEVERAL.replace(b"\n2", b"\n" + MARK + b"2"),
        partial(re.sub, MARK, "\u2060".encode()),
        {"user-missing", "user-surplus", "output-missing", "output-surplus"},
    ),
    "a row in no encoding is read": (
        SEVERAL.replace(b"Bob", b"B\x81b"),
        lambda content: content.replace(b"\x81", b"o"),
        {"user-surplus", "output-surplus", "manifest-differs", "problem-missing"},
    ),
    "delimiters in a quoted name count": (
        b'first_name;last_name;birthts;"a,b,c,d"\nAnn;Lee;0;x\n',
        lambda content: content.replace(b"name;", b"name "),
        {"user-missing", "output-missing", "manifest-differs", "problem-surplus"},
    ),
    "a header among the rows is a row": (
        SEVERAL + HEADER + b"\n3,Eve,Roe,0\n",
        lambda content: content[:40] + content[40:].replace(b"birthts", b"births"),
        {"manifest-differs", "problem-missing", "problem-surplus"},
    ),
    "rows without trailing cells are refused": (
        HEADER + b",city\n1,Ann,Lee,0,Ulm\n2,Bob,Li,0\n",
        lambda content: content.replace(b"2,Bob,Li,0", b"2,Bob,Li"),
        {
            "user-missing", "output-missing", "manifest-differs", "problem-missing",
            "problem-surplus",
        },
    ),
    "different rows become one user": (
        b"first_name,last_name,birthts\nAnn,Lee,0\nBob,Li,0\n",
        lambda content: content.replace(b"Ann,Lee", b"Bob,Li"),
        {
            "user-surplus", "output-surplus", "manifest-differs", "shadowed-surplus",
            "problem-missing",
        },
    ),
    "one user's rows are refused": (
        b"first_name,last_name,birthts\nAnn,Lee,0\nAnn,Lee,0\n",
        lambda content: content.replace(b"Ann", b"Bob", 1),
        {
            "user-missing", "output-missing", "manifest-differs", "shadowed-missing",
            "problem-surplus",
        },
    ),
    "a date is taken for local time": (
        HEADER + b"\n1,Ann,Lee,1989-05-27\n",
        lambda content: content.replace(b"-27", b"-27T00:00+03:00"),
        {"user-differs", "output-differs"},
    ),
    "an ambiguous date is guessed": (
        SEVERAL + b"3,Eve,Roe,03.05.1980\n",
        lambda content: content.replace(b"03.05.1980", b"1980-05-03"),
        {"user-surplus", "output-surplus", "manifest-differs", "problem-missing"},
    ),
    "an integral float is refused": (
        SEVERAL + b"3,Eve,Roe,612302400000.0\n",
        lambda content: content.replace(b"00.0", b"00.5"),
        {"user-missing", "output-missing", "manifest-differs", "problem-surplus"},
    ),
    "seconds go unnoticed": (
        HEADER + b"\n1,Ann,Lee,612302400\n",
        lambda content: content + b"2,Bob,Li,612302400000\n",
        {"user-surplus", "output-surplus", "manifest-differs", "problem-missing"},
    ),
    "a birthdate to come is taken": (
        SEVERAL + b"3,Eve,Roe,253402300799999\n",
        lambda content: content.replace(b"253402300799999", b"0"),
        {"user-surplus", "output-surplus", "manifest-differs", "problem-missing"},
    ),
    "a quote that never ends swallows rows": (
        HEADER + b'\n1,"Ann,Lee,0\n2,Bob,Li,0\n',
        lambda content: content.replace(b"2,Bob,Li,0\n", b"\n"),
        {"user-missing", "output-missing", "manifest-differs"},
    ),
    "lines are counted wrong": (
        SEVERAL,
        lambda content: content.replace(b"\n2", b"\n\n2"),
        {"user-differs"},
    ),
    "the last row is lost": (
        SEVERAL,
        lambda content: content.rpartition(b"2,")[0],
        {"user-missing", "output-missing", "manifest-differs"},
    ),
    "more problems are listed than counted": (
        HEADER + b"\n" + b"1,Ann\n" * 1_003,
        lambda content: content.removesuffix(b"1,Ann\n" * 3),
        {"manifest-differs", "problem-missing"},
    ),
    "other problems are listed than the first": (
        HEADER + b"\n" + b"1,Ann\n" * 1_003,
        lambda content: content.replace(b"\n1,Ann\n", b"\n\n1,Ann\n", 1),
        {"problem-missing", "problem-surplus"},
    ),
}  # fmt: skip


def misreading(misread: Misread) -> Callable[..., list[Extract]]:
    """A parser that misreads files."""
    return lambda files, *dataset: read_files(
        [replace(file, content=misread(file.content)) for file in files], *dataset
    )


@pytest.mark.parametrize("name", MISREADINGS)
def test_a_misreading_shows_as_a_difference(  # noqa: PLR0913, PLR0917 - the whole of a run
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    manager: DataManager,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    content, misread, differences = MISREADINGS[name]
    bucket.put("7.csv", content)
    monkeypatch.setattr(batch, "read_files", misreading(misread))
    manager.run(Trigger.CLI)
    assert {difference.what for difference in verify(settings, engine)} == differences

    monkeypatch.undo()
    bucket.put("again.csv", content)
    bucket.remove("7.csv")
    manager.run(Trigger.CLI, allowed_retirements={"users": None})
    assert verify(settings, engine) == []


@pytest.mark.parametrize("is_huge", [False, True])
def test_a_bucket_of_awkward_files_has_no_differences(  # noqa: PLR0913 - the whole of a run
    settings: Settings,
    engine: Engine,
    bucket: TestBucket,
    manager: DataManager,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_huge: bool,
):
    if is_huge:
        monkeypatch.setattr(batch, "MAX_BYTES", 64)
        monkeypatch.setattr(stream, "PART_BYTES", 100_000)
        monkeypatch.setattr(pieces, "PIECE_BYTES", 1_000)
    for number, content in enumerate(CORPUS.values()):
        bucket.put(f"{number}.csv", content)
    for _ in range(2):
        manager.run(Trigger.CLI)
        assert verify(settings, engine) == []


ALIKE = ("Zo\u00eb", "Zoe\u0308")


def test_images_match_users_with_equivalent_names(
    settings: Settings, engine: Engine, bucket: TestBucket, manager: DataManager
):
    for name in ALIKE:
        bucket.user(f"{name}.csv")
    for change in (
        lambda: bucket.put(f"{ALIKE[1]}.png", b"x"),
        lambda: bucket.put(f"a/{ALIKE[0]}.png", b"y"),
        lambda: bucket.remove(f"a/{ALIKE[0]}.png"),
        lambda: bucket.remove(f"{ALIKE[0]}.csv"),
        lambda: bucket.remove(f"{ALIKE[1]}.png"),
    ):
        change()
        manager.run(Trigger.CLI)
        assert verify(settings, engine) == []


@pytest.mark.parametrize(
    "key",
    [
        "~$7.csv",
        ".AppleDouble/7.csv",
        ".ipynb_checkpoints/7.csv",
        "a/$Recycle.Bin/7.csv",
        ".bucketline/7.csv",
        "__MACOSX/7.csv",
        "._7.csv",
    ],
)
def test_ignored_files_cause_no_difference(
    settings: Settings, engine: Engine, bucket: TestBucket, manager: DataManager, key: str
):
    bucket.user("1.csv")
    bucket.user(key)
    manager.run(Trigger.CLI)
    assert verify(settings, engine, today=date.max) == []

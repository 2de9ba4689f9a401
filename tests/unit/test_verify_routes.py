"""The verifier's routing of objects to datasets."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import USERS, Attachment, Dataset, Field
from etl.verify.globs import glob
from etl.verify.routes import Routes

ORDERS = Dataset(
    name="orders",
    table="orders",
    fields=(Field(name="order_id"),),
    include=("orders/**/*.csv",),
    exclude=("orders/tmp/**",),
    attachments=(Attachment(column="scan", match="orders/**/{order_id}-scan.{png,pdf}"),),
)
OTHER = replace(ORDERS, name="other", include=("**/*.csv",), exclude=(), attachments=())


def routed(key: str, *datasets: Dataset, bucket: str = "src") -> tuple[str | None, str, str | None]:
    route = Routes(datasets, bucket, "src").of(key)
    if route is None:
        return None, "ignored", None
    return route.dataset.name, route.kind.value, route.attachment_id


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "x/y/a.CSV", True),
        ("**/*.csv", "x/a.csv.gz", False),
        ("a/*/b.csv", "a/x/b.csv", True),
        ("a/*/b.csv", "a/x/y/b.csv", False),
        ("a/**/b.csv", "a/b.csv", True),
        ("a/**/b.csv", "ab.csv", False),
        ("a/**", "a/x/y", True),
        ("a/**", "b/a/x", False),
        ("a?.csv", "ab.csv", True),
        ("a?.csv", "a/.csv", False),
        ("*.{csv,tsv}", "a.tsv", True),
        ("*.{csv,csv.gz}", "a.csv.gz", True),
        ("*.{csv,tsv}", "a.txt", False),
        ("a.csv", "axcsv", False),
        ("[a].csv", "a.csv", False),
        ("*.csv", "a\nb.csv", True),
        ("\u00c9*.csv", "\u00e9t\u00e9.csv", True),
    ],
)
def test_globs(pattern: str, key: str, *, matches: bool):
    assert glob(pattern).matches(key) == matches


@given(st.text("ab/.", max_size=8))
def test_two_stars_and_a_slash_match_any_folders(key: str):
    assert glob("**/a").matches(key) == bool(re.fullmatch("(.*/)?a", key))
    assert glob("**").matches(key)


def test_placeholders_keep_their_case_and_stay_in_a_folder():
    assert glob("S/{site}/**").values("s/Ulm/x/y") == {"site": "Ulm"}
    assert glob("s/{site}.csv").values("s/x/Ulm.csv") is None
    assert glob("{a}_{b}.csv").values("x_y_z.csv") == {"a": "x", "b": "y_z"}
    assert glob("{i}x").values("\u0130X") == {"i": "\u0130"}


def test_the_first_dataset_takes_an_object_and_presets_come_last():
    assert routed("orders/1.csv", USERS, ORDERS, OTHER) == ("orders", "data", None)
    assert routed("orders/1.csv", USERS, OTHER, ORDERS) == ("other", "data", None)
    assert routed("1.csv", USERS, ORDERS) == ("users", "data", None)


def test_excluded_objects_are_offered_to_declared_datasets_only():
    assert routed("orders/tmp/1.csv", USERS, ORDERS) == (None, "ignored", None)
    assert routed("orders/tmp/1.csv", USERS, ORDERS, OTHER) == ("other", "data", None)
    assert routed("orders/tmp/1.png", USERS, ORDERS) == ("users", "image", "1")


def test_attachments_belong_to_the_dataset_that_names_them():
    assert routed("orders/x/7-SCAN.pdf", USERS, ORDERS) == ("orders", "image", "7")
    assert routed("orders/x/7.png", USERS, ORDERS) == ("users", "image", "7")


def test_what_no_dataset_wants_is_reported_only_by_users_of_the_whole_bucket():
    assert routed("notes.txt", USERS, ORDERS) == ("users", "other", None)
    assert routed("notes.txt", ORDERS) == (None, "ignored", None)
    some = replace(USERS, include=("people/**/*.csv",))
    assert routed("notes.txt", some, ORDERS) == (None, "ignored", None)
    assert routed("1.csv", some) == (None, "ignored", None)
    assert routed("tmp/1.txt", replace(USERS, exclude=("tmp/**",))) == (None, "ignored", None)


@pytest.mark.parametrize("compression", ["", ".gz", ".ZST", ".bz2", ".zip"])
def test_files_of_known_formats_are_read_and_others_if_the_format_is_declared(compression: str):
    every = replace(OTHER, include=("**",))
    for extension in ("TSV", "csv", "ndjson", "jsonl", "json", "parquet", "xlsx"):
        assert routed(f"a.{extension}{compression}", every) == ("other", "data", None)
    assert routed(f"a.txt{compression}", every) == ("other", "other", None)
    assert routed(f"a.txt{compression}", replace(every, format="csv")) == ("other", "data", None)


def test_presets_read_no_compressed_file():
    assert routed("a.csv.gz", replace(USERS, include=("**",))) == ("users", "other", None)


def test_datasets_are_offered_only_objects_of_their_bucket():
    archive = replace(OTHER, bucket="archive")
    assert routed("1.csv", USERS, archive, bucket="archive") == ("other", "data", None)
    assert routed("1.csv", USERS, archive) == ("users", "data", None)
    assert routed("1.png", USERS, archive, bucket="archive") == (None, "ignored", None)

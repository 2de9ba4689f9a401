"""Routing: the dataset of each object, attachments, and the columns in keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import USERS, Attachment, Dataset, Field
from etl.model.formats import format_of
from etl.model.keys import has_ignored_name, image_id_of, kind_of
from etl.model.routing import (
    ObjectRoute,
    Router,
    path_names,
    path_values,
    unnamed_folders,
)
from etl.model.values import ObjectKind

BUCKET = "src-data"


def dataset(name: str, *include: str, exclude: tuple[str, ...] = (), **rest: object) -> Dataset:
    fields = (Field(name="id"),)
    return Dataset(name=name, table=name, fields=fields, include=include, exclude=exclude, **rest)


def routed(datasets: list[Dataset], key: str, bucket: str = BUCKET) -> tuple[str | None, str]:
    found = Router(datasets, BUCKET).route(bucket, key)
    return (found.dataset.name if found.dataset else None), found.kind.value


NAMES = st.sampled_from(
    [
        *("", "a", "1.csv", ".csv", "B.CSV", "c.png", "D.Jpeg", ".gif", "e.f.webp", "x.csv.gz"),
        *("x.tsv", "csv", "g.c\u017fv", "h.g\u0130f", "K.png", "\u212a.png", "Jose\u0301.jpg"),
        *("\u1ebf.png", "\u03c2.csv", "._1.csv", "~$1.csv", "__MACOSX", ".DS_Store", "\n.png"),
        *("$Recycle.Bin", "notes.txt"),
    ]
)
KEYS = st.one_of(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.text(max_size=12))


@given(KEYS)
def test_without_a_file_each_key_is_what_it_is_to_the_rules_of_users(key: str):
    found = Router([USERS], BUCKET).route(BUCKET, key)
    if has_ignored_name(key):
        assert found == ObjectRoute(None, ObjectKind.OTHER)
        return
    assert found.dataset is USERS
    assert found.kind is kind_of(key)
    is_image = found.kind is ObjectKind.IMAGE
    assert found.attachment_id == (image_id_of(key) if is_image else None)
    assert found.attachment == (USERS.attachments[0] if is_image else None)


ORDERS = dataset("orders", "orders/**/*.csv", exclude=("orders/tmp/**",))


@pytest.mark.parametrize(
    ("key", "route"),
    [
        ("orders/1.csv", ("orders", "data")),
        ("Orders/2024/1.CSV", ("orders", "data")),
        ("orders/tmp/1.csv", (None, "other")),  # not offered to users
        ("orders/tmp/1.png", ("users", "image")),
        ("orders/notes.txt", ("users", "other")),
        ("1.csv", ("users", "data")),
        ("a/orders/1.csv", ("users", "data")),
        ("__MACOSX/orders/1.csv", (None, "other")),
        ("orders/", (None, "other")),
    ],
)
def test_presets_take_what_no_other_dataset_includes(key: str, route: tuple[str | None, str]):
    assert routed([USERS, ORDERS], key) == route
    assert routed([ORDERS, USERS], key) == route


def test_the_first_dataset_in_the_order_of_the_file_wins():
    one, other = dataset("one", "a/**/*.csv"), dataset("other", "**/*.csv")
    assert routed([one, other], "a/1.csv") == ("one", "data")
    assert routed([other, one], "a/1.csv") == ("other", "data")


def test_an_excluded_object_is_offered_to_later_datasets_but_not_to_presets():
    one = dataset("one", "a/**", exclude=("a/old/**",))
    other = dataset("other", "**/old/*.csv")
    assert routed([one, other, USERS], "a/old/1.csv") == ("other", "data")
    assert routed([one, USERS], "a/old/1.csv") == (None, "other")


@pytest.mark.parametrize(
    ("users", "route"),
    [
        (USERS, ("users", "other")),
        (replace(USERS, include=("**",)), ("users", "other")),
        (replace(USERS, include=("crm/**/*.csv", "**/*.{csv,tsv}")), ("users", "other")),
        (replace(USERS, include=("crm/**/*.csv",)), (None, "other")),
        (replace(USERS, include=("*.csv",)), (None, "other")),
        (replace(USERS, include=("**/u*.csv",)), (None, "other")),
        (replace(USERS, exclude=("docs/**",)), (None, "other")),
        (replace(USERS, bucket="another"), (None, "other")),
    ],
)
def test_an_unknown_type_is_unsupported_where_users_covers_the_bucket(
    users: Dataset, route: tuple[str | None, str]
):
    assert routed([ORDERS, users], "docs/notes.txt") == route


def test_without_users_other_objects_are_ignored():
    assert routed([ORDERS], "notes.txt") == (None, "other")
    assert routed([ORDERS], "1.png") == (None, "other")
    assert routed([], "1.csv") == (None, "other")


def test_each_bucket_has_its_own_datasets():
    other = dataset("other", "**/*.csv", bucket="other-data")
    router = Router([other, USERS], BUCKET)
    assert router.buckets == ("other-data", BUCKET)
    assert router.route("other-data", "1.csv").dataset is other
    assert router.route(BUCKET, "1.csv").dataset is USERS
    assert router.route("third", "1.csv") == ObjectRoute(None, ObjectKind.OTHER)
    assert router.for_bucket("third")("1.csv") == ObjectRoute(None, ObjectKind.OTHER)
    assert router.for_bucket(BUCKET)("1.csv") == router.route(BUCKET, "1.csv")


def test_exclude_applies_to_attachments():
    users = replace(USERS, exclude=("private/**",))
    assert routed([users], "private/1000.png") == (None, "other")
    assert routed([users], "1000.png") == ("users", "image")


def test_attachments_of_a_dataset_go_before_its_data_and_before_presets():
    scan = Attachment(column="scan", match="scans/**/{id}_page?.{png,jpg}")
    orders = replace(ORDERS, include=("orders/**", "scans/**"), attachments=(scan,))
    found = Router([USERS, orders], BUCKET).route(BUCKET, "scans/2024/AB-1_page2.JPG")
    assert found == ObjectRoute(orders, ObjectKind.IMAGE, scan, "AB-1")
    assert routed([orders, USERS], "scans/2024/AB-1.png") == ("orders", "other")
    assert routed([orders, USERS], "other/AB-1_page2.png") == ("users", "image")


@pytest.mark.parametrize(
    ("given_format", "key", "found"),
    [
        (None, "a.csv", "csv"),
        (None, "a.TSV", "tsv"),
        (None, "csv", None),
        (None, "a.csv.gz", "csv.gz"),
        (None, "a.TSV.Zst", "tsv.zst"),
        (None, "a.csv.bz2", "csv.bz2"),
        (None, "a.csv.zip", "csv.zip"),
        (None, "a.gz", None),
        (None, "a.parquet", "parquet"),
        ("csv", "a.txt", "csv"),
        ("tsv", "a", "tsv"),
        ("csv", "a.csv.gz", "csv.gz"),
        ("csv", "a.gz", "csv.gz"),
    ],
)
def test_format_is_declared_or_follows_from_the_extension(
    given_format: str | None, key: str, found: str | None
):
    one = dataset("one", "**", format=given_format)
    format_ = format_of(one, key)
    assert (None if format_ is None else ".".join(filter(None, format_))) == found
    assert routed([one], key) == ("one", "data" if found else "other")


@pytest.mark.parametrize(
    ("template", "key", "values"),
    [
        ("sensors/{site}/**", "sensors/North/2024/1.csv", {"site": "North"}),
        ("sensors/{site}/**", "sensors//1.csv", {"site": None}),
        ("sensors/{site}/**", "other/1.csv", {"site": None}),
        ("{a}/{b}.csv", "x/y.csv", {"a": "x", "b": "y"}),
        ("{a}/{b}.csv", "x%20y/z.csv", {"a": "x%20y", "b": "z"}),
    ],
)
def test_path_columns_come_from_a_template(template: str, key: str, values: dict[str, str | None]):
    one = dataset("one", "**", path_columns=template)
    assert path_names(one) == tuple(values)
    assert path_values(one, key) == values


HIVE = dataset("sales", "sales/**/Year=*/month=*/*.csv", "old/year=*/*.csv", path_columns="hive")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("sales/year=2024/month=05/1.csv", ("2024", "05")),
        ("sales/MONTH=May%20x/YEAR=A/1.csv", ("A", "May x")),
        ("sales/year=2024/1.csv", ("2024", None)),
        ("sales/year=/month=__HIVE_DEFAULT_PARTITION__/1.csv", (None, None)),
        ("sales/year=1/year=2/month=a=b/1.csv", ("2", "a=b")),
        ("sales/year/month=%ff/1.csv", (None, "%ff")),
        ("sales/xyear=1/year=2.csv", (None, None)),
    ],
)
def test_path_columns_of_hive_are_the_named_folders(
    key: str, values: tuple[str | None, str | None]
):
    assert path_names(HIVE) == ("Year", "month")
    assert tuple(path_values(HIVE, key).values()) == values


@pytest.mark.parametrize(
    ("key", "folders"),
    [
        ("sales/year=2024/month=05/1.csv", ()),
        ("sales/site=N/Day=5/year=2024/month=05/x=1.csv", ("site", "Day")),
        ("sales/=1/a b=2/plain/year=2024/month=5/1.csv", ()),
    ],
)
def test_hive_folders_that_no_pattern_names_are_known(key: str, folders: tuple[str, ...]):
    assert unnamed_folders(HIVE, key) == folders
    assert unnamed_folders(ORDERS, key) == ()


def test_a_dataset_without_path_columns_has_none():
    assert path_names(ORDERS) == ()
    assert path_values(ORDERS, "orders/1.csv") == {}

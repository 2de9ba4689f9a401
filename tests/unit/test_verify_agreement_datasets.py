"""Both readers get the same result from any file of any dataset, and route any key alike."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import (
    USERS,
    Attachment,
    Dataset,
    Field,
    UnknownColumns,
)
from etl.model.routing import Router
from etl.verify import names
from etl.verify.routes import Routes
from tests.any_files import csv_files, datasets
from tests.dataset_outcomes import expected_of, found_of

KEYS = ["a.csv", "in/Ulm/a.csv", "in/7/a.csv", "in//a.csv", "in/ /a.tsv"]


@given(st.data())
def test_readers_agree_on_any_csv_of_any_dataset(data: st.DataObject):
    dataset = data.draw(datasets())
    content = data.draw(csv_files(dataset))
    key = data.draw(st.sampled_from(KEYS))
    added: tuple[str, ...] = ()
    if dataset.unknown_columns is UnknownColumns.ADD:
        added = data.draw(st.sampled_from([(), ("city",), tuple(f"c{n}" for n in range(200))]))
    assert found_of(dataset, key, content, added) == expected_of(dataset, key, content, added)


def routed_datasets() -> list[Dataset]:
    """Datasets that compete for objects."""
    orders = Dataset(
        name="orders",
        table="orders",
        fields=(Field(name="id"),),
        include=("a/**/*.{csv,pdf}", "b*/?.tsv"),
        exclude=("a/tmp/**",),
        attachments=(Attachment(column="scan", match="a/**/{id}-x.{png,gif}"),),
    )
    odd = replace(orders, name="odd", include=("**/x/**",), exclude=("**/*.png",), attachments=())
    other = replace(odd, name="other", bucket="elsewhere", include=("**",))
    return [USERS, orders, odd, replace(odd, name="any", format="csv", include=("c/**",)), other]


segments = st.sampled_from(
    ["a", "A", "b", "bb", "c", "x", "X", "tmp", "7.csv", "7.CSV", "z.tsv", "7.png", "7-x.PNG",
     "7.txt", "y.csv.gz",
     "q.pdf", "\u0130.csv", "Zoe\u0308-x.png", "_._7", ""]
)  # fmt: skip
excludes = st.sampled_from([(), ("a/**",), ("**/*.png",)])
includes = st.sampled_from([("**/*.csv",), ("**",), ("a/**/*.csv",), ("**/*.{csv,tsv}",)])


@given(
    st.lists(segments, min_size=1, max_size=4),
    excludes,
    includes,
    st.sampled_from(["src", "elsewhere"]),
)
def test_readers_agree_on_routes(
    path: list[str], exclude: tuple[str, ...], include: tuple[str, ...], bucket: str
):
    users, *others = routed_datasets()
    chosen = [replace(users, exclude=exclude, include=include), *others]
    key = "/".join(path)
    found = Router(chosen, "src").route(bucket, key)
    route = None if names.is_junk(key) else Routes(chosen, bucket, "src").of(key)
    if route is None:
        assert found.dataset is None
    else:
        assert route == type(route)(
            found.kind, found.dataset, found.attachment, found.attachment_id
        )

"""The object store client with a real store: awkward keys, complete listings, clear errors."""

from __future__ import annotations

import io
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from minio.datatypes import Object
from sqlalchemy import Engine, text

from etl.model.errors import ConfigurationError, ListingOutOfOrder, ObjectStoreUnavailable
from etl.model.values import SourceObject, Trigger
from etl.settings import Settings
from etl.storage.bulk_lister import BulkLister
from etl.storage.client import ObjectStore
from etl.storage.exact_lister import ExactLister
from etl.storage.listing import BucketListing, KeyRanges
from etl.storage.order import ListingOrder
from etl.storage.order_trial import order_of
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket, minio_client
from tests.stores import IN_BYTE_ORDER, IN_FOLDER_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minio import Minio

    from etl.model.values import ListingEntry

pytestmark = pytest.mark.storage

AWKWARD = [
    "a b.csv",
    "a%2Fb.csv",
    "a+b.csv",
    "a&b?.csv",
    "a#b.csv",
    'a"b.csv',
    "a<b>.csv",
    "a\\b.csv",
    "a*b{c}[d]|^`~!.csv",
    "ä.csv",
    "a\u0308.csv",
    "😀.csv",
    "...csv",
    " .csv",
    "trail .csv ",
    "x/..y.csv",
]
BEYOND_OBSTORE = ["nl\n.csv", "tab\t.csv", "\x01.csv", "m\x01.csv", "m\ufffd.csv"]


ONE_OBJECT = range(1, 2)


def bulk_store_of(settings: Settings, *, list_concurrency: int | None = None) -> ObjectStore:
    """A store whose exact first page has one object, so that the bulk lister lists the rest."""
    changed = {} if list_concurrency is None else {"list_concurrency": list_concurrency}
    return ObjectStore(settings.model_copy(update=changed), first_page_sizes=ONE_OBJECT)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return bulk_store_of(settings)


@pytest.fixture
def manager(settings: Settings, store: ObjectStore) -> DataManager:
    return DataManager(settings, store=store)


def by_bytes(keys: list[str]) -> list[str]:
    return sorted(keys, key=str.encode)


def listed(store: ObjectStore, bucket: TestBucket) -> list[str]:
    return [source.key for source in store.list_objects(bucket.name)]


@pytest.mark.store(IN_BYTE_ORDER)
def test_awkward_keys_are_listed_in_byte_order_and_fetched(store: ObjectStore, bucket: TestBucket):
    for key in AWKWARD:
        bucket.put(key, key)
    assert listed(store, bucket) == by_bytes(AWKWARD)
    for source in store.list_objects(bucket.name):
        found = store.fetch(bucket.name, source)
        assert found is not None
        assert found.content.decode() == source.key


@pytest.mark.parametrize("awkward", BEYOND_OBSTORE)
def test_a_key_that_the_bulk_client_cannot_spell_hides_no_other(
    store: ObjectStore, bucket: TestBucket, awkward: str
):
    keys = ["1.csv", "a.csv", "z.csv", awkward]
    for key in keys:
        bucket.put(key, key)
    assert listed(store, bucket) == by_bytes(keys)
    source = store.stat(bucket.name, awkward)
    assert source is not None
    found = store.fetch(bucket.name, source)
    assert found is not None
    assert found.content.decode() == awkward


def test_an_ordinary_bucket_is_listed_in_bulk(
    store: ObjectStore, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    """The exact listing is ten times as slow; it is for keys that need it."""
    bucket.put("a/1.csv", b"x")
    exact, called = ExactLister.entries, []

    def noted(self: ExactLister, bucket: str, *, after: str | None = None) -> Iterator[object]:
        called.append(after)
        return exact(self, bucket, after=after)

    monkeypatch.setattr(ExactLister, "entries", noted)
    assert listed(store, bucket) == ["a/1.csv"]
    assert not called


@pytest.mark.store(IN_BYTE_ORDER)
def test_folder_markers_are_no_objects_and_break_no_order(store: ObjectStore, bucket: TestBucket):
    for key in ("dir/", "dir!.csv", "dir/x.csv", "1.csv/"):
        bucket.put(key, b"" if key.endswith("/") else b"x")
    assert listed(store, bucket) == ["dir!.csv", "dir/x.csv"]
    assert sum(page.ignored for page in store.list_pages(bucket.name)) == 2


def test_an_empty_object_is_listed_as_one(store: ObjectStore, bucket: TestBucket):
    bucket.put("1.csv", b"")
    assert listed(store, bucket) == ["1.csv"]


def test_a_listing_is_not_cut_at_a_thousand(store: ObjectStore, bucket: TestBucket):
    keys = [f"{n:05}.png" for n in range(1_050)]
    for key in keys:
        bucket.put(key, b"x")
    assert listed(store, bucket) == keys


def test_unfinished_listing_does_not_make_later_ones_stale(settings: Settings, bucket: TestBucket):
    """Some stores return the cached remainder to a client that continues from the same key.

    A client that checks for any object stops after the first key, most others after 1,000.
    """
    store = ObjectStore(settings)
    keys = [f"{n:05}.png" for n in range(1_050)]
    for key in keys:
        bucket.put(key, b"x")
    for number in range(3):
        assert not store.is_empty(bucket.name)
        next(iter(store.client.list_objects(bucket.name, recursive=True)))
        bucket.remove(keys.pop(-2))
        keys.append(f"new{number}.png")
        bucket.put(keys[-1], b"x")
        assert listed(store, bucket) == keys
        assert objects_of(settings, bucket) == keys


def objects_of(settings: Settings, bucket: TestBucket) -> list[str]:
    pages = ObjectStore(settings).list_everything(bucket.name)
    return [row[0] for rows in pages for row in rows]


def in_stretches(settings: Settings, bucket: TestBucket, cuts: list[str]) -> list[str]:
    store = bulk_store_of(settings, list_concurrency=3)
    return [row[0] for page in store.list_pages(bucket.name, cuts) for row in page.rows]


@pytest.mark.store(IN_BYTE_ORDER)
@given(st.sets(st.sampled_from(["", "a.csv", "m.csv", "m/4.csv", "m/n.csv", "mm", "zz", "~ \n"])))
@hypothesis_settings(max_examples=30)
def test_split_listing_yields_every_key_once_in_order(
    settings: Settings, bucket: TestBucket, cuts: set[str]
):
    """Split points that are keys, between, before or after all keys, or unusable."""
    keys = ["1.csv", "a.csv", "m.csv", "m/4.csv", "m/5.csv", "m0.csv", "z.csv", "zz/é.csv"]
    if not bucket.keys():
        for key in keys:
            bucket.put(key, key)
    assert in_stretches(settings, bucket, sorted(cuts)) == keys


@pytest.mark.store(IN_BYTE_ORDER)
@pytest.mark.parametrize("awkward", [*BEYOND_OBSTORE, "m/.DS_Store\n.csv"])
def test_unspellable_key_hides_no_other_in_a_split_listing(
    settings: Settings, bucket: TestBucket, awkward: str
):
    keys = ["1.csv", "m.csv", "m/1.csv", "n.csv", "z.csv", awkward]
    for key in keys:
        bucket.put(key, key)
    assert in_stretches(settings, bucket, ["m.csv", "n.csv"]) == by_bytes(keys)


def test_ignored_objects_are_counted_once_in_a_cut_listing(settings: Settings, bucket: TestBucket):
    for key in ("1.csv", "a/.DS_Store", "a/2.csv", "b/._2.csv", "b/3.csv", "dir/", "z.csv"):
        bucket.put(key, b"" if key.endswith("/") else b"x")
    store = bulk_store_of(settings, list_concurrency=3)
    pages = list(store.list_pages(bucket.name, ["a/1.csv", "b/3.csv"]))
    assert [row[0] for page in pages for row in page.rows] == [
        "1.csv",
        "a/2.csv",
        "b/3.csv",
        "z.csv",
    ]
    assert sum(page.ignored for page in pages) == 3


@pytest.mark.store(IN_BYTE_ORDER)
def test_marker_out_of_order_is_counted_once_in_a_split_listing(
    settings: Settings, bucket: TestBucket
):
    for key in ("1.csv", "a-1.csv", "a-2.csv", "a/", "a0.csv", "b/._1", "b/._2"):
        bucket.put(key, b"" if key.endswith("/") else b"x")
    cuts = ["a-1.csv", "a-2.csv", "b.csv"]
    store = bulk_store_of(settings, list_concurrency=3)
    pages = list(store.list_pages(bucket.name, cuts))
    assert sum(len(page.rows) for page in pages) == 4
    assert sum(page.ignored for page in pages) == 3


def test_listing_in_several_key_ranges_gives_the_same_run(
    settings: Settings,
    bucket: TestBucket,
    engine: Engine,
):
    manager = DataManager(settings.model_copy(update={"list_concurrency": 2}), range_objects=3)
    assert manager.run(Trigger.CLI).counts.objects_listed == 0  # an empty manifest has no cuts
    for number in range(10):
        bucket.user(f"{number}.csv")
    assert manager.run(Trigger.CLI).counts.objects_added == 10
    bucket.remove("5.csv")  # where the listing was to be cut
    bucket.user("4.csv", "New")
    bucket.user("55.csv")
    bucket.user("99.csv")  # after the last split point
    counts = manager.run(Trigger.CLI).counts
    assert (counts.objects_added, counts.objects_modified, counts.objects_removed) == (2, 1, 1)
    assert counts.objects_unchanged == 8
    assert verify(settings, engine) == []


SEGMENTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=6
).filter(lambda text: text.strip(". ") != "" and not text.startswith(("._", "~$")))


@given(st.lists(SEGMENTS, min_size=1, max_size=5, unique=True))
@hypothesis_settings(max_examples=30)
def test_any_key_is_listed_as_it_was_uploaded(
    settings: Settings, bucket: TestBucket, segments: list[str]
):
    bucket.clear()
    keys = [f"{segment}.csv" for segment in segments]
    for key in keys:
        bucket.put(key, b"x")
    assert listed(bulk_store_of(settings), bucket) == by_bytes(keys)


@pytest.mark.store(IN_BYTE_ORDER)
def test_every_awkward_key_is_loaded(
    manager: DataManager, bucket: TestBucket, settings: Settings, engine: Engine
):
    for number, key in enumerate([*AWKWARD, *BEYOND_OBSTORE]):
        bucket.user(key, f"N{number}")
    assert manager.run(Trigger.CLI).counts.objects_added == len(AWKWARD) + len(BEYOND_OBSTORE)
    assert verify(settings, engine) == []
    assert manager.run(Trigger.CLI).counts.objects_changed == 0


@pytest.mark.parametrize("list_concurrency", [1, 3])
def test_ranges_are_listed_at_once_and_trying_the_order_leaves_nothing(
    settings: Settings, bucket: TestBucket, list_concurrency: int
):
    store = bulk_store_of(settings, list_concurrency=list_concurrency)
    assert store.ranges_at_once(bucket.name) == list_concurrency
    client = minio_client(settings)
    assert list(client.list_objects(settings.document_bucket, recursive=True)) == []


class OddMinio:
    """A client of a store with an order of its own."""

    def __init__(self, place: Callable[[str], str]) -> None:
        self._place, self._keys = place, set[str]()

    def bucket_exists(self, bucket: str) -> bool:  # noqa: ARG002
        return True

    def put_object(self, bucket: str, key: str, *_: object) -> None:  # noqa: ARG002
        self._keys.add(key)

    def remove_object(self, bucket: str, key: str) -> None:  # noqa: ARG002
        self._keys.remove(key)

    def list_objects(
        self, bucket: str, prefix: str, *, recursive: bool, start_after: str
    ) -> Iterator[Object]:
        assert recursive
        after = self._place(start_after)
        listed = sorted((key for key in self._keys if self._place(key) > after), key=self._place)
        return (Object(bucket, key) for key in listed if key.startswith(prefix))


@pytest.mark.parametrize(
    ("place", "order"),
    [
        (str, ListingOrder.BYTES),
        (lambda key: key.replace("/", "\0"), ListingOrder.FOLDERS),
        (lambda key: key.replace("/", "z"), None),
        (lambda key: key[::-1], None),
    ],
    ids=["by bytes", "a folder in the place of its name", "folders last", "from the end"],
)
def test_order_of_a_store_is_found_out(place: Callable[[str], str], order: ListingOrder | None):
    assert order_of(cast("Minio", OddMinio(place)), lambda *_: nullcontext(), "bucket") is order


FOLDERS_AND_KEYS = st.lists(st.sampled_from(["a", "a-", "a0", "b"]), min_size=1, max_size=3).map(
    "/".join
)


@given(
    st.lists(FOLDERS_AND_KEYS.map(lambda path: f"{path}.csv"), min_size=1, max_size=8, unique=True),
    st.lists(FOLDERS_AND_KEYS, max_size=4, unique=True),
)
@hypothesis_settings(max_examples=30)
def test_ranges_give_what_the_whole_listing_gives(
    settings: Settings, bucket: TestBucket, keys: list[str], points: list[str]
):
    """Points may be folders, and keys in no rising order, which is found out at the latest then."""
    bucket.clear()
    for key in keys:
        bucket.put(key, b"x")
    store = bulk_store_of(settings, list_concurrency=3)
    whole = [key for key, *_ in ExactLister(store.client, store.translating).entries(bucket.name)]
    pages = store.list_pages(bucket.name, by_bytes(points))
    try:
        assert [row[0] for page in pages for row in page.rows] == whole
    except ListingOutOfOrder:
        assert whole != by_bytes(whole)


def test_ranges_are_not_listed_at_once_if_the_order_cannot_be_tried(
    settings: Settings, bucket: TestBucket
):
    odd = settings.model_copy(update={"document_bucket": f"{settings.document_bucket}-x"})
    assert bulk_store_of(odd, list_concurrency=3).ranges_at_once(bucket.name) == 1


class RecordedLister(BulkLister):
    """Lists exactly, and records where each listing begins."""

    def __init__(self, exact: ExactLister) -> None:
        self.starts: list[str | None] = []
        self._exact = exact

    def pages(
        self,
        bucket: str,
        after: str | None,
        page_objects: int,  # noqa: ARG002
    ) -> Iterator[list[ListingEntry]]:
        self.starts.append(after)
        return self._exact.pages(bucket, after)


@pytest.mark.parametrize(
    ("first_page_seconds", "starts"),
    [(0.9, ["0.png", "2.png", "4.png", "6.png"]), (1.1, ["0.png", "2.png"])],
)
def test_ranges_are_given_up_if_the_first_page_takes_longer_than_a_range(
    store: ObjectStore, bucket: TestBucket, first_page_seconds: float, starts: list[str]
):
    """Times of the first page and of the first range, which takes 1 s."""
    keys = [f"{number}.png" for number in range(8)]
    for key in keys:
        bucket.put(key, b"x")
    times = iter([0, first_page_seconds, 10, 11])
    exact = ExactLister(store.client, store.translating)
    recorded = RecordedLister(exact)
    listing = BucketListing(exact, recorded, ONE_OBJECT, clock=lambda: next(times))
    pages = listing.pages(bucket.name, KeyRanges(keys[2::2], 3, may_be_given_up=True))
    assert [row[0] for page in pages for row in page.rows] == keys
    assert sorted(map(str, recorded.starts)) == starts


@pytest.mark.store(IN_FOLDER_ORDER)
@pytest.mark.parametrize("list_concurrency", [1, 2])
def test_run_over_keys_in_another_order_is_refused(
    settings: Settings, bucket: TestBucket, engine: Engine, list_concurrency: int
):
    changed = settings.model_copy(update={"list_concurrency": list_concurrency})
    manager = DataManager(changed, range_objects=1)
    bucket.user("a/1.csv")
    manager.run(Trigger.CLI)
    bucket.user("a-1.csv")
    with pytest.raises(ListingOutOfOrder, match=r"listed 'a-1.csv' after 'a/1.csv'"):
        manager.run(Trigger.CLI)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == 1


def test_object_replaced_after_listing_is_read_as_it_is_now(store: ObjectStore, bucket: TestBucket):
    bucket.put("1.csv", b"old")
    (stale,) = store.list_objects(bucket.name)
    bucket.put("1.csv", b"new content")
    found = store.fetch(bucket.name, stale)
    assert found is not None
    assert found.content == b"new content"
    assert found.source == next(store.list_objects(bucket.name))


def test_object_removed_since_the_listing_is_missing(store: ObjectStore, bucket: TestBucket):
    gone = SourceObject("gone.csv", "etag", 1, datetime.now(UTC))
    assert store.fetch(bucket.name, gone) is None


def test_a_stream_of_unknown_length_is_put_whole(store: ObjectStore, bucket: TestBucket):
    content = b"0123456789abcdef" * 1_000_000
    store.put_stream(bucket.name, "big", io.BytesIO(content), "text/plain")
    assert bucket.get("big") == content


def test_a_missing_bucket_is_named(store: ObjectStore):
    with pytest.raises(ConfigurationError, match="no-such-bucket") as caught:
        list(store.list_objects("no-such-bucket"))
    assert "datasets file" in caught.value.hint
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        store.fetch("no-such-bucket", SourceObject("1.csv", "e", 1, datetime.now(UTC)))


def test_wrong_credentials_are_named(settings: Settings):
    wrong = settings.model_copy(update={"s3_access_key": "nobody"})
    with pytest.raises(ConfigurationError, match="denied access") as caught:
        list(ObjectStore(wrong).list_objects(settings.source_bucket))
    assert "S3_ACCESS_KEY" in caught.value.hint


@pytest.mark.parametrize("verb", ["check", "list", "fetch", "put"])
def test_a_store_that_is_down_is_unavailable(settings: Settings, verb: str):
    down = ObjectStore(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    source = SourceObject("1.csv", "e", 1, datetime.now(UTC))
    calls = {
        "check": down.check,
        "list": lambda: list(down.list_objects("bucket")),
        "fetch": lambda: down.fetch("bucket", source),
        "put": lambda: down.put_stream("bucket", "k", io.BytesIO(b"x"), "text/plain"),
    }
    with pytest.raises(ObjectStoreUnavailable):
        calls[verb]()


def test_settings_in_part_are_refused():
    with pytest.raises(ConfigurationError, match="S3_SECRET_KEY"):
        ObjectStore(Settings(_env_file=None, s3_endpoint="http://127.0.0.1:9", s3_access_key="a"))

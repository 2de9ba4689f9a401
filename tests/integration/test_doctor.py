"""`doctor --store`: what a real store can do, stores that lack something, and no trace left."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import Result
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from etl.model.capabilities import Capability, CapabilityAnswer
from etl.model.errors import ConfigurationError, ObjectStoreUnavailable
from etl.settings import Settings
from etl.storage import probe
from etl.storage.client import ObjectStore
from etl.storage.probe import FOLDER, StoreProbe, StoreReport
from tests import capability_table
from tests.conftest import TestBucket, minio_client
from tests.forwarding import ForwardingHandler, ForwardingStore
from tests.stores import EMBEDDED, IN_BYTE_ORDER, VERSIONS, name_of_store

pytestmark = pytest.mark.storage

XML = [("Content-Type", "application/xml")]
NEED_A_PUT = {
    *(Capability.MULTIPART, Capability.SUBSCRIPTIONS, Capability.ENCRYPTION),
    *(Capability.CONDITIONAL_CREATION, Capability.CONDITIONAL_REPLACEMENT),
    Capability.CONDITIONAL_REMOVAL,
}


def error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()


def answers(report: StoreReport) -> dict[Capability, CapabilityAnswer]:
    return {one.capability: one.answer for one in report.findings}


def traces(settings: Settings, *, versions: bool = False) -> list[str | None]:
    """The keys of the document bucket, and buckets that a probe made."""
    client = minio_client(settings)
    found = client.list_objects(settings.document_bucket, recursive=True, include_version=versions)
    made = [one.name for one in client.list_buckets() if one.name.startswith("bucketline-doctor")]
    return [*(one.object_name for one in found), *made]


# -- the stores of the tests


def test_capability_table_is_true_of_this_store(settings: Settings):
    found = StoreProbe(settings).run().findings
    assert list(map(capability_table.cell, found)) == capability_table.documented(name_of_store())
    assert [one.capability for one in found] == list(Capability)


def test_capability_table_has_the_words_of_the_command():
    assert capability_table.meanings() == [
        (f"`{one}`: {one.meaning}", one.without) for one in Capability
    ]


def test_probe_leaves_nothing(settings: Settings):
    assert StoreProbe(settings).run().left == []
    assert traces(settings) == []


@pytest.mark.store(VERSIONS)
def test_probe_leaves_no_version(settings: Settings):
    client, name = minio_client(settings), settings.document_bucket
    client.set_bucket_versioning(name, VersioningConfig(ENABLED))
    client.set_bucket_versioning(settings.source_bucket, VersioningConfig(ENABLED))
    client.put_object(name, "theirs", io.BytesIO(b"x"), 1)
    report = StoreProbe(settings).run()
    (versioning,) = [one for one in report.findings if one.capability is Capability.VERSIONING]
    assert (versioning.answer, versioning.detail) == (
        CapabilityAnswer.YES,
        "enabled in the source bucket",
    )
    assert report.left == []
    assert traces(settings, versions=True) == ["theirs"]


def test_objects_of_a_killed_probe_are_removed_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    key = f"{FOLDER}killed/a"
    minio_client(settings).put_object(settings.document_bucket, key, io.BytesIO(b"x"), 1)
    StoreProbe(settings).run()
    assert traces(settings) == [key]
    monkeypatch.setattr(probe, "_LEFT_AFTER", -probe._LEFT_AFTER)  # noqa: SLF001 - as if an hour later
    StoreProbe(settings).run()
    assert traces(settings) == []


# -- stores that lack something


@contextmanager
def behaving(settings: Settings, answer: Callable[[ForwardingHandler], bool]) -> Iterator[Settings]:
    """The store, except for requests that `answer` answers."""

    class Handler(ForwardingHandler):
        def answer(self) -> None:
            if not answer(self):
                super().answer()

    with ForwardingStore(settings, Handler) as store, store.serving():
        yield store.settings


def refusing(code: str, status: int, *methods: str) -> Callable[[ForwardingHandler], bool]:
    def answer(handler: ForwardingHandler) -> bool:
        if handler.command not in methods:
            return False
        handler.body()
        handler.send(status, XML, error(code))
        return True

    return answer


def test_keys_that_may_only_read_leave_answers_unknown(settings: Settings, bucket: TestBucket):
    for number in range(9):
        bucket.put(f"{number}.csv", "content")
    with behaving(settings, refusing("AccessDenied", 403, "PUT", "POST", "DELETE")) as reading:
        report = StoreProbe(reading).run()
    found = answers(report)
    assert "denied access" in report.denial
    assert {one for one in NEED_A_PUT if found[one] is not CapabilityAnswer.UNKNOWN} == set()
    seen = (Capability.KEY_ORDER, Capability.RANGES, Capability.PRESIGNED_URLS)
    assert {found[one] for one in seen} == {CapabilityAnswer.YES}
    assert found[Capability.PRECISE_TIMES] is (
        CapabilityAnswer.YES if name_of_store() == EMBEDDED else CapabilityAnswer.NO
    )
    assert report.is_usable
    assert bucket.keys() == [f"{number}.csv" for number in range(9)]


def test_empty_bucket_that_may_only_be_read_says_little(settings: Settings):
    with behaving(settings, refusing("AccessDenied", 403, "PUT", "POST", "DELETE")) as reading:
        found = answers(StoreProbe(reading).run())
    assert found[Capability.KEY_ORDER] is found[Capability.RANGES] is CapabilityAnswer.UNKNOWN


def without_ranges(settings: Settings) -> Callable[[ForwardingHandler], bool]:
    store = ObjectStore(settings)

    def answer(handler: ForwardingHandler) -> bool:
        if "Range" not in handler.headers:
            return False
        name, _, key = handler.path.removeprefix("/").partition("/")
        source = store.stat(name, key)
        assert source
        found = store.fetch(name, source)
        assert found
        handler.send(200, [("ETag", f'"{source.etag}"')], found.content)
        return True

    return answer


def without_parts(handler: ForwardingHandler) -> bool:
    return refusing("NotImplemented", 501, "POST")(handler)


def reversed_listing(handler: ForwardingHandler) -> bool:
    """CapabilityAnswer a listing with two keys in descending order."""
    prefix = parse_qs(urlsplit(handler.path).query).get("prefix", [""])[0]
    if not prefix.startswith(FOLDER) or prefix == FOLDER:
        return False
    keys = "".join(
        f"<Contents><Key>{prefix}{key}</Key><Size>1</Size><ETag>e</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key in "ba"
    )
    body = f"<Name>b</Name><IsTruncated>false</IsTruncated>{keys}"
    handler.send(200, XML, f"<ListBucketResult>{body}</ListBucketResult>".encode())
    return True


def test_store_without_what_is_required_is_not_usable(settings: Settings):
    for capability, answer in {
        Capability.RANGES: without_ranges(settings),
        Capability.MULTIPART: without_parts,
        Capability.KEY_ORDER: reversed_listing,
    }.items():
        with behaving(settings, answer) as lacking:
            report = StoreProbe(lacking).run()
        assert answers(report)[capability] is CapabilityAnswer.NO, capability
        assert not report.is_usable


def test_response_that_cannot_be_read_leaves_its_answer_unknown(settings: Settings):
    def answer(handler: ForwardingHandler) -> bool:
        if "versioning" not in handler.path:
            return False
        handler.send(200, XML, b"<html>")
        return True

    with behaving(settings, answer) as odd:
        report = StoreProbe(odd).run()
    (found,) = [one for one in report.findings if one.capability is Capability.VERSIONING]
    assert found.answer is CapabilityAnswer.UNKNOWN
    assert "cannot be read" in found.detail


def test_missing_document_bucket_is_the_reason(settings: Settings):
    odd = settings.model_copy(update={"document_bucket": f"{settings.document_bucket}-x"})
    report = StoreProbe(odd).run()
    assert f"{odd.document_bucket!r} does not exist" in report.denial
    assert answers(report)[Capability.MULTIPART] is CapabilityAnswer.UNKNOWN


def test_bucket_that_may_not_be_listed_is_an_error(settings: Settings):
    denied = refusing("AccessDenied", 403, "GET", "HEAD")
    with behaving(settings, denied) as closed, pytest.raises(ConfigurationError) as caught:
        StoreProbe(closed).run()
    assert "permissions" in caught.value.hint


def test_store_that_is_down_is_unavailable(settings: Settings):
    with pytest.raises(ObjectStoreUnavailable):
        StoreProbe(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})).run()


def test_nothing_is_tried_after_the_time_limit(settings: Settings):
    report = StoreProbe(settings, limit_seconds=0).run()
    assert set(answers(report).values()) == {CapabilityAnswer.UNKNOWN}
    assert "time limit of 0 s" in report.findings[0].detail
    assert traces(settings) == []


# -- the command


def test_command_prints_each_capability_as_json(command: Callable[..., Result], settings: Settings):
    result = command("doctor", "--store", "--json")
    found = json.loads(result.stdout)
    assert [one["capability"] for one in found["capabilities"]] == list(Capability)
    assert (found["endpoint"], found["not_removed"]) == (settings.s3_endpoint, [])
    assert found["is_usable"] is (result.exit_code == 0)


@pytest.mark.store(IN_BYTE_ORDER)
def test_command_says_what_happens_without_a_capability(command: Callable[..., Result]):
    result = command("doctor", "--store")
    assert result.exit_code == 0
    assert "  yes     Accepts presigned URLs" in result.stdout
    assert "  conditional-removal: The API answers a request with this" in result.stdout
    assert result.stdout.endswith("Bucketline works with this store.\n")


def test_command_fails_if_something_required_is_missing(
    command: Callable[..., Result], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    with behaving(settings, without_parts) as lacking:
        monkeypatch.setenv("S3_ENDPOINT", str(lacking.s3_endpoint))
        result = command("doctor", "--store")
    assert result.exit_code == 1
    assert "This store lacks what Bucketline requires:" in result.stdout
    assert "multipart" in result.stdout.splitlines()[-1]


def test_command_asks_what_to_examine(command: Callable[..., Result]):
    result = command("doctor")
    assert result.exit_code == 2
    assert "--store" in result.output

"""Requests to the store: their signatures, and the pages of a listing."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote_plus, urlsplit
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from etl.runtime.signing import signed_headers
from etl.storage.requests import Page, StoreRequests, parse_page

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/",
        "http://127.0.0.1:9000/a-bucket",
        "https://store.example/a-bucket/a%20b/%C3%A9+~.csv",
        "https://store.example/b?delimiter=&list-type=2&prefix=a%2Fb%20c",
    ],
)
def test_signatures_are_those_of_the_s3_client(method: str, url: str):
    ours = signed_headers(method, url, access_key="a", secret_key="s", region="eu-x", now=NOW)
    unsigned = {name: value for name, value in ours.items() if name != "Authorization"}
    theirs = sign_v4_s3(
        method=method,
        url=urlsplit(url),
        region="eu-x",
        headers=unsigned,
        credentials=Credentials("a", "s"),
        content_sha256=ours["x-amz-content-sha256"],
        date=NOW,
    )
    assert ours == theirs


def page(keys: list[str], *, end: str, encoding: str = "", namespace: str = NAMESPACE) -> Page:
    """The page parsed from a response with these keys, as they are spelled in it."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>3</Size><ETag>&quot;e{place}&quot;</ETag>"
        "<LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents>"
        for place, key in enumerate(keys)
    )
    root = f'ListBucketResult xmlns="{namespace}"' if namespace else "ListBucketResult"
    return parse_page(f"<{root}>{encoding}{end}{entries}</ListBucketResult>".encode())


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_keys_of_any_characters_are_decoded(keys: list[str]):
    encoded = [quote_plus(key) for key in keys]
    found = page(encoded, end="", encoding="<EncodingType>url</EncodingType>")
    assert [row[0] for row in found.rows] == keys


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_entry_has_key_etag_size_and_time(namespace: str):
    found = page(["a+b%20c"], end="<IsTruncated>false</IsTruncated>", namespace=namespace)
    modified = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert found == Page([("a+b%20c", "e0", 3, modified)], is_last=True, token=None)


class Answers:
    """Stands for the connections: answers each request with the next body."""

    def __init__(self, *bodies: str) -> None:
        self.urls: list[str] = []
        self._bodies = list(bodies)

    def request(self, _method: str, url: str, *, headers: dict[str, str]) -> Answers:  # noqa: ARG002
        self.urls.append(url)
        return self

    status = 200

    @property
    def data(self) -> bytes:
        return self._bodies.pop(0).encode()


def body(*keys: str, end: str) -> str:
    entries = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>e</ETag>"
        "<LastModified>2026-01-02T03:04:05Z</LastModified></Contents>"
        for key in keys
    )
    return f"<ListBucketResult>{end}{entries}</ListBucketResult>"


CUT = "<IsTruncated>true</IsTruncated>"


@pytest.mark.parametrize(
    ("end", "continued"),
    [
        (f"{CUT}<NextContinuationToken>t/1</NextContinuationToken>", "continuation-token=t%2F1"),
        (CUT, "start-after=b"),  # a store without tokens
    ],
)
def test_listing_continues_where_its_page_ended(end: str, continued: str):
    answers = Answers(body("a", "b", end=end), body("c", end=""))
    requests = StoreRequests("http://store", "a", "s", "eu-x", answers)  # type: ignore[arg-type]
    assert [row[0] for row in requests.list("bucket", after="0")] == ["a", "b", "c"]
    first, second = answers.urls
    assert "start-after=0" in first
    assert continued in second
    assert "start-after=0" not in second


def test_listing_that_is_cut_short_and_has_no_entry_ends():
    answers = Answers(body(end=CUT))
    requests = StoreRequests("http://store", "a", "s", "eu-x", answers)  # type: ignore[arg-type]
    assert list(requests.list("bucket")) == []

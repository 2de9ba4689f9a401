"""The path that selects a route, from the WSGI environment of a request."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.addresses import marked_path

MARK = "\udc2f"


def environ(uri: str, path: str | None = None) -> dict[str, str]:
    decoded = unquote_to_bytes(uri.encode("latin-1")).decode("latin-1") if path is None else path
    return {"REQUEST_URI": uri, "PATH_INFO": decoded}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2))
def test_parts_between_encoded_slashes_are_restored_unchanged(parts: list[str]):
    uri = "/data/" + "%2F".join(quote(part, safe="") for part in parts)
    path = f"/data/{'/'.join(parts)}".encode().decode("latin-1")
    marked = marked_path(environ(uri, path))
    assert marked is not None
    assert marked.replace(MARK, "/") == f"/data/{'/'.join(parts)}"
    assert marked.count(MARK) == len(parts) - 1 + sum(part.count("/") for part in parts)


@pytest.mark.parametrize(
    ("uri", "path", "marked"),
    [
        ("/data/a%2fb?x=%2F#y", "/data/a/b", f"/data/a{MARK}b"),
        ("http://host:1/data/a%2Fb", "/data/a/b", f"/data/a{MARK}b"),
        ("//data/a%2Fb", "/data/a/b", f"//data/a{MARK}b"),
        ("/data/\xc3\xa4%2F", "/data/\xc3\xa4/", f"/data/ä{MARK}"),
        ("/data/%252F", "/data/%2F", None),
        ("/data/a/b", "/data/a/b", None),
        ("/prefix/data/a%2Fb", "/data/a/b", None),  # mounted below a prefix
        ("", "/data/a/b", None),
    ],
)
def test_only_encoded_slashes_of_the_same_path_are_marked(uri: str, path: str, marked: str | None):
    assert marked_path(environ(uri, path)) == marked

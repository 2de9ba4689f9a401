"""An ETag is the same whether a listing, a response or a proxy wrote it."""

from __future__ import annotations

import pytest

from etl.model.etags import bare_etag


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ('"0cc175b9"', "0cc175b9"),
        ("0cc175b9", "0cc175b9"),
        ('W/"0cc175b9"', "0cc175b9"),  # a proxy that may compress responses
        ('"0cc175b9-12"', "0cc175b9-12"),  # of a multipart upload
        ('""', ""),
        ("", ""),
        (None, ""),
    ],
)
def test_quotes_and_weak_prefix_are_removed(written: str | None, bare: str):
    assert bare_etag(written) == bare

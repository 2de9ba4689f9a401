"""Signed requests, compared with those of the minio client."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from minio.credentials.credentials import Credentials
from minio.signer import _sign_v4

from etl.runtime.signing import Signer

words = st.from_regex(r"\A[!-~]{1,30}\Z")
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 - made UTC below


@given(
    method=st.sampled_from(["GET", "POST"]),
    host=st.from_regex(r"\A[a-z0-9-]{1,20}(\.[a-z]{2,8}){0,3}(:[1-9][0-9]{0,3})?\Z"),
    body=st.binary(max_size=200),
    keys=st.tuples(words, words),
    place=st.tuples(st.sampled_from(["sqs", "s3"]), st.from_regex(r"\A[a-z]{2}-[a-z]{4}-[1-9]\Z")),
    target=words,
    moment=moments,
)
def test_signature_is_that_of_another_client(  # noqa: PLR0913, PLR0917 - the parts of a request
    method: str,
    host: str,
    body: bytes,
    keys: tuple[str, str],
    place: tuple[str, str],
    target: str,
    moment: datetime,
):
    service, region = place
    sent = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target}
    signer = Signer(service, region, *keys)
    ours = signer.headers(method, host, moment.replace(tzinfo=UTC), body=body, headers=sent)
    authorization = ours.pop("authorization")

    theirs = _sign_v4(
        service_name=service,
        method=method,
        url=urlsplit(f"https://{host}/"),
        region=region,
        headers=dict(ours),
        credentials=Credentials(*keys),
        content_sha256=ours["x-amz-content-sha256"],
        date=moment.replace(tzinfo=UTC),
    )
    assert authorization == theirs["Authorization"]

"""The addresses of buckets, which all clients share."""

from __future__ import annotations

import pytest

from etl.settings import Settings
from etl.storage.endpoint import Endpoint

AMAZON = "https://s3.amazonaws.com"
KEPT = ("endpoint", "virtual_hosted_style_request")


def endpoint(url: str, **more: object) -> Endpoint:
    return Endpoint.of(
        Settings(_env_file=None, s3_endpoint=url, s3_access_key="a", s3_secret_key="s", **more)
    )


@pytest.mark.parametrize(
    ("url", "addressing", "bucket", "host", "is_virtual"),
    [
        (AMAZON, "auto", "b-1", "b-1.s3.eu-west-1.amazonaws.com", True),
        (AMAZON, "path", "b-1", "s3.eu-west-1.amazonaws.com", False),
        ("https://s3.eu-west-1.amazonaws.com", "auto", "b", "b.s3.eu-west-1.amazonaws.com", True),
        (AMAZON, "auto", "with.dots", "s3.eu-west-1.amazonaws.com", False),
        ("https://oss-eu.aliyuncs.com", "auto", "b-1", "b-1.oss-eu.aliyuncs.com", True),
        ("https://s3.example.com", "auto", "b-1", "s3.example.com", False),
        ("https://s3.example.com:9000", "virtual", "b-1", "b-1.s3.example.com:9000", True),
        ("http://s3.example.com", "virtual", "with.dots", "with.dots.s3.example.com", True),
        ("http://127.0.0.1:9000", "auto", "b-1", "127.0.0.1:9000", False),
    ],
)
def test_all_clients_use_the_same_address(
    url: str,
    addressing: str,
    bucket: str,
    host: str,
    is_virtual: bool,  # noqa: FBT001
):
    found = endpoint(url, s3_addressing=addressing, s3_region="eu-west-1")
    scheme = url.partition(":")[0]
    path = "" if is_virtual else f"/{bucket}"
    assert found.address(bucket, "a/é.csv").geturl() == f"{scheme}://{host}{path}/a/%C3%A9.csv"
    assert found.is_virtual_host(bucket) is is_virtual
    config = found.bulk_config(bucket)
    assert tuple(config[name] for name in KEPT) == (f"{scheme}://{host}", is_virtual)


def test_a_bucket_is_created_by_its_path():
    found = endpoint(AMAZON, s3_region="eu-west-1").address("b-1", method="PUT")
    assert found.geturl() == "https://s3.eu-west-1.amazonaws.com/b-1"


def test_no_secret_is_shown_when_an_endpoint_is_printed():
    found = endpoint(AMAZON)
    assert "secret_key" not in repr(found)

"""Headers that stores of Amazon's kind need with requests, from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etl.settings.model import Settings

PAYER = "x-amz-request-payer"
ENCRYPTION = "x-amz-server-side-encryption"
ENCRYPTION_KEY = "x-amz-server-side-encryption-aws-kms-key-id"


def virtual_hosts(settings: Settings) -> bool | None:
    """Whether buckets are addressed as host names; None if that depends on the endpoint."""
    return None if settings.s3_addressing == "auto" else settings.s3_addressing == "virtual"


def request_headers(settings: Settings) -> dict[str, str]:
    """The headers of every request to a bucket."""
    return {PAYER: "requester"} if settings.s3_requester_pays else {}


def put_headers(settings: Settings) -> dict[str, str]:
    """The headers of every request that creates an object."""
    headers = {ENCRYPTION: settings.s3_sse, ENCRYPTION_KEY: settings.s3_sse_kms_key_id}
    return {name: value for name, value in headers.items() if value}

"""AWS Signature Version 4 for one request: the readiness check of the embedded object store.

Not `minio.signer`: importing it loads the S3 client and would double the supervisor's start time.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"


def list_buckets_headers(
    host: str, access_key: str, secret_key: str, region: str, now: datetime
) -> dict[str, str]:
    """Return the headers of a signed `GET /` (ListBuckets) to `host` at `now` (UTC).

    Source:  AWS Signature Version 4, "Create a signed AWS API request".
    """
    time = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    request = (
        f"GET\n/\n\nhost:{host}\nx-amz-content-sha256:{_EMPTY_HASH}\n"
        f"x-amz-date:{time}\n\n{_SIGNED}\n{_EMPTY_HASH}"
    )
    to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = reduce(_hmac, scope.split("/"), f"AWS4{secret_key}".encode())
    return {
        "Host": host,
        "x-amz-content-sha256": _EMPTY_HASH,
        "x-amz-date": time,
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={_SIGNED}, "
            f"Signature={_hmac(key, to_sign).hex()}"
        ),
    }


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

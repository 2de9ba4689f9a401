"""Just enough of AWS Signature Version 4 to ask our own object store whether it is ready.

The supervisor starts in front of every command; a whole S3 client would double its start.
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
    """The headers of an authenticated `GET /` (ListBuckets) to `host`, signed at `now` (UTC).

    Source:  AWS Signature Version 4, "Create a signed AWS API request".
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    request = (
        f"GET\n/\n\nhost:{host}\nx-amz-content-sha256:{_EMPTY_HASH}\n"
        f"x-amz-date:{moment}\n\n{_SIGNED}\n{_EMPTY_HASH}"
    )
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = reduce(_hmac, scope.split("/"), f"AWS4{secret_key}".encode())
    return {
        "Host": host,
        "x-amz-content-sha256": _EMPTY_HASH,
        "x-amz-date": moment,
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={_SIGNED}, "
            f"Signature={_hmac(key, to_sign).hex()}"
        ),
    }


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

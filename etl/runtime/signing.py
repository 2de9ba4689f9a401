"""AWS Signature Version 4 for requests to `/`: SQS, and the readiness check of the embedded store.

Not `minio.signer`: it signs for S3 and STS only, and importing it loads the S3 client, which would
double the supervisor's start time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one service, such as `sqs`, in one region."""

    service: str
    region: str
    access_key: str
    secret_key: str

    def headers(
        self,
        method: str,
        host: str,
        now: datetime,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Return the headers of a signed request to `/` of `host` at `now` (UTC).

        They are `headers`, with names in lower case, those that every request needs, and the
        signature of all of them.

        Source:  AWS Signature Version 4, "Create a signed AWS API request".
        """
        time = now.strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        sent |= {"host": host, "x-amz-content-sha256": digest, "x-amz-date": time}
        names = sorted(sent)
        signed = ";".join(names)
        lines = "".join(f"{name}:{sent[name]}\n" for name in names)
        request = f"{method}\n/\n\n{lines}\n{signed}\n{digest}"
        scope = f"{time[:8]}/{self.region}/{self.service}/aws4_request"
        to_sign = (
            f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        )
        key = reduce(_hmac, scope.split("/"), f"AWS4{self.secret_key}".encode())
        sent["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={signed}, "
            f"Signature={_hmac(key, to_sign).hex()}"
        )
        return sent


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

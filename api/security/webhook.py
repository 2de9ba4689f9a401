"""WEBHOOK_TOKEN: which senders of bucket notifications are accepted."""

from __future__ import annotations

import hmac
from base64 import b64decode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def has_token(authorization: str, tokens: Iterable[str]) -> bool:
    """Whether an Authorization header holds one of the tokens, compared in constant time.

    SNS sends the password in the URL of its subscription, as `Basic`.
    """
    token = _token(authorization)
    matches = [hmac.compare_digest(token, valid.encode()) for valid in tokens]
    return any(matches)


def _token(authorization: str) -> bytes:
    scheme, _, rest = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip().encode()
        case "basic":
            return _password(rest)
        case _:
            return authorization.strip().encode()


def _password(credentials: str) -> bytes:
    """The password of Basic credentials; empty if they are not valid."""
    try:
        return b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""

"""WEBHOOK_TOKEN: which senders of bucket notifications are accepted."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def has_token(authorization: str, tokens: Iterable[str]) -> bool:
    """Whether an Authorization header holds one of the tokens, compared in constant time."""
    scheme, _, rest = authorization.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else authorization.strip()
    matches = [hmac.compare_digest(token.encode(), valid.encode()) for valid in tokens]
    return any(matches)

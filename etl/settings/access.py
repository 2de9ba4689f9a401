"""The settings of who may use the API, and how much: their types and checks."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from etl.model.roles import parse_entries
from etl.settings.values import listed, matching

_TOKEN_LENGTH = 16
_ORIGIN = r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]:(r|rw)"


def _are_long(tokens: SecretStr) -> SecretStr:
    lengths = map(len, listed(tokens.get_secret_value()))
    if min(lengths, default=0) < _TOKEN_LENGTH:
        raise ValueError(f"each token must have {_TOKEN_LENGTH} characters or more")
    return tokens


def _are_entries(keys: SecretStr) -> SecretStr:
    parse_entries(keys.get_secret_value())
    return keys


_is_a_rate = matching(r"[1-9][0-9]{0,8}/[smhd]", "write a number and s, m, h or d, such as 600/m")
_are_origins = matching(
    rf"\s*{_ORIGIN}\s*(,\s*{_ORIGIN}\s*)*",
    "write scheme, host and port of each, such as https://app.example.com",
)
_have_rights = matching(
    rf"(\s*{_BUCKET}\s*(,\s*{_BUCKET}\s*)*)?", "write bucket:r or bucket:rw, comma-separated"
)

Tokens = Annotated[SecretStr, AfterValidator(_are_long)]
Keys = Annotated[SecretStr, AfterValidator(_are_entries)]
RateLimit = Annotated[str, AfterValidator(_is_a_rate)]
Origins = Annotated[str, AfterValidator(_are_origins)]
BucketRights = Annotated[str, AfterValidator(_have_rights)]

"""The settings of who may use the API, and how much: their types and checks."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from etl.model.roles import parse_entries
from etl.settings.values import listed

_TOKEN_LENGTH = 16
_RATE = re.compile(r"[1-9][0-9]{0,8}/[smhd]")
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?")
_BUCKET_RIGHTS = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]:(r|rw)")


def _are_long(tokens: SecretStr) -> SecretStr:
    lengths = map(len, listed(tokens.get_secret_value()))
    if min(lengths, default=0) < _TOKEN_LENGTH:
        raise ValueError(f"each token must have {_TOKEN_LENGTH} characters or more")
    return tokens


def _are_entries(keys: SecretStr) -> SecretStr:
    parse_entries(keys.get_secret_value())
    return keys


def _is_a_rate(text: str) -> str:
    if not _RATE.fullmatch(text):
        raise ValueError("write a number and s, m, h or d, such as 600/m")
    return text


def _are_origins(text: str) -> str:
    if not all(_ORIGIN.fullmatch(origin.strip()) for origin in text.split(",")):
        raise ValueError("write scheme, host and port of each, such as https://app.example.com")
    return text


def _have_rights(text: str) -> str:
    entries = text.split(",") if text else []
    if not all(_BUCKET_RIGHTS.fullmatch(entry.strip()) for entry in entries):
        raise ValueError("write bucket:r or bucket:rw, comma-separated")
    return text


Tokens = Annotated[SecretStr, AfterValidator(_are_long)]
Keys = Annotated[SecretStr, AfterValidator(_are_entries)]
RateLimit = Annotated[str, AfterValidator(_is_a_rate)]
Origins = Annotated[str, AfterValidator(_are_origins)]
BucketRights = Annotated[str, AfterValidator(_have_rights)]

"""Settings that say where something is: URLs, endpoints, buckets and schemas."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from etl.model.bucket_names import BUCKET_NAMES, is_bucket_name
from etl.settings.values import matching

_PORTS = 1 << 16
_ENDPOINT = re.compile(r"https?://[^/?#@\s:\[\]]+(?::(\d{1,5}))?/?")


def parse_endpoint(text: str) -> str:
    """`http://host:port` without a slash at the end."""
    match = _ENDPOINT.fullmatch(text)
    if match is None or not 0 < int(match[1] or 1) < _PORTS:
        raise ValueError("write only scheme, host and port, such as http://127.0.0.1:9000")
    return text.rstrip("/")


def _is_a_bucket(text: str) -> str:
    if not is_bucket_name(text):
        raise ValueError(f"write {BUCKET_NAMES}")
    return text


def _check_url(text: str) -> None:
    hint = "write http:// or https://, a host and a path, without user and password"
    if not re.fullmatch(r"https?://[!-~]+", text) or re.search(r"[\"<>\\^`{|}]", text):
        raise ValueError(hint)
    try:
        parts = urlsplit(text)
        is_valid = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError as error:  # of the port
        raise ValueError(hint) from error
    if not is_valid:
        raise ValueError(hint)


def _url(text: str) -> str:
    _check_url(text)
    return text


def _secret_url(secret: SecretStr) -> SecretStr:
    _check_url(secret.get_secret_value())
    return secret


parse_dask_address = matching(
    r"local|(tcp|tls)://[^/?#@\s]+:[1-9]\d{0,4}",
    "write an address such as tcp://127.0.0.1:8786, or local",
)
_is_a_collector = matching(
    r"https?://[^/?#@\s]+(/[^?#\s]*)?", "write a URL such as http://127.0.0.1:4318"
)
_is_a_schema = matching(
    r"(?!pg_|information_schema$)[A-Za-z_][A-Za-z0-9_-]{0,62}",
    "write a letter or _ and then up to 62 letters, digits, - and _; PostgreSQL"
    " reserves pg_ and information_schema",
)

Endpoint = Annotated[str, AfterValidator(parse_endpoint)]
CollectorUrl = Annotated[str, AfterValidator(_is_a_collector)]
DaskAddress = Annotated[str, AfterValidator(parse_dask_address)]
BucketName = Annotated[str, AfterValidator(_is_a_bucket)]
SchemaName = Annotated[str, AfterValidator(_is_a_schema)]
Url = Annotated[str, AfterValidator(_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]

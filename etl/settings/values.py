"""Parsers for the text of settings: times, sizes, lists and options."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from etl.model.dates import DAY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_SIZE = 16  # pixels
LARGEST_SIZE = 2048
SHORTEST_KEY = 16  # characters
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS}
_PREFIXES = "KMGT"
_LONGEST_SECONDS = 365 * DAY_SECONDS
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def matching(pattern: str, hint: str) -> Callable[[str], str]:
    """A check that returns a text unchanged if all of it matches, else raises ValueError(hint)."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(hint)
        return text

    return check


def parse_duration(text: object) -> object:
    """`25m`, `60s`, `1.5h` or `500ms` as a timedelta; returns other types unchanged."""
    if not isinstance(text, str):
        return text
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("write a number and a unit, such as 60s, 25m or 1.5h")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST_SECONDS:
        raise ValueError("the longest time is 365d")
    return timedelta(seconds=seconds)


def duration_text(duration: timedelta) -> str:
    """The time as a setting's text, in the largest unit that gives a whole number."""
    for unit, seconds in reversed(_UNITS.items()):
        count, rest = divmod(duration, timedelta(seconds=seconds))
        if not rest:
            return f"{count}{unit}"
    return f"{duration / timedelta(milliseconds=1)}ms"


def size_text(count: int) -> str:
    """The bytes as a setting's text, in the largest unit that gives a whole number."""
    decimal = {f"{prefix}B": 1000**power for power, prefix in enumerate(_PREFIXES, start=1)}
    binary = {f"{prefix}iB": 1024**power for power, prefix in enumerate(_PREFIXES, start=1)}
    units = {unit: size for unit, size in (decimal | binary).items() if count % size == 0}
    unit = max(units, key=units.__getitem__, default="") if count else ""
    return f"{count // units[unit]}{unit}" if unit else str(count)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


def _is_an_interval(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("the minimum is 1s")
    return value


def _is_a_timeout(value: timedelta) -> timedelta:
    if not timedelta(seconds=0.1) <= value <= timedelta(minutes=10):
        raise ValueError("write a time from 100ms to 10m")
    return value


def _is_a_debounce_window(value: timedelta) -> timedelta:
    if value > timedelta(minutes=1):
        raise ValueError("the maximum is 1m")
    return value


Interval = Annotated[Duration, AfterValidator(_is_an_interval)]
Timeout = Annotated[Duration, AfterValidator(_is_a_timeout)]
DebounceWindow = Annotated[Duration, AfterValidator(_is_a_debounce_window)]

SHORTEST_RETENTION = timedelta(hours=1)
FOREVER = "forever"


def parse_retention(text: object) -> object:
    """`90d` as a timedelta, `forever` as None; returns other types unchanged."""
    if isinstance(text, str) and text.strip().lower() == FOREVER:
        return None
    try:
        age = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}; or {FOREVER}") from error
    if isinstance(age, timedelta) and age < SHORTEST_RETENTION:
        raise ValueError(f"the shortest time to keep rows is 1h; write {FOREVER} to keep all")
    return age


Retention = Annotated[timedelta | None, BeforeValidator(parse_retention)]

# Options of librdkafka that have their own setting, or that delivery guarantees depend on.
_RESERVED_KAFKA_OPTIONS = {
    "acks",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "metadata.broker.list",
    "request.required.acks",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
}


def parse_options(text: object) -> object:
    """`name=value; name=value` as a dict; returns other types unchanged."""
    if not isinstance(text, str):
        return text
    options = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, found, value = part.partition("=")
        if not found:
            raise ValueError("write name=value; name=value")
        options[name.strip()] = value.strip()
    reserved = sorted(_RESERVED_KAFKA_OPTIONS & set(options))
    if reserved:
        raise ValueError(f"{', '.join(reserved)} cannot be set here")
    return options


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


SecurityProtocol = Annotated[
    Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], BeforeValidator(_lower)
]


Addressing = Literal["auto", "path", "virtual"]
Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]


def parse_sizes(value: object) -> object:
    """`256,64` as (256, 64); returns other types unchanged."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"\s*\d{1,4}\s*(,\s*\d{1,4}\s*)*", value):
        raise ValueError("write comma-separated whole numbers, such as 256,64")
    sizes = tuple(sorted({int(size) for size in value.split(",")}, reverse=True))
    if not LEAST_SIZE <= sizes[-1] <= sizes[0] <= LARGEST_SIZE:
        raise ValueError(f"sizes must be from {LEAST_SIZE} to {LARGEST_SIZE}")
    return sizes


# NoDecode, because pydantic-settings would parse lists and tables as JSON.
Options = Annotated[dict[str, str], NoDecode, BeforeValidator(parse_options)]
Sizes = Annotated[tuple[int, ...], NoDecode, BeforeValidator(parse_sizes)]


def _long(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_KEY:
        raise ValueError(f"it must have {SHORTEST_KEY} characters or more")
    return secret


SigningKey = Annotated[SecretStr, AfterValidator(_long)]


def listed(text: str) -> list[str]:
    """The nonblank parts of comma-separated text."""
    return [part.strip() for part in text.split(",") if part.strip()]

"""The settings of a process as people may see them: secrets are left out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream
from pydantic import ByteSize, SecretStr

from etl.model.errors import ConfigurationError
from etl.settings.env_text import read_env_text
from etl.settings.model import Settings
from etl.settings.values import FOREVER, duration_text, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

MASKED = "set, not shown"


class SettingOrigin(StrEnum):
    """Where the value of a setting comes from."""

    ENVIRONMENT = "environment"
    FILE = ".env"
    DEFAULT = "default"
    PROGRAM = "set by Bucketline"  # such as the address of an embedded server


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """A setting: `value` is its text, empty if it is not set, and MASKED if it is secret."""

    name: str
    value: str
    origin: SettingOrigin
    description: str


def effective_settings(settings: Settings) -> list[EffectiveSetting]:
    """All settings with their values and origins, in the order of `Settings`."""
    in_environment = {name.upper() for name, value in os.environ.items() if value}
    in_file = _names_in_file()
    found = []
    for name, field in Settings.model_fields.items():
        value, variable = getattr(settings, name), name.upper()
        is_set = name in settings.model_fields_set
        if is_set and variable in in_environment:
            origin = SettingOrigin.ENVIRONMENT
        elif is_set and variable in in_file:
            origin = SettingOrigin.FILE
        elif value == field.get_default(call_default_factory=True, validated_data={}):
            origin = SettingOrigin.DEFAULT
        else:
            origin = SettingOrigin.PROGRAM
        found.append(
            EffectiveSetting(variable, _text(name, value), origin, field.description or "")
        )
    return found


def _names_in_file() -> set[str]:
    """The variables with a value in `.env`; none if it cannot be read any more."""
    try:
        bindings = parse_stream(StringIO(read_env_text()))
        return {one.key.upper() for one in bindings if one.key and one.value}
    except ConfigurationError:
        return set()


def _text(name: str, value: object) -> str:
    """The value as it would be written in `.env`."""
    match value:
        case SecretStr():
            text = MASKED
        case dict():
            text = _options(value)
        case timedelta():
            text = duration_text(value)
        case ByteSize():
            text = size_text(value)
        case tuple():
            text = ",".join(map(str, value))
        case None:
            text = FOREVER if name.endswith("_retention") else ""
        case bool():
            text = str(value).lower()
        case _:
            text = str(value)
    return text


def _options(options: Mapping[str, str]) -> str:
    """The names of options; their values may be passwords."""
    return "; ".join(f"{name}=…" for name in options)

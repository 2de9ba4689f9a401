"""Reads the settings from the environment and `.env`, and explains invalid ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from etl.model.errors import ConfigurationError
from etl.settings.env_text import read_env_text, refuse_broken_lines
from etl.settings.model import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

EMBEDDED_MARK = "BUCKETLINE_EMBEDDED"
_ADDRESSES = {
    "object_store": ("s3_endpoint", "s3_access_key", "s3_secret_key"),
    "postgres": ("database_url",),
}
_NUMBER = "write a whole number, such as {default}"
_SIZE = "write a number of bytes, or a size such as 10MB"
_HINTS = {
    "int_parsing": _NUMBER,
    "int_parsing_size": _NUMBER,
    "bool_parsing": "write 1 or 0, or true or false",
    "byte_size": _SIZE,
    "byte_size_unit": _SIZE,
    "literal_error": "write {expected}",
    "greater_than_equal": "write {ge} or more",
    "less_than_equal": "write {le} or less",
}


def read_settings() -> Settings:
    """The settings of this process, from the environment and `.env`.

    Raises:  ConfigurationError with each invalid variable and how to correct it, or with the
             line of `.env` that cannot be parsed.
    """
    refuse_broken_lines(read_env_text())
    try:
        return Settings(**_without_embedded())
    except ValidationError as error:
        faults = [
            _assignment(str(fault["loc"][0]), fault["input"]) + ": " + _hint(fault)
            for fault in error.errors()
        ]
        raise ConfigurationError(
            "Settings are wrong. " + "; ".join(faults) + ".",
            hint="Correct them in the environment or in .env; .env.example lists all settings.",
        ) from error


def embedded_mark(settings: Settings) -> str:
    """The variable that `env` exports to mark the addresses as those of embedded servers."""
    names = [
        name
        for name, is_embedded in (
            ("object_store", settings.embeds_object_store),
            ("postgres", settings.embeds_database),
        )
        if is_embedded
    ]
    return f"{','.join(names)}:{settings.local_dir.resolve()}"


def _without_embedded() -> dict[str, Any]:
    """Unset the addresses that `env` exported for the embedded servers of this LOCAL_DIR.

    Otherwise they would count as external servers, and the embedded ones would never start.
    """
    names, _, where = os.environ.get(EMBEDDED_MARK, "").partition(":")
    if not where or Path(where) != Settings().local_dir.resolve():
        return {}
    return {field: None for name in names.split(",") for field in _ADDRESSES.get(name, ())}


def _assignment(field: str, value: object) -> str:
    """The variable with its value, unless the value is secret."""
    is_secret = "SecretStr" in str(Settings.model_fields[field].annotation)
    return field.upper() if is_secret else f"{field.upper()}={value!r}"


def _hint(fault: ErrorDetails) -> str:
    """What to write instead, in our words for pydantic's errors too."""
    hint = _HINTS.get(fault["type"])
    if hint is None:
        return fault["msg"].removeprefix("Value error, ")
    default = Settings.model_fields[str(fault["loc"][0])].default
    return hint.format(default=default, **fault.get("ctx", {}))

"""Reading the settings once, from the environment and `.env`."""

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
_ADVICE = {
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

    Raises:  ConfigurationError naming each variable that is wrong, and what it should be, or the
             line of `.env` that cannot be read.
    """
    refuse_broken_lines(read_env_text())
    try:
        return Settings(**_without_embedded(Settings().local_dir))
    except ValidationError as error:
        faults = [
            _named(str(fault["loc"][0]), fault["input"]) + ": " + _advice(fault)
            for fault in error.errors()
        ]
        raise ConfigurationError(
            "Settings are wrong. " + "; ".join(faults) + ".",
            hint="Mend them in the environment or in .env; .env.example shows every one.",
        ) from error


def embedded_mark(settings: Settings) -> str:
    """What `env` exports beside addresses of embedded servers, so that they stay recognised."""
    names = [
        name
        for name, is_embedded in (
            ("object_store", settings.embeds_object_store),
            ("postgres", settings.embeds_database),
        )
        if is_embedded
    ]
    return f"{','.join(names)}:{settings.local_dir.resolve()}"


def _without_embedded(local_dir: Path) -> dict[str, Any]:
    """Unset what the environment holds only because `env` told it, of the servers in here.

    Taken as set by the user it would name somebody else's servers, and ours would never start.
    """
    names, _, where = os.environ.get(EMBEDDED_MARK, "").partition(":")
    if not where or Path(where) != local_dir.resolve():
        return {}
    return {field: None for name in names.split(",") for field in _ADDRESSES.get(name, ())}


def _named(field: str, value: object) -> str:
    """The variable with its value; without it where that is secret."""
    is_secret = "SecretStr" in str(Settings.model_fields[field].annotation)
    return field.upper() if is_secret else f"{field.upper()}={value!r}"


def _advice(fault: ErrorDetails) -> str:
    """What to write instead: in our own words, whoever found the fault."""
    words = _ADVICE.get(fault["type"])
    if words is None:
        return fault["msg"].removeprefix("Value error, ")
    default = Settings.model_fields[str(fault["loc"][0])].default
    return words.format(default=default, **fault.get("ctx", {}))

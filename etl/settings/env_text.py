"""The text of `.env`, checked before the settings are read, so that errors name a line."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream

from etl.model.errors import ConfigurationError
from etl.settings.model import Settings

if TYPE_CHECKING:
    from dotenv.parser import Binding


def read_env_text() -> str:
    """The contents of `.env` in this folder; empty when there is none.

    Raises:  ConfigurationError when it is not UTF-8 or cannot be read.
    """
    path = Path(str(Settings.model_config["env_file"]))
    try:
        return path.read_text("utf-8") if path.is_file() else ""
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}, line {line}: not UTF-8.", hint="Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Give this user permission to read it.",
        ) from error


def refuse_broken_lines(text: str) -> None:
    """Reject lines that cannot be parsed and would be ignored.

    Raises:  ConfigurationError with the number of the first one and the name in it, but no value.
    """
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            name = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", binding.original.string)
            subject = f"{name[1]} has a value" if name else "a line"
            raise ConfigurationError(
                f"{Settings.model_config['env_file']}, line {line_of(binding)}:"
                f" {subject} that cannot be parsed.",
                hint="Write NAME=value, with quotes on both sides of the value or on neither, and"
                " # before a comment.",
            )


def line_of(binding: Binding) -> int:
    """The line with the name; a binding starts with the blank lines before it."""
    source = binding.original.string
    return binding.original.line + source[: len(source) - len(source.lstrip())].count("\n")

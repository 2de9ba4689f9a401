"""The text of `.env`: read before the settings are, so that what is wrong with it has a line."""

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
    """What the `.env` here holds; nothing where there is none.

    Raises:  ConfigurationError when it is no UTF-8, or may not be read.
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
            f"{path} cannot be read: {error.strerror}.", hint="Let this user read it."
        ) from error


def refuse_broken_lines(text: str) -> None:
    """Let no line pass that would set nothing.

    Raises:  ConfigurationError with the first such line and the name in it, but no value.
    """
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            name = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", binding.original.string)
            fault = f"{name[1]} has a value" if name else "a line"
            raise ConfigurationError(
                f"{Settings.model_config['env_file']}, line {line_of(binding)}:"
                f" {fault} that cannot be read.",
                hint="Write NAME=value, with a quote at both ends of the value or at neither, and"
                " # before a comment.",
            )


def line_of(binding: Binding) -> int:
    """Where the name stands; a binding begins with the blank lines before it."""
    written = binding.original.string
    return binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")

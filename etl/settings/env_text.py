"""The text of `.env`: read before the settings are, so that what is wrong with it has a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from etl.errors import ConfigurationError
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


def line_of(binding: Binding) -> int:
    """Where the name stands; a binding begins with the blank lines before it."""
    written = binding.original.string
    return binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")

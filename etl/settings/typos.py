"""Warnings for misspelled settings in `.env`: names that are similar to one of ours.

Other names are ignored, because docker compose and other tools read the file too. So are names in
the process environment, which all programs share.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO

from dotenv.parser import parse_stream

from etl.model.errors import ConfigurationError
from etl.settings import Settings
from etl.settings.env_text import line_of, read_env_text

_ALIKE = 0.8  # S3_ENDPOINT_URL is like S3_ENDPOINT, DATABASE_NAME is not like DATABASE_URL


@dataclass(frozen=True, slots=True)
class Misspelling:
    """A line of `.env` that sets nothing, and the most similar setting."""

    line: int
    name: str
    meant: str

    def sentence(self) -> str:
        """The warning for the operator."""
        return (
            f".env, line {self.line}: {self.name} is not a setting and is ignored."
            f" Did you mean {self.meant}?"
        )


def misspellings(text: str) -> list[Misspelling]:
    """The names in the text that are similar to a setting which the text does not set."""
    bindings = parse_stream(StringIO(text))
    lines = {binding.key.upper(): line_of(binding) for binding in bindings if binding.key}
    settings = [name.upper() for name in Settings.model_fields]
    unknown = {name: line for name, line in lines.items() if name not in settings}
    return [
        Misspelling(line, name, meant)
        for name, line in unknown.items()
        for meant in get_close_matches(name, settings, n=1, cutoff=_ALIKE)
        if meant not in lines
    ]


def read_misspellings() -> list[Misspelling]:
    """The misspellings in `.env`. If it cannot be read, reading the settings reports the error."""
    try:
        return misspellings(read_env_text())
    except ConfigurationError:
        return []

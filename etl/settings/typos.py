"""`.env`: a name in it that is nearly one of ours is a slip of the pen.

Names unlike ours are left alone: docker compose and other tools read the file as well. So are
those of the process environment, which belongs to everybody.
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
    """A line of `.env` that sets nothing, and the setting it is likely to mean."""

    line: int
    name: str
    meant: str

    def sentence(self) -> str:
        """What to tell whoever wrote the line."""
        return (
            f".env, line {self.line}: {self.name} is no setting, so it does nothing."
            f" Is {self.meant} meant?"
        )


def misspellings(text: str) -> list[Misspelling]:
    """The names in the text of a `.env` that are nearly a setting which it does not set."""
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
    """Those of the `.env` here. One that cannot be read is for the settings to complain of."""
    try:
        return misspellings(read_env_text())
    except ConfigurationError:
        return []

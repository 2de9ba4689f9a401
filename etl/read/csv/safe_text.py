"""Make text from outside fit to show: in a terminal, a log line or a page."""

from __future__ import annotations

MAX_CHARACTERS = 100


def safe_value(text: str) -> str:
    """The text in at most 100 characters, with whatever does not print written as an escape.

    Line ends, control and format characters (NUL, ESC, bidi overrides, zero-width ones) could
    forge a line, move the cursor or turn the text around. Markup is left to the page to escape.
    """
    if len(text) <= MAX_CHARACTERS and text.isprintable():
        return text
    shown = "".join(map(_printable, text[: MAX_CHARACTERS + 1]))
    return shown if len(shown) <= MAX_CHARACTERS else shown[: MAX_CHARACTERS - 1] + "…"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()

"""Make untrusted text safe to display in a terminal, a log line or a web page."""

from __future__ import annotations

MAX_CHARACTERS = 100


def safe_value(text: str) -> str:
    """The text in at most 100 characters, with nonprintable characters escaped.

    Line endings, control and format characters (NUL, ESC, bidi overrides, zero-width ones) could
    forge a line, move the cursor or reverse the text. The web page must escape markup itself.
    """
    if len(text) <= MAX_CHARACTERS and text.isprintable():
        return text
    shown = "".join(map(_printable, text[: MAX_CHARACTERS + 1]))
    return shown if len(shown) <= MAX_CHARACTERS else shown[: MAX_CHARACTERS - 1] + "…"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()

"""Make untrusted text safe to display in a terminal, a log line or a web page.

Line endings, control and format characters (NUL, ESC, bidi overrides, zero-width ones) could forge
a line, move the cursor or reverse the text. They are escaped; a web page must escape markup too.
"""

from __future__ import annotations

MAX_CHARACTERS = 100


def printable(text: str) -> str:
    """The text with nonprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def safe_value(text: str) -> str:
    """As `printable`, in at most 100 characters."""
    shown = printable(text[: MAX_CHARACTERS + 1])
    return shown if len(shown) <= MAX_CHARACTERS else shown[: MAX_CHARACTERS - 1] + "…"

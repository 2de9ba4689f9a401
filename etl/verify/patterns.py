r"""Match whole texts with RE2 patterns by Python's `re`.

Where the two differ, the pattern is rewritten. RE2 itself matches the few patterns that cannot be
rewritten, such as those with `\p{Greek}`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE = r"\t\n\f\r "  # in RE2, a vertical tab is not space
_SAME_ESCAPES = frozenset("dDwWbBAtnrfva")
# In Python, `{,3}` repeats and these sequences in a class are about to get a meaning.
_DIFFERENT = re.compile(r"\(\?(?!:|P<)|\{,|\[\[|\[\^?\]|--|&&|\|\||~~|[^\x00-\x7f]")


class _NotPython(Exception):
    """A pattern that `re` would understand differently."""


@cache
def whole_match(pattern: str) -> Callable[[str], bool]:
    """A function that returns whether the whole text matches the RE2 pattern."""
    try:
        compiled = re.compile(_rewrite(pattern), re.ASCII)
    except (_NotPython, re.error):
        return lambda text: _matches_re2(pattern, text)
    return lambda text: compiled.fullmatch(text) is not None


def _matches_re2(pattern: str, text: str) -> bool:
    whole = rf"\A(?:{pattern})\z"
    return bool(pc.match_substring_regex(pa.scalar(text), whole).as_py())


def _rewrite(pattern: str) -> str:
    """The pattern for `re`. Raises _NotPython."""
    if _DIFFERENT.search(pattern):
        raise _NotPython
    written = []
    is_class = False
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            written.append(_escape(pattern[at + 1 : at + 2], is_class=is_class))
            at += 2
            continue
        if character == "[":
            is_class = True
        elif character == "]":
            is_class = False
        written.append(r"\Z" if character == "$" and not is_class else character)
        at += 1
    return "".join(written)


def _escape(letter: str, *, is_class: bool) -> str:
    if letter == "s":
        return _SPACE if is_class else f"[{_SPACE}]"
    if letter == "S" and not is_class:
        return f"[^{_SPACE}]"
    if letter == "z":
        return r"\Z"
    if letter in _SAME_ESCAPES or (letter.isascii() and not letter.isalnum() and letter):
        return f"\\{letter}"
    raise _NotPython

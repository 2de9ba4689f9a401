"""Lenient parsers for Accept and Accept-Encoding: an invalid member does not affect valid ones.

Clients send values that RFC 9110 does not allow. For example, Java's default is
`text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.datastructures import Accept, MIMEAccept

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = re.compile(rf"{_WORD}(/{_WORD})?")
_PARAMETER = re.compile(rf'({_WORD})=({_WORD}|"[^"\\]*")')
_WEIGHT = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_BLANK = " \t"
_ANYTHING = "*/*"


def media_ranges(header: str | None) -> MIMEAccept:
    """The media ranges of an Accept header, with `*` read as `*/*`; empty if none is valid."""
    found = []
    for name, parameters, weight in _members(header or ""):
        media_range = _ANYTHING if name == "*" else name
        if "/" in media_range and (media_range == _ANYTHING or media_range[0] != "*"):
            found.append((media_range + parameters, weight))
    return MIMEAccept(found)


def codings(header: str | None) -> Accept:
    """The codings of an Accept-Encoding header; empty if none is valid."""
    return Accept((name, weight) for name, _, weight in _members(header or ""))


def _members(header: str) -> Iterator[tuple[str, str, float]]:
    """The name, parameters and weight of each valid member; commas separate, even in quotes."""
    for member in header.split(","):
        name, *parameters = (part.strip(_BLANK) for part in member.split(";"))
        matches = [_PARAMETER.fullmatch(part) for part in parameters if part]
        if not _NAME.fullmatch(name) or not all(matches):
            continue
        pairs = [(match[1], match[2]) for match in matches if match]
        weight = _weight([value.strip('"') for key, value in pairs if key.lower() == "q"])
        if weight is not None:
            others = (f"; {key}={value}" for key, value in pairs if key.lower() != "q")
            yield name, "".join(others), weight


def _weight(texts: list[str]) -> float | None:
    """The first weight, at most 1; 1 without any; None if one of them is not a number."""
    if not all(_WEIGHT.fullmatch(text) for text in texts):
        return None
    return min(float(texts[0]), 1.0) if texts else 1.0

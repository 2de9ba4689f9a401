"""Legal column names for headers that cannot be the names of columns: `Order No` is `order_no`."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from etl.model.patterns import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_NAME = 48
# Columns that PostgreSQL itself has in every table.
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

_SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ẞ": "SS"}
    | {"æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "ł": "l", "Ł": "L"}
    | {
        "%": " percent ",
        "€": " eur ",
        "$": " usd ",
        "&": " and ",
        "'": "",
        "\N{RIGHT SINGLE QUOTATION MARK}": "",
    }
)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHERS = re.compile(r"[^a-z0-9]+")


def is_column_name(name: str) -> bool:
    """Whether a declared column may have the name."""
    return bool(NAME.fullmatch(name)) and name not in SYSTEM_COLUMNS


def column_name(header: str, otherwise: str) -> str:
    """The legal name in lower case that is closest to a header, or `otherwise`."""
    composed = unicodedata.normalize("NFC", header).translate(_SPELLED)
    plain = unicodedata.normalize("NFKD", composed).encode("ascii", "ignore").decode()
    name = _OTHERS.sub("_", _WORD_START.sub("_", plain).lower()).strip("_")
    if name[:1].isdigit() or name in SYSTEM_COLUMNS:
        name = f"column_{name}"
    return name[:LONGEST_NAME].rstrip("_") or otherwise


def column_names(headers: Iterable[str]) -> list[str]:
    """A legal name for each header; all differ. A nameless one is `column_<n>`, counted from 1.

    The name of a header that is legal itself is no other one's.
    """
    known = [(header.strip(), place) for place, header in enumerate(headers, 1)]
    names = [column_name(header, f"column_{place}") for header, place in known]
    own = {
        name: place
        for name, (header, place) in reversed([*zip(names, known, strict=True)])
        if header.casefold() == name
    }
    found: list[str] = []
    taken = {*own}
    for place, first in enumerate(names, 1):
        name, number = first, 1
        while name in taken and own.get(name) != place:
            number += 1
            end = f"_{number}"
            name = first[: LONGEST_NAME - len(end)] + end
        taken.add(name)
        found.append(name)
    return found

"""Write texts and the options of fields in TOML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from etl.model.dataset import Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PLAIN = Field(name="")
_LAST_SHORT = 0xFFFF  # of the characters that four digits express


def options(one: Field) -> Iterator[tuple[str, str]]:
    """How the texts of a field are written, as keys and values in TOML."""
    for key, value, default in (
        ("format", one.format, None),
        ("decimalChar", one.decimal_char, _PLAIN.decimal_char),
        ("groupChar", one.group_char, _PLAIN.group_char),
        ("trueValues", one.true_values, _PLAIN.true_values),
        ("falseValues", one.false_values, _PLAIN.false_values),
    ):
        if value != default and value is not None:
            yield key, toml(value)


def toml(value: str | int | Sequence[str]) -> str:
    """A text, an integer or a list of texts, without characters that a terminal would obey."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "".join(
            one if one.isprintable() else _escaped(one)
            for one in json.dumps(value, ensure_ascii=False)
        )
    return f"[{', '.join(map(toml, value))}]"


def _escaped(one: str) -> str:
    code = ord(one)
    return f"\\u{code:04x}" if code <= _LAST_SHORT else f"\\U{code:08x}"

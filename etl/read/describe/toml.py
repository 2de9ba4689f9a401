"""Write texts and the options of fields in TOML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from etl.model.dataset import Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PLAIN = Field(name="")


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
    """A text, an integer or a list of texts in TOML."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(map(toml, value))}]"

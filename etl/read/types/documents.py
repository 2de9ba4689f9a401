r"""JSON texts: objects, arrays and any values, as jsonb accepts them.

jsonb refuses the character \u0000, unpaired surrogates and numbers that `numeric` cannot hold. It
would drop all but the last of equal keys, and deep documents depend on the size of a stack, so
these are refused here.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode
from etl.read.types.column import Fault, Parsed
from etl.read.types.numerals import MAX_DECIMALS, MAX_INTEGER_DIGITS

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa
    from numpy.typing import NDArray

    from etl.model.dataset import Field

MAX_DEPTH = 200

_EXPECTED: dict[FieldType, tuple[str, type]] = {
    FieldType.OBJECT: ('a JSON object, for example {"color": "red"}', dict),
    FieldType.ARRAY: ("a JSON array, for example [1, 2]", list),
    FieldType.ANY: ('a JSON value, for example "red" with its quotes, 5 or [1, 2]', object),
}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Strings, also one without its end, and all else that does not nest.
_FLAT = re.compile(r'(?:"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[^"\[\]{}]++)++', re.DOTALL)
_FAR = 1_000_000  # an exponent that PostgreSQL may refuse even for 0


class NotStorable(ValueError):
    """A document that JSON allows; the message says why it cannot be stored."""


def parse_documents(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Check that each text is one JSON value of the field's type; the texts are the values."""
    kind = _EXPECTED[field.type][1]
    sizes = [_size(text, kind) for text in texts.to_pylist()]
    is_valid = np.array([size is not None for size in sizes], np.bool_)
    faults = []
    if not is_valid.all():
        faults.append(Fault(~is_valid, ProblemCode.NOT_JSON, lambda value: _note(value, field)))
    return Parsed(texts, is_valid, faults, lengths=lambda: _lengths(sizes))


def _lengths(sizes: list[int | None]) -> NDArray[np.int64]:
    return np.array([size or 0 for size in sizes], np.int64)


def _size(text: str, kind: type) -> int | None:
    """The number of members of a valid document, 0 of a scalar; None if it is not valid."""
    try:
        value = load(text)
    except ValueError:
        return None
    if not isinstance(value, kind):
        return None
    return len(value) if isinstance(value, (dict, list)) else 0


def load(text: str) -> Any:  # noqa: ANN401
    """The value of a document, with its numbers as text.

    Raises:  ValueError when it is not JSON or cannot be stored; the message says why.
    """
    check_depth(text)
    value = _DECODER.decode(text)
    if "\\u" in text:
        _check_characters(text, value)
    return value


def check_depth(text: str) -> None:
    """Refuse arrays and objects that are nested too deep, before a parser runs out of stack.

    Raises:  NotStorable
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for one in _FLAT.sub("", text):
        depth += 1 if one in "[{" else -1
        if depth > MAX_DEPTH:
            raise NotStorable(f"it is nested deeper than {MAX_DEPTH} levels")


def _check_characters(text: str, value: object) -> None:
    if "\\u0000" not in text and not SURROGATE.search(text):
        return
    decoded = json.dumps(value, ensure_ascii=False)
    if re.search(r"(?<!\\)(?:\\\\)*\\u0000", decoded):
        raise NotStorable(r"it contains the character \u0000")
    try:
        decoded.encode()
    except UnicodeEncodeError as error:
        raise NotStorable("it contains half of a surrogate pair") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NotStorable(f'its key "{doubled(pairs)[0]}" occurs twice')
    return members


def doubled(pairs: list[tuple[str, Any]]) -> tuple[str, Any]:
    """The first pair whose name occurred before; there is one."""
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen:
            return name, value
        seen.add(name)
    raise LookupError(pairs)


def _constant(name: str) -> None:
    raise NotStorable(f"{name} is not a number of JSON; write null")


def _integer(text: str) -> str:
    if len(text) > MAX_INTEGER_DIGITS:
        _check_number(text)
    return text


def _float(text: str) -> str:
    if len(text) > MAX_DECIMALS or "e" in text or "E" in text:
        _check_number(text)
    return text


def _check_number(text: str) -> None:
    """Refuse what `numeric`, in which jsonb stores numbers, cannot hold."""
    mantissa, _, exponent = text.lower().partition("e")
    power = _bounded(exponent)
    decimals = len(mantissa.partition(".")[2])
    significant = Decimal(mantissa)
    whole = significant.adjusted() + 1 + power if significant else 0
    if abs(power) >= _FAR or whole > MAX_INTEGER_DIGITS or decimals - power > MAX_DECIMALS:
        raise NotStorable("it contains a number with too many digits")


def _bounded(exponent: str) -> int:
    digits = exponent.lstrip("+-").lstrip("0")
    power = int(digits or "0") if len(digits) < len(str(_FAR)) else _FAR
    return -power if exponent.startswith("-") else power


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_constant=_constant,
    parse_int=_integer,
    parse_float=_float,
)


def _note(value: str, field: Field) -> str:
    expected, _ = _EXPECTED[field.type]
    expected = f"Write {field.name} as {expected}."
    try:
        load(value)
    except NotStorable as error:
        return f"{expected} This value cannot be stored: {error}."
    except json.JSONDecodeError as error:
        return f"{expected} {remark(value)}The error is at character {error.pos + 1}: {error.msg}."
    return f"{expected} This value is JSON of another type."


def remark(value: str) -> str:
    """What a text that is not JSON probably comes from; empty if that is unclear."""
    if re.search(r"[{\[,]\s*'", value):
        return "JSON has double quotes, not single quotes. "
    if re.search(r"\b(?:True|False|None)\b", value):
        return "JSON writes true, false and null in lower case. "
    if re.search(r",\s*[}\]]", value):
        return "JSON has no comma before a closing bracket. "
    return ""

"""Parse JSON cells, and compare them as jsonb does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NoReturn

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode
from etl.verify.faults import FaultyCell

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_DEPTH = 200

_PYTHON_TYPES = {FieldType.OBJECT: (dict,), FieldType.ARRAY: (list,)}
# PostgreSQL's limits for numeric, as which jsonb stores numbers.
_WHOLE_DIGITS = 131_072
_DECIMALS = 16_383


@dataclass(frozen=True, slots=True)
class JsonValue:
    """A JSON value, equal to others as jsonb: by value of numbers, without order of keys."""

    identity: Hashable
    text: str
    length: int | None = None

    def __eq__(self, other: object) -> bool:
        """Whether both are the same jsonb value."""
        return isinstance(other, JsonValue) and self.identity == other.identity

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self.identity)


def read_document(written: str, kind: FieldType) -> JsonValue:
    """Parse the cell of a field of type `object`, `array` or `any`.

    Raises:  FaultyCell.
    """
    try:
        value = _loads(written)
        identity = _identity(value)
    except (ValueError, InvalidOperation, RecursionError) as error:
        raise FaultyCell(ProblemCode.NOT_JSON) from error
    if not isinstance(value, _PYTHON_TYPES.get(kind, (object,))):
        raise FaultyCell(ProblemCode.NOT_JSON)
    return JsonValue(identity, written, len(value) if isinstance(value, dict | list) else None)


def stored_document(text: str | None) -> JsonValue | None:
    """The value of a jsonb column, from its text."""
    return None if text is None else JsonValue(_identity(_loads(text)), text)


def _loads(text: str) -> object:
    return json.loads(
        text,
        parse_int=Decimal,
        parse_float=Decimal,
        parse_constant=_refuse_constant,
        object_pairs_hook=_object,
    )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _identity(value: object, depth: int = 0) -> Hashable:
    """A form that is equal for equal jsonb values, and differs between types."""
    if depth == MAX_DEPTH and isinstance(value, dict | list):
        raise ValueError("too deep")
    if isinstance(value, dict):
        pairs = ((_text(key), _identity(each, depth + 1)) for key, each in value.items())
        return "object", frozenset(pairs)
    if isinstance(value, list):
        return "array", tuple(_identity(each, depth + 1) for each in value)
    if isinstance(value, str):
        return "string", _text(value)
    if isinstance(value, Decimal):
        return "number", _number(value)
    return "constant", repr(value)


def _text(value: str) -> str:
    """The text, which jsonb stores as UTF-8 without NUL."""
    if "\0" in value:
        raise ValueError("NUL")
    value.encode()
    return value


def _number(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    is_in_range = value == 0 or value.adjusted() < _WHOLE_DIGITS
    if not is_in_range or -int(exponent) > _DECIMALS:
        raise ValueError("number out of range")
    return value

"""Parse JSON, and compare its values as jsonb does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time
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
class DigitNumber:
    """A number in digits."""

    text: str


class JsonNumber(DigitNumber):
    """A number in the digits of its JSON file."""


class InexactNumber(DigitNumber):
    """A number so large that floats of its type do not tell it from other whole numbers."""


class Members(list[tuple[str, object]]):
    """The members of an object in which a key occurs twice."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """A text that is a JSON value, not the JSON of one."""

    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a value that Python has not, such as a date after the year 9999, or NaN."""

    text: str
    is_number: bool = False


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


def stored_members(text: str | None) -> dict[str, object] | None:
    """The members of a JSON object in a jsonb column, from its text: texts, or JsonValues.

    Of a value that another client stored in its place, the member without a name; null is None.
    """
    members = None if text is None else _loads(text)
    if members is None:
        return None
    if not isinstance(members, dict):
        members = {"": members}
    return {
        name: each if isinstance(each, str) else json_value(each) for name, each in members.items()
    }


def json_value(value: object) -> JsonValue:
    """A value of Python as JSON.

    Raises:  ValueError if jsonb cannot store it.
    """
    return JsonValue(_identity(value), json_text(value))


def is_storable(value: object) -> bool:
    """Whether jsonb keeps a value of `_extra` as it is; only objects and arrays can be refused."""
    if not isinstance(value, dict | list):
        return True
    try:
        _identity(value)
    except ValueError:
        return False
    return True


def json_text(value: object) -> str:
    """The JSON text of a value, with numbers in the digits of their file."""
    if isinstance(value, dict | Members):
        pairs = value.items() if isinstance(value, dict) else value
        return f"{{{', '.join(f'{_quoted(key)}: {json_text(each)}' for key, each in pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(json_text, value))}]"
    if isinstance(value, DigitNumber):
        return value.text
    if isinstance(value, Written | JsonText):
        return _quoted(value.text)
    if isinstance(value, date | time):
        return _quoted(moment_text(value))
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def has_nul(value: object) -> bool:
    """Whether a text has a NUL, or an array or object a text with one."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(each) for key, each in value.items())
    return isinstance(value, list | tuple) and any(map(has_nul, value))


def moment_text(value: date | time) -> str:
    """The moment in ISO 8601, without zeros at the end of a fraction; one in UTC ends in Z."""
    text = value.isoformat()
    is_utc = isinstance(value, datetime) and value.tzinfo is not None
    if is_utc:
        text = text.removesuffix("+00:00")
    if "." in text:
        text = text.rstrip("0")
    return f"{text}Z" if is_utc else text


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


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
    """A form that is equal for equal jsonb values, and differs between types.

    Raises:  ValueError if jsonb cannot store it.
    """
    if depth == MAX_DEPTH and isinstance(value, dict | list):
        raise ValueError("too deep")
    if isinstance(value, dict | Members):
        members = list(value.items()) if isinstance(value, dict) else value
        identities = {_text(key): _identity(each, depth + 1) for key, each in members}
        if len(identities) < len(members):
            raise ValueError("a key twice")
        return "object", frozenset(identities.items())
    if isinstance(value, list):
        return "array", tuple(_identity(each, depth + 1) for each in value)
    if isinstance(value, bool) or value is None:
        return "constant", repr(value)
    if isinstance(value, DigitNumber | Decimal | int):
        return "number", _number(value)
    if isinstance(value, date | time):
        return "string", moment_text(value)
    return "string", _text(value.text if isinstance(value, Written | JsonText) else value)


def _text(value: object) -> str:
    """The text, which jsonb stores as UTF-8 without NUL."""
    if not isinstance(value, str):
        raise TypeError(type(value))
    if "\0" in value:
        raise ValueError("NUL")
    value.encode()
    return value


def _number(written: DigitNumber | Decimal | int) -> Decimal:
    try:
        value = Decimal(written.text if isinstance(written, DigitNumber) else written)
    except InvalidOperation as error:  # an exponent of very many digits
        raise ValueError("number out of range") from error
    if not value.is_finite():
        raise ValueError("not finite")
    exponent = value.as_tuple().exponent
    is_in_range = value == 0 or value.adjusted() < _WHOLE_DIGITS
    if not is_in_range or -int(exponent) > _DECIMALS:
        raise ValueError("number out of range")
    return value

r"""Parse one JSON object strictly (RFC 8259); its numbers keep their digits.

An object with a name twice, NaN, or nested too deep is refused: PostgreSQL could not store it, or
something of it would be lost. So is half of a surrogate pair, `\ud800`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from etl.model.values import ProblemCode
from etl.read.types.documents import SURROGATE, NotStorable, check_depth, doubled, remark

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_OBJECT_BYTES = 4 << 20  # of one row; parsed, it may need twenty times as much
MOST_MEMBERS = 1_000
SHOWN_BYTES = 1_000  # of a faulty row; its problem shows even less of it
SPACE = b" \t\r\n"  # what JSON allows between values


class Text(NamedTuple):
    """The text of a row, and its number in the object, from 1.

    If it has too many bytes, the text is only its beginning.
    """

    number: int
    content: bytes
    is_whole: bool = True


class Number(str):
    """The literal of a JSON number."""

    __slots__ = ()


class Doubled(NamedTuple):
    """The members of an object that has a name twice."""

    pairs: list[tuple[str, Value]]


Value: TypeAlias = (
    "Number | str | bool | dict[str, Value] | list[Value] | Doubled | None"  # a value of JSON
)


class RowFault(ValueError):
    """Why a row is rejected: the code and hint of its problem.

    `column` and `value` are those of the member at fault; without one, the row as a whole is.
    """

    def __init__(
        self, code: ProblemCode, hint: str, column: str | None = None, value: str | None = None
    ) -> None:
        super().__init__(hint)
        self.code = code
        self.hint = hint
        self.column = column
        self.value = value


def parse_object(row: Text) -> Mapping[str, Value]:
    """The members of the object that is the row.

    Raises:  RowFault
    """
    if not row.is_whole:
        raise RowFault(ProblemCode.CELL_TOO_LONG, _SIZE_HINT)
    try:
        text = row.content.decode()
    except UnicodeDecodeError as error:
        raise RowFault(ProblemCode.UNDECODABLE, _ENCODING_HINT) from error
    value = _parsed(text)
    if isinstance(value, Doubled):
        name, again = doubled(value.pairs)
        raise doubled_fault(name, name, again)
    if not isinstance(value, dict):
        raise RowFault(
            ProblemCode.NOT_JSON, f"The row is {_kind(value)}, but must be a JSON object. {_FORM}"
        )
    if len(value) > MOST_MEMBERS:
        raise RowFault(ProblemCode.TOO_MANY_COLUMNS, _MEMBERS_HINT)
    if SURROGATE.search(text):
        _check_surrogates(value)
    return value


def is_surely_no_json(row: Text) -> bool:
    """Whether `parse_object` finds that the row is no JSON object; this is much faster."""
    content = row.content
    return row.is_whole and content.isascii() and not content.lstrip(SPACE).startswith(b"{")


def shown(row: Text) -> str:
    """The beginning of the text of a row, for its problem."""
    return row.content[:SHOWN_BYTES].decode("utf-8", "backslashreplace").strip()


def _parsed(text: str) -> Value:
    try:
        check_depth(text)
        value: Value = _DECODER.decode(text)
    except NotStorable as error:
        raise RowFault(ProblemCode.NOT_JSON, f"The row cannot be stored: {error}.") from error
    except json.JSONDecodeError as error:
        raise RowFault(ProblemCode.NOT_JSON, _syntax_hint(text, error)) from error
    return value


def _members(pairs: list[tuple[str, Value]]) -> dict[str, Value] | Doubled:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Doubled(pairs)


def _constant(name: str) -> NoReturn:
    raise NotStorable(f"{name} is not a number of JSON; write null")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_constant, parse_int=Number, parse_float=Number
)


def doubled_fault(name: str, column: str, value: Value) -> RowFault:
    """The fault of a row with two members for one column, the second of which has this name."""
    return RowFault(
        ProblemCode.DUPLICATE_COLUMN,
        "The object has more than one member for this column; case and surrounding space do not "
        "distinguish names, and aliases are names of the same column. Keep one of them.",
        column,
        name if not isinstance(value, str) else value,
    )


def _check_surrogates(members: Mapping[str, Value]) -> None:
    for name, value in members.items():
        try:
            _write_surrogates(name, value)
        except UnicodeEncodeError as error:
            raise RowFault(ProblemCode.UNDECODABLE, _SURROGATE_HINT, name) from error


def _write_surrogates(name: str, value: Value) -> None:
    name.encode()
    json.dumps(value, ensure_ascii=False).encode()


def _kind(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "a number" if isinstance(value, Number) else "a string"


def _syntax_hint(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "There is nothing between two commas, or after the last one. Remove the comma."
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return _END_HINT
    if error.msg == "Extra data":
        return f"There is more after the object, from character {error.pos + 1} on. {_FORM}"
    return f"{_FORM} {remark(text)}The error is at character {error.pos + 1}: {error.msg}."


_FORM = "Write each row as one JSON object."
_END_HINT = (
    "The row ends within the object: the file was cut off, or the object continues on the next "
    "line. In NDJSON, each object must be on one line; a file that is one JSON document must be "
    "called .json."
)
_MEMBERS_HINT = f"The row has more than {MOST_MEMBERS:,} members. Remove those you do not need."
_SIZE_HINT = (
    f"The row has more than {MOST_OBJECT_BYTES:,} bytes. Shorten its values; if rows ran "
    "together, add the missing line endings or commas."
)
_ENCODING_HINT = "The row is not UTF-8, which JSON requires. Export the file as UTF-8."
_SURROGATE_HINT = (
    r"The value contains half of a surrogate pair, such as \ud800, which is not a character. "
    "Correct the export: the text was probably cut within a character."
)

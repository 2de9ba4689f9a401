"""Check values against the constraints of their field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl.model.values import ProblemCode
from etl.verify.documents import JsonValue
from etl.verify.patterns import whole_match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.model.dataset import Constraints

    Check = Callable[[Any, str], bool]


class Limits:
    """The constraints of a field but `required`, checked one by one."""

    def __init__(self, constraints: Constraints) -> None:
        self._checks = list(_checks(constraints))

    @property
    def are_any(self) -> bool:
        """Whether there is any constraint to check."""
        return bool(self._checks)

    def broken(self, value: object, written: str) -> list[ProblemCode]:
        """The codes of the constraints that the value does not meet, each once."""
        codes = (code for code, accepts in self._checks if not accepts(value, written))
        return list(dict.fromkeys(codes))


def _checks(given: Constraints) -> Iterator[tuple[ProblemCode, Check]]:
    below, above = ProblemCode.BELOW_MINIMUM, ProblemCode.ABOVE_MAXIMUM
    minimum: Any = given.minimum
    maximum: Any = given.maximum
    least: Any = given.exclusive_minimum
    most: Any = given.exclusive_maximum
    # A NaN is greater than any number, as in PostgreSQL.
    if minimum is not None:
        yield below, lambda value, _: _is_nan(value) or value >= minimum
    if least is not None:
        yield below, lambda value, _: _is_nan(value) or value > least
    if maximum is not None:
        yield above, lambda value, _: not _is_nan(value) and value <= maximum
    if most is not None:
        yield above, lambda value, _: not _is_nan(value) and value < most
    yield from _text_checks(given)
    if given.enum is not None:
        yield ProblemCode.NOT_IN_ENUM, lambda value, _: value in given.enum  # type: ignore[operator]


def _text_checks(given: Constraints) -> Iterator[tuple[ProblemCode, Check]]:
    shortest, longest = given.min_length, given.max_length
    if shortest is not None:
        yield ProblemCode.TOO_SHORT, lambda value, written: _length(value, written) >= shortest
    if longest is not None:
        yield ProblemCode.TOO_LONG, lambda value, written: _length(value, written) <= longest
    if given.pattern is not None:
        matches = whole_match(given.pattern)
        yield ProblemCode.PATTERN_MISMATCH, lambda _, written: matches(written)


def _length(value: object, written: str) -> int:
    """The number of characters of a text, or of elements of a document."""
    if isinstance(value, JsonValue) and value.length is not None:
        return value.length
    return len(written)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124

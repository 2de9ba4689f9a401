"""One table of a datasets file, checked against the rules for its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etl.settings.datasets.faults import did_you_mean, shown, suggestion
from etl.settings.datasets.keys import ValueKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.settings.datasets.faults import FaultReport
    from etl.settings.datasets.keys import KeyRule, TableRules
    from etl.settings.datasets.lines import KeyPath

_NOUNS = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    dict: "a table",
    list: "a list",
    type(None): "null",
}


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(one, kind) for one in value)


_is_texts = _is_list_of(str)
_CHECKS: dict[ValueKind, Callable[[Any], bool]] = {
    ValueKind.TEXT: lambda value: isinstance(value, str),
    ValueKind.TEXTS: _is_texts,
    ValueKind.TEXT_OR_TEXTS: lambda value: isinstance(value, str) or _is_texts(value),
    ValueKind.LISTS: lambda value: isinstance(value, list) and all(map(_is_texts, value)),
    ValueKind.FLAG: lambda value: isinstance(value, bool),
    ValueKind.INTEGER: _is_integer,
    ValueKind.TABLE: lambda value: isinstance(value, dict),
    ValueKind.TABLES: _is_list_of(dict),
    ValueKind.TEXT_OR_TABLE: lambda value: isinstance(value, (str, dict)),
    ValueKind.TEXT_OR_INTEGER: lambda value: isinstance(value, str) or _is_integer(value),
    ValueKind.INTEGERS: lambda value: isinstance(value, list) and all(map(_is_integer, value)),
    ValueKind.MISSING_VALUES: lambda value: (
        isinstance(value, list) and all(isinstance(one, str) or _is_labelled(one) for one in value)
    ),
    ValueKind.ANY: lambda value: not isinstance(value, (dict, list, type(None))),
    ValueKind.LIST: lambda value: isinstance(value, list),
}


def _is_labelled(value: object) -> bool:
    """Whether this is `{ "value": "-99", "label": "unknown" }`."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("value"), str)
        and set(value) <= {"value", "label"}
    )


class Section:
    """The values of the known keys of one table that have the right type.

    All other keys, and required ones that are missing, are reported. `misspelled` are the known
    keys that unknown ones probably mean; what their lack causes is not reported as well.
    """

    def __init__(
        self, table: dict[str, Any], path: KeyPath, report: FaultReport, rules: TableRules
    ) -> None:
        self.path = path
        self.report = report
        self.misspelled: set[str | None] = set()
        self._values: dict[str, Any] = {}
        for key, value in table.items():
            self._take(key, value, rules)
        for key in rules.required:
            if key not in table and key not in self.misspelled:
                self.fault(key, f"{key} is missing.", f"Write {_written(key, rules.keys[key])}.")

    def __contains__(self, key: str) -> bool:
        """Whether the key has a value of the right type."""
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as the rules say
        """The value of the key, of the type that the rules say; the default if it has none."""
        return self._values.get(key, default)

    def fault(self, key: str, fault: str, remedy: str, *more: str | int) -> None:
        """Report a fault of a key, or of an element in its value."""
        self.report.add((*self.path, key, *more), fault, remedy)

    def _take(self, key: str, value: object, rules: TableRules) -> None:
        rule = rules.keys.get(key)
        refusal = (rules.refused or {}).get(key)
        if rule is not None and _CHECKS[rule.kind](value):
            self._values[key] = value
        elif rule is not None:
            self.fault(
                key,
                f"{key} must be {rule.kind.value}, not {_noun(value)}.",
                f"Write {_written(key, rule)}.",
            )
        elif refusal is not None:
            if (type(value), value) not in [(type(one), one) for one in refusal.harmless]:
                self.fault(key, f"{key} is not supported.", refusal.remedy)
        elif key not in rules.informational:
            self.misspelled.add(did_you_mean(key, rules.keys))
            self.fault(
                key,
                f"{shown(key)} is not a key of this table.",
                suggestion(key, rules.keys, otherwise=f"Its keys are {', '.join(rules.keys)}."),
            )


def _written(key: str, rule: KeyRule) -> str:
    return rule.example if rule.example.startswith("[datasets") else f"{key} = {rule.example}"


def _noun(value: object) -> str:
    if isinstance(value, list):
        kinds = dict.fromkeys(_NOUNS.get(type(one), "a value").split(" ", 1)[-1] for one in value)
        return f"a list with {' and '.join(kinds)}" if kinds else "an empty list"
    return _NOUNS.get(type(value), "a number or time")

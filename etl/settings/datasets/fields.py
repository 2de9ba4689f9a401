"""The fields of a schema: their types, formats and constraints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from etl.model.column_names import SYSTEM_COLUMNS
from etl.model.dataset import Constraints, Field, FieldType, Moment
from etl.model.patterns import NAME
from etl.model.time_formats import InvalidFormat, time_pattern
from etl.model.types import TYPE_TRAITS, Constraint, UnsupportedSqlType, sql_type
from etl.settings.datasets.bounds import WrongBound, bound
from etl.settings.datasets.faults import suggestion
from etl.settings.datasets.keys import CONSTRAINTS, FIELD, UNSUPPORTED_TYPES
from etl.settings.datasets.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.settings.datasets.faults import FaultReport
    from etl.settings.datasets.lines import KeyPath

NAME_RULE = "Use 1 to 48 letters, digits and _, beginning with a letter"
_TIMES = frozenset({FieldType.DATE, FieldType.TIME, FieldType.DATETIME})
_ONLY_FOR = {
    "timezone": frozenset({FieldType.DATETIME}),
    "decimalChar": frozenset({FieldType.NUMBER}),
    "groupChar": frozenset({FieldType.NUMBER, FieldType.INTEGER}),
    "trueValues": frozenset({FieldType.BOOLEAN}),
    "falseValues": frozenset({FieldType.BOOLEAN}),
}
_ATTRIBUTES = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "exclusiveMinimum": "exclusive_minimum",
    "exclusiveMaximum": "exclusive_maximum",
}
_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def parse_field(table: dict[str, Any], path: KeyPath, report: FaultReport) -> Field | None:
    """The field; faults are reported. None when it has no valid name or type."""
    section = Section(table, path, report, FIELD)
    name, type_ = section.get("name"), _type(section)
    is_named = name is not None and check_column_name(section, "name", name)
    if type_ is None:
        return None
    _check_fit(section, type_)
    field = Field(
        name=name or "",
        type=type_,
        sql=_sql(section, type_),
        aliases=_aliases(section),
        format=_format(section, type_),
        timezone=_timezone(section),
        decimal_char=_character(section, "decimalChar", "."),
        group_char=_character(section, "groupChar", ""),
        true_values=_values(section, "trueValues", Field(name="").true_values),
        false_values=_values(section, "falseValues", Field(name="").false_values),
        missing_values=missing_values(section),
        trim=section.get("trim", True),
        title=section.get("title"),
        description=section.get("description"),
    )
    _check_texts(section, field)
    constraints = _constraints(section, field)
    return replace(field, constraints=constraints) if is_named else None


def check_column_name(section: Section, key: str, name: str) -> bool:
    """Whether the name may be that of a column; if not, report it."""
    if name.startswith("_"):
        fault, remedy = f"{name!r} begins with _, as only Bucketline's own columns do.", NAME_RULE
    elif not NAME.fullmatch(name):
        fault, remedy = f"{name!r} cannot be the name of a column.", NAME_RULE
    elif name in SYSTEM_COLUMNS:
        fault, remedy = f"PostgreSQL uses the name {name} itself.", "Choose another name"
    else:
        return True
    hint = "; the header of the file goes into aliases" if key == "name" else ""
    section.fault(key, fault, f"{remedy}{hint}.")
    return False


def missing_values(section: Section) -> tuple[str, ...] | None:
    """The texts that mean null; their labels are for people."""
    found = section.get("missingValues")
    if found is None:
        return None
    return tuple(dict.fromkeys(one if isinstance(one, str) else one["value"] for one in found))


def _type(section: Section) -> FieldType | None:
    written = section.get("type")
    if written is None:
        return None
    try:
        return FieldType(written)
    except ValueError:
        types = [one.value for one in FieldType]
        remedy = UNSUPPORTED_TYPES.get(written) or suggestion(
            written, types, otherwise=f"Use {', '.join(types)}."
        )
        section.fault("type", f"{written!r} is not a supported type.", remedy)
        return None


def _check_fit(section: Section, type_: FieldType) -> None:
    for key, types in _ONLY_FOR.items():
        if key in section and type_ not in types:
            names = " and ".join(sorted(types))
            section.fault(key, f"{key} has no meaning for the type {type_}.", f"It is for {names}.")


def _sql(section: Section, type_: FieldType) -> str | None:
    written: str | None = section.get("sql")
    try:
        sql_type(type_, written)
    except UnsupportedSqlType as error:
        section.fault("sql", f"{error}.", "A column of another type cannot hold all values.")
        return None
    return written


def _format(section: Section, type_: FieldType) -> str | None:
    written: str | None = section.get("format")
    if written in {None, "default"}:
        return None
    if type_ not in _TIMES:
        remedy = "Use the constraint pattern." if type_ is FieldType.STRING else "Remove it."
        section.fault("format", f"The format {written!r} of {type_} is not supported.", remedy)
        return None
    if written == "any":
        section.fault("format", "The format any is ambiguous.", 'Write one, such as "%d.%m.%Y".')
        return None
    try:
        time_pattern(type_, written)
    except InvalidFormat as error:
        section.fault("format", f"The format {written!r} cannot be used: {error}.", "Correct it.")
        return None
    return written


def _timezone(section: Section) -> str | None:
    written: str | None = section.get("timezone")
    if written is None:
        return None
    try:
        ZoneInfo(written)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        section.fault(
            "timezone",
            f"{written!r} is not a time zone.",
            suggestion(
                written, available_timezones(), otherwise='Write one, such as "Europe/Berlin".'
            ),
        )
        return None
    return written


def _aliases(section: Section) -> tuple[str, ...]:
    found: list[str] = section.get("aliases", [])
    for place, alias in enumerate(found):
        if not alias.strip() or "\0" in alias:
            section.fault("aliases", "An alias is blank.", "Remove it.", place)
    return tuple(alias.strip() for alias in found)


def _character(section: Section, key: str, default: str) -> str:
    written: str = section.get(key, default)
    if key == "groupChar" and not written:
        return written
    if len(written) != 1 or written.isalnum() or written in "+-\r\n\0":
        section.fault(
            key, f"{written!r} cannot separate digits.", 'Write one character, as in ",".'
        )
        return default
    return written


def _values(section: Section, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(section.get(key, default)))
    if not found:
        section.fault(key, f"{key} is empty.", "Remove it for the default values.")
    return found


def _check_texts(section: Section, field: Field) -> None:
    is_misspelled = not section.misspelled.isdisjoint({"decimalChar", "groupChar"})
    has_decimals = field.type is FieldType.NUMBER
    if has_decimals and field.decimal_char == field.group_char and not is_misspelled:
        key = "groupChar" if "groupChar" in section else "decimalChar"
        section.fault(
            key,
            f"{field.decimal_char!r} would separate both groups and decimals.",
            "Set decimalChar and groupChar to different characters.",
        )
    for text in sorted(set(field.true_values) & set(field.false_values)):
        key = "trueValues" if "trueValues" in section else "falseValues"
        section.fault(key, f"{text!r} would mean both true and false.", "Remove it from one list.")


def _constraints(section: Section, field: Field) -> Constraints:
    inner = Section(
        section.get("constraints", {}),
        (*section.path, "constraints"),
        section.report,
        CONSTRAINTS,
    )
    allowed = TYPE_TRAITS[field.type].constraints
    found: dict[str, Any] = {}
    for constraint in Constraint:
        key = constraint.value
        if key not in inner:
            continue
        if constraint not in allowed:
            names = ", ".join(sorted(allowed))
            inner.fault(
                key, f"{key} does not apply to the type {field.type}.", f"It allows {names}."
            )
            continue
        found[key] = _constraint(inner, key, field)
    found = {key: value for key, value in found.items() if value is not None}
    _check_bounds(inner, found)
    return Constraints(**{_ATTRIBUTES.get(key, key): value for key, value in found.items()})


def _constraint(inner: Section, key: str, field: Field) -> Any:  # noqa: ANN401 - as the key says
    """The value of one constraint; None when it is faulty."""
    value = inner.get(key)
    if key == "pattern":
        return _pattern(inner, value)
    if key == "enum":
        return _enum(inner, value, field)
    if key in {"minLength", "maxLength"} and value < 0:
        inner.fault(key, f"{key} is negative.", "Write 0 or more.")
    if key in {"required", "minLength", "maxLength"}:
        return value
    try:
        return bound(value, field, is_maximum=key == "maximum")
    except WrongBound as error:
        inner.fault(key, f"{str(value)!r} is not a value of the type {field.type}.", str(error))
        return None


def _enum(inner: Section, values: list[object], field: Field) -> tuple[Any, ...] | None:
    if not values:
        inner.fault("enum", "enum is empty, so every value would be rejected.", "Remove it.")
        return None
    found = []
    for place, value in enumerate(values):
        try:
            found.append(bound(value, field))
        except WrongBound as error:
            shown = f"{str(value)!r} is not a value of the type {field.type}."
            inner.fault("enum", shown, str(error), place)
    return tuple(dict.fromkeys(found))


def _pattern(inner: Section, pattern: str) -> str | None:
    """The pattern if RE2 accepts it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""], pa.string()), pattern=f"^(?:{pattern})$")
    except (pa.ArrowException, ValueError) as error:
        said = str(error).splitlines()[0]
        inner.fault(
            "pattern",
            f"{pattern!r} is not a valid expression of RE2: {said}.",
            "Correct it; RE2 has no lookaround and no backreferences.",
        )
        return None
    return pattern


def _check_bounds(inner: Section, found: dict[str, Any]) -> None:
    for low, high in [(low, high) for low in _LOWER for high in _UPPER] + [
        ("minLength", "maxLength")
    ]:
        if low not in found or high not in found or found[high] is Moment.TODAY:
            continue
        is_strict = "exclusive" in low or "exclusive" in high
        if found[low] > found[high] or (is_strict and found[low] == found[high]):
            inner.fault(low, f"No value satisfies both {low} and {high}.", "Correct one of them.")


def check_headers(names: Iterable[tuple[str, FaultReport, KeyPath]]) -> None:
    """Report columns and aliases whose headers are the same, without case and outer space."""
    seen: dict[str, str] = {}
    for name, report, path in names:
        header = name.strip().casefold()
        if header in seen:
            report.add(
                path,
                f"{name!r} is the same column as {seen[header]!r}; case and outer space do not"
                " matter.",
                "Rename or remove one of them.",
            )
        seen.setdefault(header, name)

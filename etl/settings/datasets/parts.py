"""The parts of a dataset other than its schema: patterns, dialect, derived columns, and so on."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

from etl.model.dataset import Attachment, Derived, DerivedAs, Dialect, FieldType
from etl.model.formats import FORMATS, SourceFormat
from etl.model.keys import IMAGE_EXTENSIONS
from etl.model.patterns import PatternFault, Patterns, Template
from etl.model.routing import HIVE, hive_names
from etl.settings.datasets.faults import suggestion
from etl.settings.datasets.fields import check_column_name
from etl.settings.datasets.keys import ATTACHMENT, DERIVED, DIALECT
from etl.settings.datasets.section import Section

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

    from etl.model.dataset import Field

    Choice = TypeVar("Choice", bound=StrEnum)

_LAST_HEADER_ROW = 1_000
_IMAGE_ENDINGS = tuple(f".{name}" for name in sorted(IMAGE_EXTENSIONS))
_COMPRESSED = re.compile(r"\.(gz|zst|bz2|zip)\Z")
_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OUTPUT = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_OUTPUT_ENDINGS = (".csv", ".parquet")
_DERIVED_FROM = {
    DerivedAs.DATE: frozenset({FieldType.EPOCH_MS}),
    DerivedAs.AGE: frozenset({FieldType.EPOCH_MS}),
}


def choice(section: Section, key: str, default: Choice) -> Choice:
    """The value of a key with a closed list of values."""
    written = section.get(key, default.value)
    options = {one.value: one for one in type(default)}
    if written not in options:
        section.fault(
            key,
            f"{written!r} is not a value of {key}.",
            suggestion(written, options, otherwise=f"Write {' or '.join(options)}."),
        )
    return options.get(written, default)


def patterns(section: Section, key: str) -> tuple[str, ...]:
    """The valid ones of the patterns of a key."""
    found = []
    for place, pattern in enumerate(section.get(key, [])):
        try:
            Patterns([pattern])
        except PatternFault as error:
            section.fault(key, error.fault, error.remedy, place)
        else:
            found.append(pattern)
    return tuple(found)


def include(section: Section) -> tuple[str, ...]:
    """The patterns of the objects to read."""
    if not section.get("include", ["**"]):
        section.fault("include", "include is empty, so no object is read.", "Write a pattern.")
    return patterns(section, "include")


def format_name(section: Section) -> str | None:
    """The format; None when it is that of the extension."""
    written: str | None = section.get("format")
    if written is None or written in FORMATS:
        return written
    section.fault("format", f"{written!r} is not a format.", f"Use {', '.join(FORMATS)}.")
    return None


def bucket(section: Section, own: Mapping[str, str]) -> str:
    """The bucket; `own` are the settings of the buckets that Bucketline writes, by bucket."""
    written: str = section.get("bucket", "")
    if not written and "bucket" not in section:
        return ""
    if written in own:
        section.fault(
            "bucket",
            f"{written} is {own[written]}, which Bucketline writes itself.",
            "Use another bucket.",
        )
    elif not _BUCKET.fullmatch(written):
        section.fault(
            "bucket",
            f"{written!r} cannot be the name of a bucket.",
            "Write 3 to 63 of a-z, 0-9, dot and hyphen, a letter or digit first and last.",
        )
    return written


def share(section: Section) -> Fraction:
    """`refuse_object_above` as a fraction."""
    written = section.get("refuse_object_above", "100%")
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", written)
    value = Fraction(Decimal(found[1])) / 100 if found else Fraction(2)
    if value <= 1:
        return value
    section.fault(
        "refuse_object_above",
        f"{written!r} is not a share of the rows.",
        'Write a percentage from "0%" to "100%".',
    )
    return Fraction(1)


def dialect(section: Section, format_: str | None) -> Dialect:
    """How the files of the format are written."""
    inner = Section(section.get("dialect", {}), (*section.path, "dialect"), section.report, DIALECT)
    delimiter: str | None = inner.get("delimiter")
    quote: str = inner.get("quoteChar", '"')
    for key, character in (("delimiter", delimiter), ("quoteChar", quote)):
        if character is not None and not _is_punctuation(character):
            inner.fault(
                key,
                f"{character!r} cannot be the {key}.",
                "Write one ASCII character that is not a letter, a digit or a line ending.",
            )
    if format_ == "tsv" and delimiter not in {None, "\t"}:
        inner.fault(
            "delimiter",
            f"{delimiter!r} is not the delimiter of the format tsv.",
            'Remove it, or write format = "csv".',
        )
    if delimiter == quote:
        inner.fault("delimiter", "delimiter and quoteChar are the same.", "Change one of them.")
    return Dialect(
        delimiter=delimiter,
        quote_char=quote,
        header_row=_header_row(inner),
        member=_member(inner, format_),
    )


def _member(inner: Section, format_: str | None) -> str | None:
    """The member of JSON files that has the rows."""
    written: str | None = inner.get("property")
    if written is None:
        return None
    if format_ not in {None, SourceFormat.JSON}:
        inner.fault(
            "property",
            f"property is for JSON files, and the format is {format_}.",
            'Remove it, or write format = "json".',
        )
    if not written or "\0" in written:
        inner.fault(
            "property", f"{written!r} cannot name a member.", 'Write a name, such as "data".'
        )
        return None
    return written


def _header_row(inner: Section) -> int:
    rows: list[int] = inner.get("headerRows", [1])
    if len(rows) == 1 and 1 <= rows[0] <= _LAST_HEADER_ROW:
        return rows[0]
    inner.fault(
        "headerRows",
        f"{rows} is not the row of a header.",
        f"Write one number from 1 to {_LAST_HEADER_ROW:,}, such as [3].",
    )
    return 1


def sheet(section: Section) -> str | int | None:
    """The sheet of workbooks, by name or by place; None for the first one."""
    written: str | int | None = section.get("sheet")
    if isinstance(written, str) and not written.strip():
        section.fault("sheet", "sheet is blank.", "Write the name of a sheet, or remove it.")
        return None
    if isinstance(written, int) and written < 1:
        section.fault("sheet", f"{written} is not the place of a sheet.", "The first one is 1.")
        return None
    return written


def _is_punctuation(text: str) -> bool:
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in "\r\n\0"


def path_columns(
    section: Section, found_include: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """The template of the columns in keys, or "hive", and their names."""
    written: str | None = section.get("path_columns")
    if written is None:
        return None, ()
    if written == HIVE:
        names = hive_names(found_include)
        fault = "No pattern of include has a folder such as year=*."
        remedy = 'Name the folders in include, such as "sales/year=*/month=*/*.csv".'
    else:
        try:
            names = Template(written).names
        except PatternFault as error:
            section.fault("path_columns", error.fault, error.remedy)
            return None, ()
        fault = f"{written!r} has no placeholder."
        remedy = 'Write one, such as "sensors/{site}/**", or "hive" for folders such as year=2026.'
    if not names:
        section.fault("path_columns", fault, remedy)
    valid = [check_column_name(section, "path_columns", name) for name in names]
    return (written, names) if all(valid) and names else (None, ())


def derived(section: Section, fields: Mapping[str, Field]) -> tuple[Derived, ...]:
    """The columns computed from others."""
    found = []
    for place, table in enumerate(section.get("derived", [])):
        inner = Section(table, (*section.path, "derived", place), section.report, DERIVED)
        name, source = inner.get("name"), inner.get("from")
        is_named = name is not None and check_column_name(inner, "name", name)
        computed_as = choice(inner, "as", DerivedAs.DATE)
        if source is not None and source not in fields:
            unknown_field(inner, "from", source, fields)
        elif source is not None and fields[source].type not in _DERIVED_FROM[computed_as]:
            types = " or ".join(sorted(_DERIVED_FROM[computed_as]))
            inner.fault(
                "from",
                f"{source} has the type {fields[source].type}.",
                f"{computed_as} can be derived from fields of the type {types}.",
            )
        if is_named and source is not None:
            found.append(Derived(name=name, source=source, computed_as=computed_as))
    return tuple(found)


def attachments(section: Section, fields: Mapping[str, Field]) -> tuple[Attachment, ...]:
    """The images joined to rows."""
    found = []
    for place, table in enumerate(section.get("attachments", [])):
        inner = Section(table, (*section.path, "attachments", place), section.report, ATTACHMENT)
        column, match = inner.get("column"), inner.get("match")
        is_named = column is not None and check_column_name(inner, "column", column)
        if match is not None:
            _check_match(inner, match, fields)
        if is_named and match is not None:
            found.append(Attachment(column=column, match=match))
    return tuple(found)


def _check_match(inner: Section, match: str, fields: Mapping[str, Field]) -> None:
    try:
        template = Template(match)
    except PatternFault as error:
        inner.fault("match", error.fault, error.remedy)
        return
    if len(template.names) != 1:
        inner.fault(
            "match",
            f"{match!r} has {len(template.names)} placeholders instead of one.",
            "Write one field as placeholder, such as **/{order_id}.png.",
        )
    for name in template.names:
        if name not in fields:
            unknown_field(inner, "match", name, fields)
        elif fields[name].type is not FieldType.STRING:
            inner.fault(
                "match", f"{name} has the type {fields[name].type}.", "Use a field of type string."
            )
    if not all(suffix.endswith(_IMAGE_ENDINGS) for suffix in template.suffixes):
        inner.fault(
            "match",
            f"{match!r} also matches objects that are not images.",
            f"End it in {', '.join(_IMAGE_ENDINGS)}, or in several with braces.",
        )


def unknown_field(
    section: Section, key: str, name: str, known: Mapping[str, Any], *more: int
) -> None:
    """Report a name that is not a field, in the value of a key or at a place in it."""
    section.fault(
        key,
        f"There is no field named {name!r}.",
        suggestion(name, known, otherwise=f"Use one of {', '.join(known) or 'the fields'}."),
        *more,
    )


def publish(section: Section) -> tuple[str, ...]:
    """The names of the published files."""
    found = tuple(section.get("publish", []))
    for place, name in enumerate(found):
        if not name.endswith(_OUTPUT_ENDINGS):
            section.fault(
                "publish",
                f"{name!r} is neither CSV nor Parquet.",
                "End it in .csv or .parquet.",
                place,
            )
        elif not _OUTPUT.fullmatch(name):
            section.fault(
                "publish",
                f"{name!r} cannot be the name of a published file.",
                "Use letters, digits, _, - and dots, and / between folders.",
                place,
            )
    return found

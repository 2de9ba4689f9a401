"""The keys of a datasets file: their types, and those of standards that are not supported.

docs/reference/datasets.md lists all of them; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ValueKind(Enum):
    """The type of a key's value, in the words of messages."""

    TEXT = "a text"
    TEXTS = "a list of texts"
    TEXT_OR_TEXTS = "a text or a list of texts"
    LISTS = "a list of lists of texts"
    FLAG = "true or false"
    INTEGER = "a whole number"
    TABLE = "a table"
    TABLES = "a list of tables"
    TEXT_OR_TABLE = "a table or the name of a JSON file"
    TEXT_OR_INTEGER = "a text or a whole number"
    INTEGERS = "a list of whole numbers"
    MISSING_VALUES = "a list of texts, or of tables with a value"
    ANY = "a value"
    LIST = "a list"


@dataclass(frozen=True, slots=True)
class KeyRule:
    """The type of a key and an example in TOML."""

    kind: ValueKind
    example: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key of a standard that is not supported: the values that mean what happens anyway."""

    remedy: str
    harmless: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class TableRules:
    """The keys of one kind of table; `informational` ones are read by other programs only."""

    keys: Mapping[str, KeyRule]
    required: tuple[str, ...] = ()
    refused: Mapping[str, Refusal] | None = None
    informational: frozenset[str] = frozenset()


_TEXT, _TEXTS, _FLAG = ValueKind.TEXT, ValueKind.TEXTS, ValueKind.FLAG
_INFORMATIONAL = frozenset(
    {
        *("$schema", "contributors", "created", "description", "example", "examples", "homepage"),
        *("keywords", "licenses", "name", "profile", "rdfType", "sources", "title", "version"),
    }
)
_REMOVE = "Remove it."

ROOT = TableRules(
    keys={
        "version": KeyRule(ValueKind.INTEGER, "1"),
        "datasets": KeyRule(ValueKind.TABLE, "[datasets.orders]"),
    },
    required=("version", "datasets"),
)

_SHARED = {
    "include": KeyRule(_TEXTS, '["orders/**/*.csv"]'),
    "exclude": KeyRule(_TEXTS, '["orders/tmp/**"]'),
    "bucket": KeyRule(_TEXT, '"orders-data"'),
    "on_removed": KeyRule(_TEXT, '"retire"'),
    "paused": KeyRule(_FLAG, "true"),
    "refuse_object_above": KeyRule(_TEXT, '"10%"'),
    "indexes": KeyRule(ValueKind.LISTS, '[["updated_at"]]'),
    "publish": KeyRule(_TEXTS, '["orders.csv"]'),
}
_PRESET_KEYS = {"preset": KeyRule(_TEXT, '"users"'), **_SHARED}
DATASET = TableRules(
    keys={
        **_PRESET_KEYS,
        "table": KeyRule(_TEXT, '"orders"'),
        "format": KeyRule(_TEXT, '"csv"'),
        "sheet": KeyRule(ValueKind.TEXT_OR_INTEGER, '"Orders"'),
        "prefer": KeyRule(_TEXT, '"updated_at"'),
        "unknown_columns": KeyRule(_TEXT, '"extra"'),
        "short_rows": KeyRule(_TEXT, '"refuse"'),
        "path_columns": KeyRule(_TEXT, '"orders/{country}/**"'),
        "dialect": KeyRule(ValueKind.TABLE, '{ delimiter = ";" }'),
        "schema": KeyRule(ValueKind.TEXT_OR_TABLE, '"schemas/orders.json"'),
        "derived": KeyRule(
            ValueKind.TABLES, '[{ name = "birthdate", from = "birthts", as = "date" }]'
        ),
        "attachments": KeyRule(
            ValueKind.TABLES, '[{ column = "scan", match = "**/{order_id}.png" }]'
        ),
    },
    required=("include", "schema"),
)

PRESET = TableRules(
    keys=_PRESET_KEYS,
    refused={
        key: Refusal("Remove it; the preset decides it.")
        for key in DATASET.keys
        if key not in _PRESET_KEYS
    },
)

DIALECT = TableRules(
    keys={
        "delimiter": KeyRule(_TEXT, '";"'),
        "quoteChar": KeyRule(_TEXT, '"\'"'),
        "headerRows": KeyRule(ValueKind.INTEGERS, "[3]"),
        "property": KeyRule(_TEXT, '"data"'),
    },
    refused={
        "header": Refusal("Add a header line to the files.", (True,)),
        "headerJoin": Refusal("The header must be one line."),
        "commentRows": Refusal("Remove the comments from the files.", ([],)),
        "commentChar": Refusal("Remove the comments from the files.", ("",)),
        "doubleQuote": Refusal("A quote in a quoted cell must be doubled.", (True,)),
        "escapeChar": Refusal("A quote in a quoted cell must be doubled."),
        "nullSequence": Refusal("Use missingValues of the schema."),
        "skipInitialSpace": Refusal("Remove it; space around cells is removed.", (False,)),
        "lineTerminator": Refusal(
            "Remove it; all line endings are accepted.", ("\n", "\r\n", "\r")
        ),
        "itemType": Refusal("Remove it, and export each row as an object.", ("object",)),
        "itemKeys": Refusal(
            "Remove it; members are found by the names of fields, and their aliases."
        ),
        "sheetNumber": Refusal("Use sheet of the dataset.", (1,)),
        "sheetName": Refusal("Use sheet of the dataset."),
        "table": Refusal("Remove it; databases are not read."),
    },
    informational=_INFORMATIONAL,
)

SCHEMA = TableRules(
    keys={
        "fields": KeyRule(ValueKind.TABLES, '[{ name = "order_id", type = "string" }]'),
        "primaryKey": KeyRule(ValueKind.TEXT_OR_TEXTS, '["order_id"]'),
        "missingValues": KeyRule(ValueKind.MISSING_VALUES, '["", "NULL"]'),
    },
    required=("fields",),
    refused={
        "foreignKeys": Refusal("Remove them; references to other tables are not checked.", ([],)),
        "uniqueKeys": Refusal("Use primaryKey.", ([],)),
        "fieldsMatch": Refusal(
            "Remove it; columns are found by name in any order, and unknown_columns is for others."
        ),
    },
    informational=_INFORMATIONAL,
)

FIELD = TableRules(
    keys={
        "name": KeyRule(_TEXT, '"order_id"'),
        "type": KeyRule(_TEXT, '"string"'),
        "title": KeyRule(_TEXT, '"Order number"'),
        "description": KeyRule(_TEXT, '"Two letters and six digits"'),
        "aliases": KeyRule(_TEXTS, '["Order No"]'),
        "sql": KeyRule(_TEXT, '"numeric(12,2)"'),
        "format": KeyRule(_TEXT, '"%d.%m.%Y"'),
        "timezone": KeyRule(_TEXT, '"Europe/Berlin"'),
        "decimalChar": KeyRule(_TEXT, '","'),
        "groupChar": KeyRule(_TEXT, '"."'),
        "trueValues": KeyRule(_TEXTS, '["yes"]'),
        "falseValues": KeyRule(_TEXTS, '["no"]'),
        "missingValues": KeyRule(ValueKind.MISSING_VALUES, '["", "NULL"]'),
        "trim": KeyRule(_FLAG, "false"),
        "constraints": KeyRule(ValueKind.TABLE, "{ required = true }"),
    },
    required=("name", "type"),
    refused={
        "bareNumber": Refusal("Remove it, and the other characters from the numbers.", (True,)),
        "categories": Refusal("Use the constraint enum."),
        "categoriesOrdered": Refusal("Use the constraint enum.", (False,)),
        "itemType": Refusal("Remove it; the type list is not supported."),
        "delimiter": Refusal("Remove it; the type list is not supported."),
    },
    informational=_INFORMATIONAL - {"name", "title", "description"},
)

CONSTRAINTS = TableRules(
    keys={
        "required": KeyRule(_FLAG, "true"),
        "minimum": KeyRule(ValueKind.ANY, "0"),
        "maximum": KeyRule(ValueKind.ANY, "100"),
        "exclusiveMinimum": KeyRule(ValueKind.ANY, "0"),
        "exclusiveMaximum": KeyRule(ValueKind.ANY, "100"),
        "minLength": KeyRule(ValueKind.INTEGER, "1"),
        "maxLength": KeyRule(ValueKind.INTEGER, "100"),
        "pattern": KeyRule(_TEXT, "'[A-Z]{2}-[0-9]{6}'"),
        "enum": KeyRule(ValueKind.LIST, '["new", "paid"]'),
    },
    refused={
        "unique": Refusal("Use primaryKey of the schema.", (False,)),
        "jsonSchema": Refusal(_REMOVE),
    },
)

DERIVED = TableRules(
    keys={
        "name": KeyRule(_TEXT, '"birthdate"'),
        "from": KeyRule(_TEXT, '"birthts"'),
        "as": KeyRule(_TEXT, '"date"'),
    },
    required=("name", "from", "as"),
)

ATTACHMENT = TableRules(
    keys={
        "column": KeyRule(_TEXT, '"scan"'),
        "match": KeyRule(_TEXT, '"**/{order_id}.{png,jpg}"'),
    },
    required=("column", "match"),
)

UNSUPPORTED_TYPES = {
    "yearmonth": "Use string with a pattern.",
    "duration": "Use string with a pattern.",
    "geopoint": "Use string, or two numbers.",
    "geojson": "Use object.",
    "list": "Use string, or array for JSON.",
}

"""The routes of each declared dataset in /openapi.json: its columns as schemas and filters."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from api.rows.requests import PARAMETERS
from api.rows.shapes import live_rows, retired_rows
from api.spec import examples
from etl.model.types import Operator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.rows.columns import Column
    from api.rows.shapes import RowShape
    from api.state.catalog import Installed
    from etl.model.types import SqlType

Json = dict[str, Any]

_JSON = "application/json"
_PREFIX = "#/components/schemas/"
_GENERIC = "/datasets/{dataset}"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT: Json = {"type": "string", "examples": ["text"]}
_TIME: Json = {
    "type": "string",
    "format": "date-time",
    "examples": ["2026-01-31T13:45:00.000000Z"],
}
# By column type, the schema of its JSON. NaN and the infinities of floats are strings.
_SCHEMAS: dict[str, Json] = {
    "text": _TEXT,
    "varchar": _TEXT,
    "char": _TEXT,
    "uuid": {
        "type": "string",
        "format": "uuid",
        "examples": ["01234567-89ab-cdef-0123-456789abcdef"],
    },
    "smallint": {"type": "integer", "format": "int32", "examples": [42]},
    "integer": {"type": "integer", "format": "int32", "examples": [42]},
    "bigint": {"type": "integer", "format": "int64", "examples": [42]},
    "numeric": {"type": "number", "examples": [12.5]},
    "real": {"type": ["number", "string"], "examples": [12.5]},
    "double precision": {"type": ["number", "string"], "examples": [12.5]},
    "boolean": {"type": "boolean", "examples": [True]},
    "date": {"type": "string", "format": "date", "examples": ["2026-01-31"]},
    "time": {"type": "string", "examples": ["13:45:00"]},
    "timestamptz": _TIME,
    "timestamp": _TIME,
    "jsonb": {"examples": [{"any": "JSON value"}]},
}


def with_datasets(spec: Json, datasets: Iterable[Installed], schema: str) -> Json:
    """A copy of the description with routes for each of the datasets, whose tables are in `schema`.

    Their names are also names of classes and functions of generated clients, so they differ in more
    than letter case and underscores.
    """
    spec = deepcopy(spec)
    taken: set[str] = set()
    for one in datasets:
        _add(spec, one, _unique(one.dataset.name, taken), schema)
    return spec


def _add(spec: Json, installed: Installed, suffix: str, schema: str) -> None:
    """Add the routes of a dataset; `suffix` ends the names of its schemas and operations."""
    name = installed.dataset.name
    live, retired = live_rows(installed, schema), retired_rows(installed, schema)
    for shape, route, row, operation_id in (
        (live, "rows", "RowOf", "list_rows_of"),
        (retired, "retired", "RetiredRowOf", "list_retired_rows_of"),
    ):
        row_schema = f"{row}_{suffix}"
        spec["components"]["schemas"][row_schema] = _row_schema(shape)
        operation = _operation(spec, route, name, f"{operation_id}_{suffix}")
        operation["parameters"] = [
            one for one in operation["parameters"] if one["name"] != "filters"
        ] + _filters(shape)
        _set_content(spec, operation, {"type": "array", "items": _ref(row_schema)})
    if live.is_keyed:
        operation = _operation(spec, "rows/{row_key}", name, f"show_row_of_{suffix}")
        found = deepcopy(spec["components"]["schemas"]["DatasetRow"])
        found["properties"]["row"] = _ref(f"RowOf_{suffix}")
        found["title"] = f"FoundRowOf_{suffix}"
        spec["components"]["schemas"][f"FoundRowOf_{suffix}"] = found
        _set_content(spec, operation, _ref(f"FoundRowOf_{suffix}"))


def _operation(spec: Json, route: str, name: str, operation_id: str) -> Json:
    """A copy of the operation of any dataset, for the dataset with this name."""
    operation: Json = deepcopy(spec["paths"][f"{_GENERIC}/{route}"]["get"])
    operation["operationId"] = operation_id
    operation["summary"] = f"{operation['summary'].rstrip('.')}: {name}."
    operation["parameters"] = [one for one in operation["parameters"] if one["name"] != "dataset"]
    spec["paths"][f"/datasets/{name}/{route}"] = {"get": operation}
    return operation


def _set_content(spec: Json, operation: Json, schema: Json) -> None:
    content = operation["responses"]["200"]["content"][_JSON]
    content["schema"] = schema
    content["example"] = examples.compose(schema, spec["components"]["schemas"])


def _ref(name: str) -> Json:
    return {"$ref": _PREFIX + name}


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number if another one differs only in letter case and underscores."""
    found, number = name, 1
    while _folded(found) in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(_folded(found))
    return found


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


# -- columns


def _row_schema(shape: RowShape) -> Json:
    """The schema of a row. No column is required, because `fields` chooses them."""
    return {
        "type": "object",
        "properties": {name: _column_schema(column) for name, column in shape.columns.items()},
        "examples": [
            {
                name: _SCHEMAS[shape.columns[name].type.name]["examples"][0]
                for name in shape.default_fields
            }
        ],
    }


def _column_schema(column: Column) -> Json:
    schema = _SCHEMAS[column.type.name] | _limits(column.type)
    if column.is_not_null or "type" not in schema:
        return schema
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": [*types, "null"]}


def _limits(type_: SqlType) -> Json:
    return {} if type_.length is None else {"maxLength": type_.length}


def _filters(shape: RowShape) -> list[Json]:
    """A parameter for each column whose name no parameter has, nor a column before it.

    Generated clients would have two arguments with the same name. All columns have filters.
    """
    taken = {_folded(name) for name in PARAMETERS}
    found = []
    for name, column in shape.columns.items():
        if _PLAIN_NAME.fullmatch(name) and _folded(name) not in taken:
            taken.add(_folded(name))
            found.append(_filter(name, column))
    return found


def _filter(name: str, column: Column) -> Json:
    operators = [one.value for one in Operator if one in column.type.traits.operators]
    with_values = [one for one in operators if one not in (Operator.IS, Operator.IN)]
    constants = "null|not_null|true|false" if column.type.name == "boolean" else "null|not_null"
    patterns = [rf"is\.({constants})"]
    if with_values:
        patterns += [r"in\.\([^\u0000]*\)", rf"({'|'.join(with_values)})\.[^\u0000]*"]
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": f"Filter of the column `{name}`, {column.type}: `operator.value` with"
        f" {', '.join(operators)}, or `not.operator.value`. May be repeated.",
        "schema": {"type": "string", "pattern": rf"^(not\.)?({'|'.join(patterns)})$"},
    }

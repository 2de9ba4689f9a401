"""Unique names for the schemas in the OpenAPI description.

APIFlask adds nested models as `Outer.Inner`, once per outer model. Generated clients would
contain several classes with the same name, or none.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_PREFIX = "#/components/schemas/"


def name_each_once(spec: Json) -> Json:
    """The description with each `Outer.Inner` renamed to `Inner`, including references.

    Raises:  ValueError when two different schemas would get the same name.
    """
    renamed: Json = _renamed(spec)
    schemas: Json = {}
    for name, schema in _renamed(spec["components"]["schemas"]).items():
        short = _short(name)
        if schemas.setdefault(short, schema) != schema:
            raise ValueError(f"Two schemas are called {short}: rename one of the models.")
    renamed["components"]["schemas"] = schemas
    return renamed


def _renamed(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The value with short names in all references."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.startswith(_PREFIX):
        return value | {"$ref": _PREFIX + _short(reference.removeprefix(_PREFIX))}
    return {key: _renamed(item) for key, item in value.items()}


def _short(name: str) -> str:
    return name.rpartition(".")[2]

"""Examples of response bodies, composed from the examples of the schemas' fields."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_PREFIX = "#/components/schemas/"
_JSON = "application/json"


def add_missing(spec: Json) -> None:
    """Add an example to each JSON response that has a schema but no example."""
    schemas = spec["components"]["schemas"]
    for operations in spec["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                content = response.get("content", {}).get(_JSON, {})
                if content.get("schema") and "example" not in content:
                    content["example"] = compose(content["schema"], schemas)


def compose(schema: Json, schemas: dict[str, Json]) -> Any:  # noqa: ANN401 - any JSON value
    """An example of a schema: its own, otherwise one composed from its parts."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return compose(schemas[schema["$ref"].removeprefix(_PREFIX)], schemas)
    if "anyOf" in schema:
        return compose(schema["anyOf"][0], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const") or schema["enum"][0]
    if "items" in schema:
        return [compose(schema["items"], schemas)]
    return {name: compose(part, schemas) for name, part in schema.get("properties", {}).items()}

"""Each schema is in the OpenAPI description once, under its own name."""

from __future__ import annotations

import pytest

from api.spec.schema_names import name_each_once

RUN = {"type": "object", "properties": {"state": {"$ref": "#/components/schemas/Runs.State"}}}


def test_schema_shared_by_models_is_named_once():
    state = {"enum": ["done"]}
    schemas = {"Runs.Run": RUN, "Run": RUN, "Runs.State": state, "Run.State": state}
    paths = {"/runs": [{"$ref": "#/components/schemas/Runs.Run"}], "$ref": "#/other/a.b"}
    named = name_each_once({"paths": paths, "components": {"schemas": schemas}})
    assert named["components"]["schemas"] == {
        "Run": {"type": "object", "properties": {"state": {"$ref": "#/components/schemas/State"}}},
        "State": state,
    }
    assert named["paths"] == {
        "/runs": [{"$ref": "#/components/schemas/Run"}],
        "$ref": "#/other/a.b",
    }


def test_two_schemas_of_one_name_are_a_mistake():
    schemas = {"A.State": {"enum": ["a"]}, "B.State": {"enum": ["b"]}}
    with pytest.raises(ValueError, match="Two schemas are called State"):
        name_each_once({"components": {"schemas": schemas}})

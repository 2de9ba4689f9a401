"""What makes /openapi.json complete and true: error answers, paths and query parameters."""

from __future__ import annotations

from typing import Any

from api import errors
from api.converters import MAX_ID
from api.schemas import FaultyParameter, ProblemDocument

Json = dict[str, Any]
Responses = dict[int | str, Any]

DESCRIPTION = """The users of a bucket, kept level with it, over HTTP.

Times are UTC. Errors are `application/problem+json` (RFC 9457) with a `hint` that says what
to do. Parameters that are unknown, repeated or empty are refused with 422."""

_PROBLEM_REF = {"$ref": "#/components/schemas/ProblemDocument"}

_PATH_PARAMETERS: dict[str, Json] = {
    "user_id": {
        "description": "A user's id, percent-encoded; it may hold any character.",
        "schema": {"type": "string", "minLength": 1},
        "example": "1000",
    },
    "run_id": {
        "description": "A run's id.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
        "example": 1,
    },
}

_EXAMPLES: dict[int, Json] = {
    400: errors.document(
        400,
        "Records[0].s3.object.key: Field required.",
        kind="wrong-event",
        hint="Send the JSON of S3 event notifications: an object with a list of Records.",
        instance="/minio-event",
    ),
    401: errors.document(
        401,
        "The token is missing or wrong.",
        kind="wrong-webhook-token",
        hint="Send `Authorization: Bearer TOKEN` with the value of WEBHOOK_TOKEN.",
        instance="/minio-event",
    ),
    413: errors.document(413, "The request's body is too large.", instance="/minio-event"),
    404: errors.document(
        404,
        "There is no run 7.",
        kind="unknown-run",
        hint="GET /runs lists them.",
        instance="/runs/7",
    ),
    422: errors.document(
        422,
        "min_age must be a whole number.",
        kind="wrong-parameters",
        instance="/data",
        errors=[{"parameter": "min_age", "message": "must be a whole number"}],
    ),
    500: errors.document(500, "Something went wrong that should not.", instance="/data"),
    503: errors.document(
        503,
        "PostgreSQL is not available.",
        kind="database-unavailable",
        hint="Try again in a few seconds; if it lasts, check that DATABASE_URL answers.",
        instance="/data",
    ),
}
_MEANINGS = {
    400: "The body is not what a store sends.",
    401: "The token is missing or wrong.",
    413: "The body is too large.",
    404: "There is no such thing.",
    422: "A parameter is unknown, repeated, empty or senseless; `errors` names it.",
    500: "A fault of Bucketline.",
    503: "Something we depend on is down; try again after `Retry-After` seconds.",
}
_PASSING = (503,)
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer"},
    }
}

LINK_HEADER = {
    "Link": {
        "description": 'The next page, as `<...>; rel="next"`; absent on the last one.',
        "schema": {"type": "string"},
    }
}
LOCATION_HEADER = {
    "Location": {"description": "Where the run is.", "schema": {"type": "string"}},
}


def problems(*statuses: int) -> Responses:
    """The `responses` of a route that may fail in these ways (and with 500, as any may)."""
    return {status: _problem_response(status) for status in (*statuses, 500)}


def _problem_response(status: int) -> Json:
    response: Json = {
        "description": _MEANINGS[status],
        "content": {errors.MIMETYPE: {"schema": _PROBLEM_REF, "example": _EXAMPLES[status]}},
    }
    return response | ({"headers": _RETRY_AFTER} if status in _PASSING else {})


def complete(spec: Json | str) -> Json | str:
    """Add what APIFlask cannot know: the problem document, and parameters in full."""
    if isinstance(spec, str):  # YAML, which we do not serve
        return spec
    schemas = spec.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    schemas["ProblemDocument"].pop("$defs")
    schemas["FaultyParameter"] = FaultyParameter.model_json_schema()
    for operations in spec["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [_parameter(given) for given in operation["parameters"]]
    return spec


def _parameter(given: Json) -> Json:
    if given["in"] == "path":
        return given | {"required": True} | _PATH_PARAMETERS[given["name"]]
    return _query_parameter(given)


def _query_parameter(given: Json) -> Json:
    """Lift description and example to where readers look; a query string knows no null."""
    schema = dict(given["schema"])
    lifted = {"description": schema.pop("description", "")}
    if "examples" in schema:
        lifted["example"] = schema.pop("examples")[0]
    schema.pop("title", None)
    for choice in schema.pop("anyOf", []):
        if choice != {"type": "null"}:
            schema |= choice
    if schema.get("default", 0) is None:
        del schema["default"]
    return given | lifted | {"schema": schema}

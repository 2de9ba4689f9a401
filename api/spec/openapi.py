"""Completes /openapi.json: error responses, path and query parameters."""

from __future__ import annotations

from typing import Any

from api.http import errors
from api.http.converters import MAX_ID
from api.schemas.service import FaultyParameter, ProblemDocument
from api.spec import examples
from api.spec.bodies import ANY_TYPE, REQUEST_BODIES
from etl.model.errors import KeyConflict
from etl.storage.documents import NAME

Json = dict[str, Any]
Responses = dict[int | str, Any]

DESCRIPTION = """HTTP access to the users, documents and objects of a bucket.

Times are in UTC. Error responses are `application/problem+json` (RFC 9457) and contain a `hint`
on how to fix the problem. Unknown, repeated and empty parameters are rejected with 422."""

_PROBLEM_REF = {"$ref": "#/components/schemas/ProblemDocument"}

_PATH_PARAMETERS: dict[str, Json] = {
    "user_id": {
        "description": "ID of a user, percent-encoded including slashes. All characters are valid.",
        "schema": {"type": "string", "minLength": 1},
        "example": "1000",
    },
    "dataset": {
        "description": "Name of a dataset; GET /datasets lists them.",
        "schema": {"type": "string", "minLength": 1},
        "example": "users",
    },
    "row_key": {
        "description": "Primary key of a row, percent-encoded; the parts of a composite key are"
        " percent-encoded one by one and joined by commas.",
        "schema": {"type": "string", "minLength": 1},
        "example": "1000",
    },
    "name": {
        "description": "Name of a document.",
        "schema": {"type": "string", "pattern": f"^{NAME}$"},
        "example": "report.json",
    },
    "bucket": {
        "description": "Name of a bucket; GET /objects lists the buckets.",
        "schema": {"type": "string", "minLength": 1},
        "example": "src-data",
    },
    "key": {
        "description": "Object key, percent-encoded except for slashes; at most 1,024 bytes.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 1024},
        "example": "1000.csv",
    },
    "run_id": {
        "description": "ID of a run.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
        "example": 1,
    },
}

_EXAMPLES: dict[int, Json] = {
    400: errors.problem_details(
        400,
        "The body is not JSON: unexpected character, at line 1, column 8.",
        kind="invalid-json",
        hint="Correct it there. NaN, Infinity, comments, byte order marks and UTF-16 are not"
        " valid.",
        instance="/documents",
        line=1,
        column=8,
    ),
    403: errors.problem_details(
        403,
        "Bucket 'processed-data' is read-only.",
        kind="read-only-bucket",
        hint="GET /objects lists the rights; the setting OBJECT_BUCKETS grants them.",
        instance="/objects/processed-data/1000.csv",
    ),
    404: errors.problem_details(
        404,
        "There is no run 7.",
        kind="unknown-run",
        hint="GET /runs lists the runs.",
        instance="/runs/7",
    ),
    406: errors.problem_details(
        406,
        "The Accept header allows none of the available media types: application/json, text/csv.",
        kind="not-acceptable",
        instance="/data",
        available=["application/json", "text/csv"],
    ),
    409: errors.problem_details(
        409,
        "Object '1000.csv/a' conflicts with an existing folder or object.",
        kind="key-taken",
        hint=KeyConflict.hint,
        instance="/objects/src-data/1000.csv/a",
    ),
    411: errors.problem_details(
        411,
        "The request has neither a body nor a Content-Length. Nothing was stored.",
        kind="no-body",
        hint="Send the content (curl: -T FILE), or Content-Length: 0 for an empty object.",
        instance="/objects/src-data/1000.csv",
    ),
    412: errors.problem_details(
        412,
        "The resource already exists, with the ETag '9bb58f26192e4ba00f01e2e7b136bbd8'.",
        kind="object-exists",
        hint="Use another name, or omit If-None-Match to replace the resource.",
        instance="/objects/src-data/1000.csv",
    ),
    413: errors.problem_details(413, "The request body is too large.", instance="/documents"),
    415: errors.problem_details(
        415,
        "The Content-Type of the body is 'text/plain'.",
        kind="not-json",
        hint="Send JSON with the header Content-Type: application/json.",
        instance="/documents",
    ),
    416: errors.problem_details(
        416,
        "The requested range is beyond the end of the object, which has 66 bytes.",
        kind="range-not-satisfiable",
        hint="Request a range within the object, or omit the Range header.",
        instance="/objects/src-data/1000.csv",
    ),
    422: errors.problem_details(
        422,
        "min_age must be a whole number.",
        kind="wrong-parameters",
        instance="/data",
        errors=[{"parameter": "min_age", "message": "must be a whole number"}],
    ),
    500: errors.problem_details(
        500, "The API failed because of an unexpected error.", instance="/data"
    ),
    501: errors.problem_details(
        501,
        "The object store does not support uploads with If-None-Match.",
        kind="not-supported",
        hint="Send the request without the condition, after comparing the ETag from HEAD.",
        instance="/objects/src-data/1000.csv",
    ),
    503: errors.problem_details(
        503,
        "PostgreSQL is not available.",
        kind="database-unavailable",
        hint="Try again in a few seconds. If the error persists, check that PostgreSQL is"
        " reachable at DATABASE_URL.",
        instance="/data",
    ),
    507: errors.problem_details(
        507,
        "The server's disk is full, so it could not receive the request body. Nothing was stored.",
        kind="insufficient-storage",
        instance="/objects/src-data/1000.csv",
    ),
}
_MEANINGS = {
    400: "The body is invalid; `detail` names the cause and its position.",
    403: "The request is not allowed; `detail` names the reason.",
    404: "The resource does not exist.",
    406: "The Accept header allows no available media type; `available` lists them.",
    409: "The request conflicts with what exists; `detail` names it.",
    411: "The request has neither a body nor a Content-Length.",
    412: "A condition of the request is not met.",
    413: "The body exceeds the size limit of this route.",
    415: "The route does not support the media type of the body.",
    416: "The requested range is not satisfiable.",
    422: "A parameter is unknown, repeated, empty or invalid; `errors` names it.",
    500: "An unexpected error; a bug in Bucketline.",
    501: "The object store does not support the request.",
    503: "The database or the object store is unavailable; retry after `Retry-After` seconds.",
    507: "The server's disk is full.",
}
_TEMPORARY = (503,)
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before retrying.",
        "schema": {"type": "integer"},
    }
}

# Filters have the names of columns, which the description cannot list.
_FILTERS: Json = {
    "name": "filters",
    "in": "query",
    "required": False,
    "description": "Filters `column=operator.value`, all of which must hold. The operators are"
    " `eq`,"
    " `neq`, `gt`, `gte`, `lt`, `lte`, `in.(a,b)`, `is.null`, `is.not_null` and `like` with `*` for"
    " any text; `not.` before an operator negates it. A column named like another parameter is"
    ' written in double quotes, as in `"limit"=eq.5`.',
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
}
_FILTERED = tuple(f"/datasets/{{dataset}}/{one}" for one in ("rows", "retired", "shadowed"))

BINARY_ROW_FORMATS: Json = {
    "application/vnd.apache.parquet": {
        "schema": {"type": "string", "format": "binary", "description": "A Parquet file."},
        "example": "PAR1",
    },
    "application/vnd.apache.arrow.stream": {
        "schema": {"type": "string", "format": "binary", "description": "An Arrow IPC stream."},
        "example": "ARROW",
    },
}
OTHER_ROW_FORMATS: Json = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One JSON object per line."},
        "example": '{"order_id" : "DE-000017", "status" : "paid"}\n',
    },
    "text/csv": {
        "schema": {"type": "string", "description": "A header line, and one line per row."},
        "example": "order_id,status\nDE-000017,paid\n",
    },
    **BINARY_ROW_FORMATS,
}

LINK_HEADER = {
    "Link": {
        "description": 'The next page, as `<...>; rel="next"`; absent on the last page.',
        "schema": {"type": "string"},
    }
}
ETAG_HEADER = {
    "ETag": {
        "description": "Send it as `If-None-Match` to get 304 while nothing has changed.",
        "schema": {"type": "string"},
    }
}
NOT_MODIFIED: Json = {
    "description": "`If-None-Match` contains the current ETag.",
    "headers": ETAG_HEADER,
}
LOCATION_HEADER = {
    "Location": {"description": "URL of the resource.", "schema": {"type": "string"}},
}
DOWNLOAD: Json = {
    "description": "The content of the object.",
    "headers": {
        "ETag": {"description": "The object's ETag.", "schema": {"type": "string"}},
        "Accept-Ranges": {"description": "`bytes`.", "schema": {"type": "string"}},
    },
    "content": {
        kind: {
            "schema": {"type": "string", "format": "binary"},
            "example": "first_name,last_name,birthts\nAnn,Lee,0\n",
        }
        for kind in ANY_TYPE
    },
}


def problems(*statuses: int) -> Responses:
    """The error `responses` of a route with these statuses, and 500."""
    return {status: _problem_response(status) for status in (*statuses, 500)}


def _problem_response(status: int) -> Json:
    response: Json = {
        "description": _MEANINGS[status],
        "content": {errors.MIMETYPE: {"schema": _PROBLEM_REF, "example": _EXAMPLES[status]}},
    }
    return response | ({"headers": RETRY_AFTER} if status in _TEMPORARY else {})


def complete(spec: Json) -> Json:
    """Add what APIFlask does not generate: schemas of errors, full parameters, and examples."""
    tags = {tag["name"]: tag for tag in spec["tags"]}  # /data has two blueprints
    spec["tags"] = list(tags.values())
    schemas = spec.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    schemas["ProblemDocument"].pop("$defs")
    schemas["FaultyParameter"] = FaultyParameter.model_json_schema()
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if (path, method) in REQUEST_BODIES:
                operation["requestBody"] = REQUEST_BODIES[path, method]
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
            # Of method_blueprint_view keep the view: generated clients use it as the function name.
            operation["operationId"] = operation["operationId"].split("_", 2)[2]
            operation["parameters"] = [_parameter(each) for each in operation["parameters"]]
            if path in _FILTERED:
                operation["parameters"].append(_FILTERS)
    examples.add_missing(spec)
    return spec


def _parameter(parameter: Json) -> Json:
    if parameter["in"] == "path":
        return parameter | {"required": True} | _PATH_PARAMETERS[parameter["name"]]
    return _query_parameter(parameter)


def _query_parameter(parameter: Json) -> Json:
    """Move the description from the schema to the parameter, and remove null from its types.

    Examples become part of the description, because /docs would send them as default values.
    """
    schema = dict(parameter["schema"])
    moved = {"description": schema.pop("description", "")}
    for example in schema.pop("examples", []):
        moved["description"] += f" For example `{example}`."
    schema.pop("title", None)
    for choice in schema.pop("anyOf", []):
        if choice != {"type": "null"}:
            schema |= choice
    if schema.get("default", 0) is None:
        del schema["default"]
    return parameter | moved | {"schema": schema}

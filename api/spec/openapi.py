"""What makes /openapi.json complete and true: error answers, paths and query parameters."""

from __future__ import annotations

from typing import Any

from api.http import errors
from api.http.converters import MAX_ID
from api.schemas.service import FaultyParameter, ProblemDocument
from etl.db.events import TEST_EVENTS
from etl.storage.documents import NAME

Json = dict[str, Any]
Responses = dict[int | str, Any]

DESCRIPTION = """The users of a bucket, kept level with it, over HTTP.

Times are UTC. Errors are `application/problem+json` (RFC 9457) with a `hint` that says what
to do. Parameters that are unknown, repeated or empty are refused with 422."""

_PROBLEM_REF = {"$ref": "#/components/schemas/ProblemDocument"}

_PATH_PARAMETERS: dict[str, Json] = {
    "user_id": {
        "description": "A user's id, percent-encoded, including slashes; any character is valid.",
        "schema": {"type": "string", "minLength": 1},
        "example": "1000",
    },
    "dataset": {
        "description": "A dataset's name; the only one is `users`.",
        "schema": {"type": "string", "minLength": 1},
        "example": "users",
    },
    "name": {
        "description": "A document's name.",
        "schema": {"type": "string", "pattern": f"^{NAME}$"},
        "example": "report.json",
    },
    "bucket": {
        "description": "A bucket; GET /objects lists them.",
        "schema": {"type": "string", "minLength": 1},
        "example": "src-data",
    },
    "key": {
        "description": "A key of at most 1,024 bytes, percent-encoded; slashes need no encoding.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 1024},
        "example": "1000.csv",
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
        "The body is no JSON: unexpected character, at line 1, column 8.",
        kind="invalid-json",
        hint="Mend it there.",
        instance="/documents",
        line=1,
        column=8,
    ),
    403: errors.document(
        403,
        "Bucket 'processed-data' may only be read here.",
        kind="read-only-bucket",
        hint="GET /objects lists the rights; the setting OBJECT_BUCKETS gives them.",
        instance="/objects/processed-data/1000.csv",
    ),
    404: errors.document(
        404,
        "There is no run 7.",
        kind="unknown-run",
        hint="GET /runs lists them.",
        instance="/runs/7",
    ),
    406: errors.document(
        406,
        "The Accept header fits none of application/json, text/csv.",
        kind="not-acceptable",
        instance="/data",
        available=["application/json", "text/csv"],
    ),
    409: errors.document(
        409,
        "'1000.csv/a' is, or lies below, what is there already.",
        kind="key-taken",
        hint="Choose another key: in this store an object cannot be a folder as well.",
        instance="/objects/src-data/1000.csv/a",
    ),
    411: errors.document(
        411,
        "The request has neither a body nor a Content-Length. Nothing was stored.",
        kind="no-body",
        hint="Send the bytes (curl: -T FILE), or Content-Length: 0 for an empty object.",
        instance="/objects/src-data/1000.csv",
    ),
    412: errors.document(
        412,
        "There is an object '1000.csv' already.",
        kind="object-exists",
        hint="Choose another key, or put it without the condition to replace it.",
        instance="/objects/src-data/1000.csv",
    ),
    413: errors.document(413, "The request's body is too large.", instance="/documents"),
    415: errors.document(
        415,
        "The body is declared to be 'text/plain'.",
        kind="not-json",
        hint="Send JSON with the header Content-Type: application/json.",
        instance="/documents",
    ),
    416: errors.document(
        416,
        "The object has 66 bytes; the range asked for is behind them.",
        kind="range-not-satisfiable",
        hint="Ask for a range within it.",
        instance="/objects/src-data/1000.csv",
    ),
    422: errors.document(
        422,
        "min_age must be a whole number.",
        kind="wrong-parameters",
        instance="/data",
        errors=[{"parameter": "min_age", "message": "must be a whole number"}],
    ),
    500: errors.document(500, "Something went wrong that should not.", instance="/data"),
    501: errors.document(
        501,
        "The object store cannot put an object only where there is none.",
        kind="not-supported",
        hint="Leave out If-None-Match; look with HEAD first.",
        instance="/objects/src-data/1000.csv",
    ),
    503: errors.document(
        503,
        "PostgreSQL is not available.",
        kind="database-unavailable",
        hint="Try again in a few seconds; if it lasts, check that DATABASE_URL answers.",
        instance="/data",
    ),
    507: errors.document(
        507,
        "The server could not store the request's body: its disk is full. Nothing was stored.",
        kind="insufficient-storage",
        instance="/objects/src-data/1000.csv",
    ),
}
_MEANINGS = {
    400: "The body cannot be read; `detail` says why and where.",
    403: "This may not be done; `detail` says why.",
    404: "There is no such thing.",
    406: "Accept fits no format there is; `available` names them.",
    409: "The key is in the way of another; `detail` says how.",
    411: "There is neither a body nor a Content-Length.",
    412: "A condition of the request does not hold.",
    413: "The body is larger than this route takes.",
    415: "The body is of another kind than this route takes.",
    416: "The range asked for is behind the end.",
    422: "A parameter is unknown, repeated, empty or senseless; `errors` names it.",
    500: "A fault of Bucketline.",
    501: "The object store cannot do that.",
    503: "Something we depend on is down; try again after `Retry-After` seconds.",
    507: "The server's disk has no room for the body.",
}
_PASSING = (503,)
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer"},
    }
}

# Whatever an object is; the first for clients who know only what they can name.
_ANY_TYPE = ("application/octet-stream", "*/*")

_NOTIFICATION: Json = {
    "title": "Notification",
    "type": "object",
    "properties": {
        "Records": {
            "description": "The events; null is none.",
            "type": ["array", "null"],
            "items": {"type": "object"},
        }
    },
    "required": ["Records"],
}
_TEST_MESSAGE: Json = {
    "title": "TestMessage",
    "description": "What S3 sends once, to see whether somebody is there.",
    "type": "object",
    "properties": {"Event": {"type": "string", "enum": list(TEST_EVENTS)}},
    "required": ["Event"],
}

# A part of a form is text, whatever was made into text; `string` would forbid what none can tell.
_ANY_TEXT: Json = {"contentMediaType": "text/plain"}

# Bodies that routes read by themselves.
_REQUEST_BODIES: dict[tuple[str, str], Json] = {
    ("/objects/{bucket}/{key}", "put"): {
        "description": "The object's bytes.",
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _ANY_TYPE},
    },
    ("/objects/{bucket}", "post"): {
        "description": "A form with one or more files.",
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        },
                        "prefix": _ANY_TEXT | {"description": "Goes before the files' names."},
                        "key": _ANY_TEXT | {"description": "The one file's key."},
                    },
                    "required": ["file"],
                    "additionalProperties": False,
                }
            }
        },
    },
    ("/minio-event", "post"): {
        "description": "S3 event notifications, as MinIO's webhook sends them.",
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [_NOTIFICATION, _TEST_MESSAGE]},
                "example": {"Records": []},
            }
        },
    },
    ("/documents", "post"): {
        "description": "Any JSON value: an object, but also 0, [], null or false.",
        "required": True,
        "content": {"application/json": {"schema": {}, "example": {"any": "JSON value"}}},
    },
}

LINK_HEADER = {
    "Link": {
        "description": 'The next page, as `<...>; rel="next"`; absent on the last one.',
        "schema": {"type": "string"},
    }
}
ETAG_HEADER = {
    "ETag": {
        "description": "Send it as `If-None-Match` to hear 304 while nothing has changed.",
        "schema": {"type": "string"},
    }
}
NOT_MODIFIED: Json = {
    "description": "`If-None-Match` holds the ETag that the answer has now.",
    "headers": ETAG_HEADER,
}
LOCATION_HEADER = {
    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
}
DOWNLOAD: Json = {
    "description": "The object.",
    "headers": {
        "ETag": {"description": "The object's ETag.", "schema": {"type": "string"}},
        "Accept-Ranges": {"description": "`bytes`.", "schema": {"type": "string"}},
    },
    "content": {
        kind: {
            "schema": {"type": "string", "format": "binary"},
            "example": "first_name,last_name,birthts\nAnn,Lee,0\n",
        }
        for kind in _ANY_TYPE
    },
}


def problems(*statuses: int) -> Responses:
    """The `responses` of a route that may fail in these ways (and with 500, as any may)."""
    return {status: _problem_response(status) for status in (*statuses, 500)}


def _problem_response(status: int) -> Json:
    response: Json = {
        "description": _MEANINGS[status],
        "content": {errors.MIMETYPE: {"schema": _PROBLEM_REF, "example": _EXAMPLES[status]}},
    }
    return response | ({"headers": RETRY_AFTER} if status in _PASSING else {})


def complete(spec: Json) -> Json:
    """Add what APIFlask cannot know: the problem document, and parameters in full."""
    spec["tags"] = list({tag["name"]: tag for tag in spec["tags"]}.values())  # two share one
    schemas = spec.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    schemas["ProblemDocument"].pop("$defs")
    schemas["FaultyParameter"] = FaultyParameter.model_json_schema()
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if (path, method) in _REQUEST_BODIES:
                operation["requestBody"] = _REQUEST_BODIES[path, method]
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
            # Of method_noun_view the view, which is what a client's function will be called.
            operation["operationId"] = operation["operationId"].split("_", 2)[2]
            operation["parameters"] = [_parameter(given) for given in operation["parameters"]]
    return spec


def _parameter(given: Json) -> Json:
    if given["in"] == "path":
        return given | {"required": True} | _PATH_PARAMETERS[given["name"]]
    return _query_parameter(given)


def _query_parameter(given: Json) -> Json:
    """Move the description to where readers look; a query string knows no null.

    An example becomes part of the description: as a value, /docs would send it unless removed.
    """
    schema = dict(given["schema"])
    lifted = {"description": schema.pop("description", "")}
    for example in schema.pop("examples", []):
        lifted["description"] += f" For example `{example}`."
    schema.pop("title", None)
    for choice in schema.pop("anyOf", []):
        if choice != {"type": "null"}:
            schema |= choice
    if schema.get("default", 0) is None:
        del schema["default"]
    return given | lifted | {"schema": schema}

"""Authentication in /openapi.json: security schemes, required roles and their error responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.http.errors import MIMETYPE, problem_details
from api.http.paths import path_of
from api.security.auth import AccessRule, access_rule

if TYPE_CHECKING:
    from apiflask import APIFlask

Json = dict[str, Any]

SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "API key as `Authorization: Bearer KEY`.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same API key as `X-API-Key: KEY`.",
    },
    "ownToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "WEBHOOK_TOKEN as `Authorization: Bearer TOKEN`.",
    },
}
_WITH_KEY: list[Json] = [{"bearer": []}, {"apiKey": []}]

_PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}

# Per status: its description, and the kind, detail and hint of an example.
_EXAMPLES = {
    401: (
        "The API key is missing or not valid.",
        "key-missing",
        "This route requires an API key.",
        (
            "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`;"
            " create a key with `./run.sh keys new NAME --role reader`."
        ),
    ),
    403: (
        "The role of the API key is insufficient, or the API has no keys and the client is remote.",
        "role-missing",
        "POST /data requires the role writer; this API key has the role reader.",
        "Create a key with that role: `./run.sh keys new NAME --role writer`.",
    ),
    413: (
        "The body exceeds the size limit.",
        "body-too-large",
        "The request body is too large.",
        "The body of this request may have at most 65,536 bytes.",
    ),
    421: (
        "The API has no keys and the Host is a name other than localhost.",
        "unknown-host",
        "Without API keys, the Host header must be an IP address, localhost or API_HOST.",
        (
            "Use such an address, or create a key with `./run.sh keys new NAME --role reader`;"
            " with keys, any host name is accepted."
        ),
    ),
    429: (
        "Too many requests; retry after `Retry-After` seconds.",
        "too-many-requests",
        "Too many requests.",
        "Try again in 12 s.",
    ),
}
_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"description": "`Bearer …`", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
}


def describe(spec: Json, app: APIFlask) -> Json:
    """Add security requirements and authentication errors to each operation."""
    spec.setdefault("components", {})["securitySchemes"] = SCHEMES
    for url_rule in app.url_map.iter_rules():
        operations = spec["paths"].get(path_of(url_rule), {})
        rule = access_rule(app, url_rule.endpoint)
        for method in url_rule.methods or ():
            if rule is not None and method.lower() in operations:
                _complete(operations[method.lower()], rule)
    return spec


def _complete(operation: Json, rule: AccessRule) -> None:
    operation["security"] = _security(rule)
    if rule.role is not None:
        operation["x-role"] = rule.role.value
        needed = f"Requires the role `{rule.role}`."
        operation["description"] = f"{operation.get('description', '')}\n\n{needed}".strip()
    errors = _errors(rule)
    operation["responses"] = {
        status: operation["responses"].get(status) or errors[status]
        for status in sorted(operation["responses"].keys() | errors.keys())
    }


def _security(rule: AccessRule) -> list[Json]:
    if rule.has_own_token:
        return [{"ownToken": []}]
    return [] if rule.role is None else _WITH_KEY


def _errors(rule: AccessRule) -> Json:
    """The errors that authentication may return instead of the route, by status."""
    statuses = [403, 413, 421]
    if rule.role is not None or rule.has_own_token:
        statuses.append(401)
    if rule.is_rate_limited:
        statuses.append(429)
    return {str(status): _error(status) for status in statuses}


def _error(status: int) -> Json:
    description, kind, detail, hint = _EXAMPLES[status]
    example = problem_details(
        status, detail, kind=kind, hint=hint, instance="/data", request_id="5f0c954be11b3a8d"
    )
    return {
        "description": description,
        "content": {MIMETYPE: {"schema": _PROBLEM, "example": example}},
    } | ({"headers": _HEADERS[status]} if status in _HEADERS else {})

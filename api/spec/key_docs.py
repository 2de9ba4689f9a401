"""What /openapi.json says of keys: how they are sent, what each route needs, how it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.http.errors import MIMETYPE, document
from api.security.auth import AccessRule, access_rule
from api.spec.paths import path_of

if TYPE_CHECKING:
    from apiflask import APIFlask

Json = dict[str, Any]

SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key, as `Authorization: Bearer KEY`.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key, as `X-API-Key: KEY`.",
    },
    "ownToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of this route's own, as `Authorization: Bearer TOKEN`.",
    },
}
_WITH_KEY: list[Json] = [{"bearer": []}, {"apiKey": []}]

_PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}

# Of each status: what it means, and the kind, detail and hint of an example.
_EXAMPLES = {
    401: (
        "There is no key, or it opens nothing.",
        "key-missing",
        "This route needs a key.",
        "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    ),
    403: (
        "The key's role is not enough; or, without keys, the request came from elsewhere.",
        "role-missing",
        "POST /data needs the role writer; this key is a reader's.",
        "`./run.sh keys new NAME --role writer` makes a key that may.",
    ),
    413: (
        "The body is too large.",
        "body-too-large",
        "A body may hold 65536 bytes here.",
        "Send less.",
    ),
    421: (
        "Without keys: another name than localhost was called, maybe by a stranger's page.",
        "unknown-host",
        "Without keys the API answers to an address or to localhost, and to no other name.",
        "`./run.sh keys new NAME --role reader` makes a key; with one any name will do.",
    ),
    429: (
        "Too many requests; try again after `Retry-After` seconds.",
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
    """Add to each operation the keys it takes and the answers of the door."""
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
        needed = f"Needs the role `{rule.role}`."
        operation["description"] = f"{operation.get('description', '')}\n\n{needed}".strip()
    answers = _answers(rule)
    operation["responses"] = {
        status: operation["responses"].get(status) or answers[status]
        for status in sorted(operation["responses"].keys() | answers.keys())
    }


def _security(rule: AccessRule) -> list[Json]:
    if rule.has_own_token:
        return [{"ownToken": []}]
    return [] if rule.role is None else _WITH_KEY


def _answers(rule: AccessRule) -> Json:
    """What the door may answer in place of the route, by status."""
    wanted = [403, 413, 421]
    if rule.role is not None or rule.has_own_token:
        wanted.append(401)
    if rule.is_rate_limited:
        wanted.append(429)
    return {str(status): _answer(status) for status in wanted}


def _answer(status: int) -> Json:
    description, kind, detail, hint = _EXAMPLES[status]
    example = document(
        status, detail, kind=kind, hint=hint, instance="/data", request_id="5f0c954be11b3a8d"
    )
    return {
        "description": description,
        "content": {MIMETYPE: {"schema": _PROBLEM, "example": example}},
    } | ({"headers": _HEADERS[status]} if status in _HEADERS else {})

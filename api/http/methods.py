"""The Allow header: the methods of the most specific route at a path, as in the OpenAPI schema.

For example, `/objects/src-data/a/presign` creates a presigned URL, and is also the path of an
object of that name. Allow and the schema describe the first, the longest rule that matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, current_app, request

if TYPE_CHECKING:
    from apiflask import APIFlask
    from werkzeug.routing import MapAdapter


def register(app: APIFlask) -> None:
    """Limit the Allow header of every response to one route."""
    app.after_request(limit_allow_to_one_route)


def limit_allow_to_one_route(response: Response) -> Response:
    """Remove the methods of less specific routes from Allow."""
    if "Allow" in response.headers:
        response.headers["Allow"] = ", ".join(_methods_of_route())
    return response


def methods_at_path() -> list[str]:
    """The methods of all routes at the path of this request."""
    return sorted(_adapter().allowed_methods())


def _methods_of_route() -> list[str]:
    adapter = _adapter()
    rules = {
        method: adapter.match(method=method, return_rule=True)[0].rule
        for method in methods_at_path()
    }
    longest = max(rules.values(), key=len)
    return [method for method, rule in rules.items() if rule == longest]


def _adapter() -> MapAdapter:
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None  # noqa: S101  (there is a request)
    return adapter

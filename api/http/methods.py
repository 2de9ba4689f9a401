"""The header Allow: the methods of the route at an address, as the document lists them.

`/objects/src-data/a/presign` is where a URL is made, and also the address of an object of that
name. Allow, and so the document, tells of the first: of routes that share an address, the one
that says most of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, current_app, request

if TYPE_CHECKING:
    from apiflask import APIFlask


def register(app: APIFlask) -> None:
    """Let every Allow that the app sends be that of one route."""
    app.after_request(narrow)


def narrow(response: Response) -> Response:
    """Leave the methods of other routes at this address out of Allow."""
    if "Allow" in response.headers:
        response.headers["Allow"] = ", ".join(_methods_here())
    return response


def _methods_here() -> list[str]:
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None  # noqa: S101  (there is a request)
    rules = {
        method: adapter.match(method=method, return_rule=True)[0].rule
        for method in adapter.allowed_methods()
    }
    longest = max(rules.values(), key=len)
    return sorted(method for method, rule in rules.items() if rule == longest)

"""The dashboard under /ui: one module per noun, each a blueprint whose views gather and render.

`render` makes responses, `queries` reads, `forms` protects what changes something. It stands on
the routes of the API, and below the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiflask import APIBlueprint

from api.state.services import services_of
from api.ui import (
    assets,
    datasets,
    documents,
    events,
    failures,
    forms,
    holds,
    objects,
    overview,
    problems,
    render,
    rows,
    runs,
    session,
    settings,
    uploads,
)

if TYPE_CHECKING:
    from apiflask import APIFlask

NOUNS = (
    overview,
    datasets,
    rows,
    objects,
    uploads,
    problems,
    runs,
    holds,
    events,
    documents,
    settings,
    session,
    assets,
)


def register(app: APIFlask) -> None:
    """Add the pages to the app."""
    ui = APIBlueprint("ui", __name__, url_prefix="/ui", enable_openapi=False)
    ui.before_request(forms.require_token)
    for noun in NOUNS:
        ui.register_blueprint(noun.bp)
    app.register_blueprint(ui)
    app.after_request(forms.keep_visit)
    app.after_request(failures.show_failure)
    render.count_statements(services_of(app).engine)

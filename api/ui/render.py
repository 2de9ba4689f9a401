"""From a template and values to the response of a page, or of a panel that htmx replaces."""

from __future__ import annotations

import gzip
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from flask import Response, current_app, g, request, url_for
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import event

from api.http import accept
from api.security.auth import access_rule, caller, current_session, is_open
from api.state.services import services
from api.ui import charts, forms, states, words
from api.ui.assets import asset_url
from api.ui.parameters import address
from api.ui.queries.instance import Instance, instance
from api.ui.states import StateShape
from etl import __version__
from etl.model.errors import EtlError
from etl.model.roles import Role
from etl.model.safe_text import printable
from etl.runtime.program import named, program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apiflask import APIFlask
    from sqlalchemy import Engine

THEME_COOKIE = "bucketline-theme"
THEMES = {"system": "as the system", "dark": "dark", "light": "light"}

_GZIP_LEVEL = 6
_VERSION_CHARACTERS = 20
_VERSION = "{version of this panel}"  # replaced in the rendered text by its hash

_NAVIGATION = (
    ("Overview", "ui.overview.show_overview"),
    ("Datasets", "ui.datasets.list_datasets"),
    ("Objects", "ui.objects.show_buckets"),
    ("Problems", "ui.problems.list_problems"),
    ("Runs", "ui.runs.list_runs"),
    ("Events", "ui.events.list_events"),
    ("Documents", "ui.documents.list_documents"),
    ("Settings", "ui.settings.show_settings"),
)


_PARENTS = {"ui.rows": "ui.datasets", "ui.holds": "ui.overview"}


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation."""

    label: str
    url: str
    is_current: bool


@cache
def environment() -> Environment:
    """The templates: text is escaped, and an undefined value is an error."""
    found = Environment(
        loader=PackageLoader("api.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "number": words.number,
        "signed": words.signed,
        "size": words.size,
        "duration": words.duration,
        "lasted": words.lasted,
        "iso": words.iso,
        "clock": _clock,
        "names": words.named_list,
        "printable": printable,
    }
    found.globals |= {
        "asset": asset_url,
        "can_open": can_open,
        "charts": charts,
        "counted": words.counted,
        "csrf_token": forms.form_token,
        "may": may,
        "named": named,
        "now": now,
        "percent": words.percent,
        "program": program,
        "query": query,
        "states": states,
        "url": url_for,
        "visitor": caller,
    }
    found.globals["ui"] = found.get_template("macros.html").module
    return found


def now() -> datetime:
    """The time of this request, in UTC."""
    if "now" not in g:
        g.now = datetime.now(UTC)
    found: datetime = g.now
    return found


def _clock(moment: datetime, *, seconds: bool = True) -> str:
    return words.clock(moment, now(), seconds=seconds)


def may(role: str) -> bool:
    """Whether the caller has this role, so that a button that needs it exists."""
    held = caller().role
    return held is not None and held.includes(Role(role))


def can_open(endpoint: str) -> bool:
    """Whether a page exists and its rule lets the caller open it."""
    if endpoint not in current_app.view_functions:
        return False
    rule = access_rule(cast("APIFlask", current_app), endpoint)
    if rule is None or rule.role is None:
        return rule is not None
    return may(rule.role) and (not caller().datasets or rule.dataset is not None)


def query(**changes: object) -> str:
    """The URL of this page with some parameters changed; None removes one."""
    pairs = [one for one in request.args.items(multi=True) if one[0] not in changes]
    pairs += [(name, str(value)) for name, value in changes.items() if value is not None]
    return address(url_for(str(request.endpoint), **(request.view_args or {})), pairs)


# -- responses


def page(  # noqa: PLR0913 - each is part of the frame
    template: str,
    *,
    title: str,
    status: int = 200,
    json_url: str | None = None,
    refresh_seconds: int | None = None,
    has_shell: bool = True,
    shape: StateShape | None = None,
    connect: Iterable[str] = (),
    **values: object,
) -> Response:
    """The response with a page.

    `json_url` is the API's response with the same content; only pages of an instance without keys
    link it, because the API accepts no session. `refresh_seconds` lets browsers without scripts
    load the page again. Without `has_shell`, the head of the page reads nothing from the database:
    for pages about its outage and for visitors. `shape` is that of the icon, by default that of the
    worst state of the instance. `connect` are origins, other than ours, to which scripts of the
    page may send requests.
    """
    shell = _shell() if has_shell else None
    text = (
        environment()
        .get_template(template)
        .render(
            **values,
            title=title,
            json_url=json_url,
            refresh_seconds=refresh_seconds,
            shell=shell,
            shape=shape or (StateShape.WAITING if shell is None else shell.shape),
            navigation=_navigation() if caller().role is not None else [],
            is_signed_in=current_session() is not None,
            is_open=is_open(),
            is_open_to_all=services().settings.api_open,
            where=(services().settings.source_bucket, services().engine.url.database),
            theme=theme(),
            themes=THEMES,
            version=__version__,
            path=here(),
            queries=g.get("queries", 0),
            milliseconds=round((time.monotonic() - g.started) * 1000),
        )
    )
    response = _html(text, status)
    response.headers["Content-Security-Policy"] = policy(connect)
    return response


def panel(template: str, **values: object) -> Response:
    """The response with a part of a page, or 304 if it is as the client has it.

    The outermost element has `data-version="{{ panel_version }}"`; app.js sends it back.
    """
    text = environment().get_template(template).render(**values, panel_version=_VERSION)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_VERSION_CHARACTERS]
    if request.if_none_match.contains(digest):
        response = Response(status=304)
    else:
        response = _html(text.replace(_VERSION, digest), 200)
    response.set_etag(digest)
    return response


def reload() -> Response:
    """The response to a panel whose page has to be loaded again, because it is another page now."""
    return Response(headers={"HX-Refresh": "true"})


def policy(connect: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of pages."""
    origins = " ".join(("'self'", *connect))
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        f" connect-src {origins}; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    )


def theme() -> str:
    """The theme that the visitor chose: a key of THEMES."""
    found = request.cookies.get(THEME_COOKIE, "system")
    return found if found in THEMES else "system"


def here() -> str:
    """The path and query of this page, to return to it."""
    return request.full_path.rstrip("?")


def _html(text: str, status: int) -> Response:
    content = text.encode()
    response = Response(content, status, mimetype="text/html")
    if accept.codings(request.headers.get("Accept-Encoding")).quality("gzip") > 0:
        response.set_data(gzip.compress(content, _GZIP_LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    response.vary.update(("Accept-Encoding", "Cookie"))
    # With no-referrer, browsers would send `Origin: null` with our own forms.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _navigation() -> list[Link]:
    """The pages that exist and that the caller may open."""
    noun = _PARENTS.get(request.blueprint or "", request.blueprint)
    return [
        Link(label, url_for(endpoint), noun == endpoint.rpartition(".")[0])
        for label, endpoint in _NAVIGATION
        if can_open(endpoint)
    ]


def _shell() -> Instance | None:
    """The state of the instance; None if it cannot be read, or the caller may not."""
    if caller().role is None:
        return None
    if "shell" in g:
        found: Instance = g.shell
        return found
    shared = services()
    try:
        with shared.database(shared.autocommit) as connection:
            return instance(connection, shared.settings.etl_interval, caller().datasets)
    except EtlError:
        return None


# -- statements, counted for the footer


def count_statements(engine: Engine) -> None:
    """Count the statements of each request."""

    @event.listens_for(engine, "before_cursor_execute")
    def count(*_: Any) -> None:  # noqa: ANN401 - as SQLAlchemy's
        if request:
            g.queries = g.get("queries", 0) + 1

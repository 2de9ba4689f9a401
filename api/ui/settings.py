"""The effective settings, the health of each part, and the API keys."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http.errors import WrongParameters
from api.security.auth import needs
from api.state.services import services
from api.ui import forms, overview
from api.ui.queries import settings as queries
from api.ui.render import may, page
from etl import __version__
from etl.db.overview import read_schedule
from etl.model.errors import ConfigurationError
from etl.model.overview import overview as said_of
from etl.model.roles import Role, check_dataset_names
from etl.settings.api_keys import create_key, listed_keys, revoke_key
from etl.settings.effective import effective_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.ui.queries.settings import InstanceFacts
    from etl.settings import Settings
    from etl.settings.api_keys import ListedKey

ROLES = {
    Role.READER: "reads everything",
    Role.WRITER: "also uploads and runs",
    Role.ADMIN: "also deletes, allows held retirements, and sees settings and keys",
}

bp = APIBlueprint("settings", __name__, enable_openapi=False)


@bp.get("/settings")
@needs(Role.READER)
def show_settings() -> Response:
    """Show the health of each part, versions, alerts and, to admins, the settings and keys."""
    shared = services()
    with shared.database(shared.autocommit) as connection:
        stored = queries.stored(connection)
        health = _health(connection)
    is_admin = may(Role.ADMIN)
    keys, keys_fault = _keys() if is_admin else ([], None)
    return page(
        "settings/show.html",
        title="Settings",
        json_url="/health",
        **health,
        stored=stored,
        versions=_versions(stored),
        receiver=_receiver(shared.settings),
        signs_alerts=shared.settings.alert_secret is not None,
        late_after=shared.settings.late_after,
        settings=effective_settings(shared.settings) if is_admin else [],
        keys=keys,
        keys_fault=keys_fault,
        roles=ROLES,
        role_choices=[(role.value, role.value) for role in ROLES],
    )


@bp.post("/settings/keys")
@needs(Role.ADMIN)
def add_key() -> Response:
    """Create an API key and show it, which no page does again.

    Raises:  WrongParameters.
    """
    form = request.form
    name, role = form.get("name", "").strip(), form.get("role", "")
    if role not in list(Role):
        raise WrongParameters([("role", f"must be one of {', '.join(Role)}")])
    datasets = form.get("datasets", "").replace(",", " ").split()
    try:
        check_dataset_names(datasets)
    except ValueError as error:
        raise WrongParameters([("datasets", str(error))]) from error
    try:
        key, entry = create_key(services().settings, name, Role(role), datasets)
    except ValueError as error:
        raise WrongParameters([("name", str(error))]) from error
    except ConfigurationError as error:
        raise _refused(error) from error
    return page("settings/key.html", title=f"Key {name}", key=key, entry=entry)


@bp.post("/settings/keys/revoke")
@needs(Role.ADMIN)
def remove_key() -> Response:
    """Revoke an API key.

    Raises:  WrongParameters.
    """
    try:
        revoke_key(services().settings, request.form.get("name", ""))
    except ConfigurationError as error:
        raise _refused(error) from error
    return forms.see(url_for("ui.settings.show_settings", _anchor="keys"))


def _refused(error: ConfigurationError) -> WrongParameters:
    return WrongParameters([("name", f"{error.message} {error.hint}")])


def _health(connection: Connection) -> dict[str, Any]:
    """The state of each part, as the overview has it."""
    found = read_schedule(connection, services().settings)
    values = overview.parts(connection, found)
    return {**values, "facts": found, "found": said_of(found), "is_settings": True}


def _receiver(settings: Settings) -> str | None:
    """The host that alerts are posted to, for admins; others see the name of the setting."""
    if settings.alert_url is None:
        return None
    host = urlsplit(settings.alert_url.get_secret_value()).hostname
    return host if host is not None and may(Role.ADMIN) else "ALERT_URL"


def _versions(stored: InstanceFacts) -> list[tuple[str, str]]:
    return [
        ("Bucketline", __version__),
        ("Python", platform.python_version()),
        ("PostgreSQL", stored.postgres),
        ("Schema of its own tables", stored.schema),
        ("System", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    ]


def _keys() -> tuple[list[ListedKey], str | None]:
    """The API keys, or why they cannot be listed."""
    try:
        return listed_keys(services().settings), None
    except ConfigurationError as error:
        return [], f"{error.message} {error.hint}"

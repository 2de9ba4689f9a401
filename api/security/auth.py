"""The door: which role each route needs, and who is asking.

Every route says what it needs, beside its address: `@needs(Role.READER)`, `@public`, or
`@own_token_auth` where it has a token of its own. A route that says nothing lets nobody in.

Without any key the API is open to this machine (or, with API_OPEN, to all that reach it).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar, cast

import structlog
from flask import current_app, g, request
from werkzeug.datastructures import WWWAuthenticate

from api.http.errors import Refused
from api.security.keyring import LiveKeyring
from api.security.limits import Limits, rate_limit_key
from api.security.origins import may_be_called
from api.state.services import services
from etl.model.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from apiflask import APIFlask

    from etl.settings import Settings

_KEY = "bucketline-authenticator"
_REALM = "bucketline"
_FROM_LIBRARIES = ("static", "openapi.spec")  # routes that Flask and APIFlask make, all public

log = structlog.get_logger("api")

View = TypeVar("View", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What a route needs: a role, or nothing (`role` is None).

    `has_own_token`: the route checks a token of its own. `is_rate_limited`: API_RATE_LIMIT holds.
    """

    role: Role | None
    has_own_token: bool = False
    is_rate_limited: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: the name of the key, and what it may do; neither without a key."""

    name: str | None = None
    role: Role | None = None


ANONYMOUS = Caller()
UNRESTRICTED = Caller(role=Role.ADMIN)  # where no key is set


# -- what a route says


def needs(role: Role) -> Callable[[View], View]:
    """Let only those in whose key has this role, or one above it."""
    return _marked_with(AccessRule(role))


def public(view: View) -> View:
    """Let everybody in; for what tells nothing of the data."""
    return _marked_with(AccessRule(None))(view)


def no_rate_limit(view: View) -> View:
    """Let everybody in, however often: a limit must not make a healthy server look ill."""
    return _marked_with(AccessRule(None, is_rate_limited=False))(view)


def own_token_auth(view: View) -> View:
    """Leave it to the route, which knows a token of its own."""
    return _marked_with(AccessRule(None, has_own_token=True, is_rate_limited=False))(view)


def _marked_with(rule: AccessRule) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.rule = rule  # type: ignore[attr-defined]
        return view

    return mark


def access_rule(app: APIFlask, endpoint: str) -> AccessRule | None:
    """What a route needs; None when it does not say."""
    return getattr(app.view_functions[endpoint], "rule", None)


# -- the door


class Authenticator:
    """The keys and the counts of one app."""

    def __init__(self, settings: Settings) -> None:
        self.keyring = LiveKeyring(settings)
        self.limits = Limits(settings.api_rate_limit)


def register(app: APIFlask, settings: Settings) -> None:
    """Put the door before every route of the app."""
    app.extensions[_KEY] = Authenticator(settings)
    app.before_request(authorize)


def mark_library_routes(app: APIFlask) -> None:
    """Say of the routes that libraries made what ours say themselves."""
    for endpoint in _FROM_LIBRARIES:
        public(app.view_functions[endpoint])


def keyring_of(app: APIFlask) -> LiveKeyring:
    """The keys that open this app."""
    return cast("Authenticator", app.extensions[_KEY]).keyring


def _authenticator() -> Authenticator:
    """The door of the app that handles this request."""
    return cast("Authenticator", current_app.extensions[_KEY])


def caller() -> Caller:
    """Who makes this request."""
    return cast("Caller", g.get("caller", ANONYMOUS))


def require(role: Role, what: str) -> None:
    """Refuse a request whose parameters need more than its route does.

    Raises:  Refused with 403, naming the role.
    """
    held = caller().role
    if held is None or not held.includes(role):
        raise _forbidden(role, what)


def authorize() -> None:
    """Find out who is asking, and whether they may.

    Raises:  Refused with 401, 403, 421 or 429.
    """
    g.caller = _identify()
    if request.routing_exception is not None:  # 404 and 405 tell nothing that / does not
        _count_request()
        return
    rule = _rule_of_request()
    if rule.is_rate_limited:
        _count_request()
    if rule.role is not None:
        _require_valid_key()
        require(rule.role, f"{request.method} {request.path}")


def _rule_of_request() -> AccessRule:
    rule = access_rule(cast("APIFlask", current_app), str(request.endpoint))
    if rule is None:
        log.error("route_without_rule", endpoint=request.endpoint)
        raise Refused(
            403, "no-rule", "Nobody may use this route.", "This is a fault of Bucketline."
        )
    return rule


def _identify() -> Caller:
    """Whose key this is; without any key set, whoever may use an open API."""
    if not _authenticator().keyring.is_locked():
        _check_open_access(services().settings)
        return UNRESTRICTED
    key = _key_of_request()
    entry = None if key is None else _authenticator().keyring.find(key)
    return ANONYMOUS if entry is None else Caller(entry.name, entry.role)


def _key_of_request() -> str | None:
    """The key of the request: a bearer's counts before X-API-Key."""
    return _key_in(request.headers.get("Authorization", ""), request.headers.get("X-API-Key"))


def _key_in(authorization: str, api_key: str | None) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else api_key


def may_upload(keyring: LiveKeyring, authorization: str, api_key: str | None) -> bool:
    """Whether who shows these headers may write: asked before a body is read, by the server."""
    if not keyring.is_locked():
        return True
    key = _key_in(authorization, api_key)
    entry = None if key is None else keyring.find(key)
    return entry is not None and entry.role.includes(Role.WRITER)


def _check_open_access(settings: Settings) -> None:
    """Keep an open API to this machine, and from pages that found their way to it."""
    if not settings.api_open and not _is_loopback(request.remote_addr):
        raise Refused(
            403,
            "loopback-only",
            "Without keys the API serves its own machine only.",
            "`./run.sh keys new NAME --role reader` makes a key.",
        )
    host = request.headers.get("Host")
    if not may_be_called(host, own_name=settings.api_host, any_short_name=settings.api_open):
        raise Refused(
            421,
            "unknown-host",
            "Without keys the API answers to an address or to localhost, and to no other name.",
            "`./run.sh keys new NAME --role reader` makes a key; with one any name will do.",
        )


def _is_loopback(address: str | None) -> bool:
    """Whether a client is on this machine; one without an address came by a Unix socket."""
    return not address or ip_address(address.partition("%")[0]).is_loopback


def _require_valid_key() -> None:
    if caller().role is not None:
        return
    if _key_of_request() is None:
        raise _unauthorized("This route needs a key.", "key-missing")
    _count_invalid_key()
    raise _unauthorized("This key opens nothing.", "key-wrong", error="invalid_token")


def _unauthorized(detail: str, kind: str, **faults: str) -> Refused:
    challenge = WWWAuthenticate("bearer", {"realm": _REALM, **faults})
    return Refused(
        401,
        kind,
        detail,
        "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`;"
        " `./run.sh keys new NAME --role reader` makes a key.",
        headers={"WWW-Authenticate": challenge.to_header()},
    )


def _forbidden(role: Role, what: str) -> Refused:
    return Refused(
        403,
        "role-missing",
        f"{what} needs the role {role}; this key is a {caller().role or 'stranger'}'s.",
        f"`./run.sh keys new NAME --role {role}` makes a key that may.",
    )


def _count_request() -> None:
    """Count this request for its key, or for its address where there is none."""
    name = caller().name
    who = ("key", name) if name else ("address", rate_limit_key(request.remote_addr))
    seconds = _authenticator().limits.count(*who)
    if seconds is not None:
        raise _too_many("Too many requests.", seconds)


def _count_invalid_key() -> None:
    seconds = _authenticator().limits.count_wrong_key(rate_limit_key(request.remote_addr))
    if seconds is not None:
        raise _too_many("Too many wrong keys came from this address.", seconds)


def _too_many(detail: str, seconds: int) -> Refused:
    return Refused(
        429,
        "too-many-requests",
        detail,
        f"Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )

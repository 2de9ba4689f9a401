"""Authentication and authorization: which role each route requires, and who the caller is.

Each view declares its rule: `@needs(Role.READER)`, `@public`, `@no_rate_limit`, or
`@own_token_auth` if the route checks a token itself. A route without a rule is always refused.
Pages of the dashboard also accept its session cookie, which no other route does.

Without any API key, the API serves clients on this machine or, with API_OPEN, every client.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar, cast

import structlog
from flask import current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.http import parse_cookie

from api.http.errors import Refused
from api.http.pages import is_page
from api.security.keyring import LiveKeyring
from api.security.limits import RateLimits, rate_limit_key
from api.security.origins import is_trusted_host
from api.security.sessions import Sessions
from api.state.services import services
from etl.model.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apiflask import APIFlask

    from api.security.sessions import Session
    from etl.model.roles import Entry
    from etl.settings import Settings

_KEY = "bucketline-authenticator"
_REALM = "bucketline"

# Values of AccessRule.dataset: the dataset in the path, and those of the caller, to which the route
# limits its response.
OF_PATH = "<dataset>"
OF_CALLER = "*"
_LIBRARY_ROUTES = ("static",)  # added by Flask; public

log = structlog.get_logger("api")

View = TypeVar("View", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The role that a route requires; None for a public route.

    `dataset`: the dataset that the route serves, OF_PATH or OF_CALLER; keys that are limited to
    datasets are refused by a route without one. `has_own_token`: the route checks its own token.
    `is_rate_limited`: API_RATE_LIMIT applies.
    """

    role: Role | None
    dataset: str | None = None
    has_own_token: bool = False
    is_rate_limited: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request: the name and role of its API key; None without a valid key.

    `datasets` are those that the key is limited to; empty: it is not limited.
    """

    name: str | None = None
    role: Role | None = None
    datasets: tuple[str, ...] = ()

    def may_see(self, dataset: str | None) -> bool:
        """Whether the key is not limited, or limited to datasets that include this one."""
        return not self.datasets or dataset in self.datasets


ANONYMOUS = Caller()
UNRESTRICTED = Caller(role=Role.ADMIN)  # every caller of an API without keys


# -- rules of routes


def needs(
    role: Role, *, dataset: str | None = None, is_rate_limited: bool = True
) -> Callable[[View], View]:
    """Require an API key with this role or a higher one, and the right to see the dataset."""
    return _with_rule(AccessRule(role, dataset, is_rate_limited=is_rate_limited))


def public(view: View) -> View:
    """Serve every client; only for routes that reveal nothing about the data."""
    return _with_rule(AccessRule(None))(view)


def no_rate_limit(view: View) -> View:
    """Serve every client without a rate limit, so that health checks never fail because of it."""
    return _with_rule(AccessRule(None, is_rate_limited=False))(view)


def own_token_auth(view: View) -> View:
    """Leave authentication to the route, which checks its own token."""
    return _with_rule(AccessRule(None, has_own_token=True, is_rate_limited=False))(view)


def _with_rule(rule: AccessRule) -> Callable[[View], View]:
    def attach(view: View) -> View:
        view.rule = rule  # type: ignore[attr-defined]
        return view

    return attach


def access_rule(app: APIFlask, endpoint: str) -> AccessRule | None:
    """The rule of a route; None if its view declares none."""
    return getattr(app.view_functions[endpoint], "rule", None)


# -- checks of requests


class Authenticator:
    """The API keys and the request counts of one app."""

    def __init__(self, settings: Settings) -> None:
        self.keyring = LiveKeyring(settings)
        file = settings.key_file
        self.sessions = Sessions(file.with_name(f"{file.name}-sessions"), self.keyring)
        self.limits = RateLimits(settings.api_rate_limit)


def register(app: APIFlask, settings: Settings) -> None:
    """Authorize every request before its route is entered."""
    app.extensions[_KEY] = Authenticator(settings)
    app.before_request(authorize)


def mark_library_routes(app: APIFlask) -> None:
    """Declare the rules of routes that libraries added."""
    for endpoint in _LIBRARY_ROUTES:
        public(app.view_functions[endpoint])


def keyring_of(app: APIFlask) -> LiveKeyring:
    """The API keys of this app."""
    return cast("Authenticator", app.extensions[_KEY]).keyring


def sessions() -> Sessions:
    """The dashboard's sessions."""
    return _authenticator().sessions


def sessions_of(app: APIFlask) -> Sessions:
    """The dashboard's sessions of this app."""
    return cast("Authenticator", app.extensions[_KEY]).sessions


def current_session() -> Session | None:
    """The session that this request to the dashboard belongs to."""
    return cast("Session | None", g.get("session"))


def is_open() -> bool:
    """Whether the API has no keys, and no client signs in."""
    return not _authenticator().keyring.is_locked()


def entry_of_key(key: str) -> Entry | None:
    """The entry of a key that a visitor enters to sign in; counts a key that is not valid.

    Raises:  Refused with 429 after too many of them.
    """
    keyring = _authenticator().keyring
    entry = keyring.find(key) if keyring.is_locked() else None
    if entry is None:
        _count_invalid_key()
    return entry


def _authenticator() -> Authenticator:
    """The authenticator of the app that handles this request."""
    return cast("Authenticator", current_app.extensions[_KEY])


def caller() -> Caller:
    """The client of this request."""
    return cast("Caller", g.get("caller", ANONYMOUS))


def require(role: Role, what: str) -> None:
    """Require a role, also for parameters that need a higher one than their route.

    Raises:  Refused with 403, which names the role.
    """
    held = caller().role
    if held is None or not held.includes(role):
        raise _forbidden(role, what)


def authorize() -> None:
    """Identify the caller, count the request, and check the rule of the route.

    Raises:  Refused with 401, 403, 421 or 429.
    """
    g.caller = _identify()
    if request.routing_exception is not None:  # 404 and 405 reveal no more than GET / does
        _count_request()
        return
    rule = _rule_of_request()
    if rule.is_rate_limited:
        _count_request()
    if rule.role is not None:
        _require_valid_key()
        require(rule.role, f"{request.method} {request.path}")
        _require_dataset(rule.dataset)


def _rule_of_request() -> AccessRule:
    rule = access_rule(cast("APIFlask", current_app), str(request.endpoint))
    if rule is None:
        log.error("route_without_rule", endpoint=request.endpoint)
        raise Refused(
            403,
            "no-rule",
            "This route declares no access rule, so every request to it is refused.",
            "This is a bug in Bucketline; please report it.",
        )
    return rule


def _identify() -> Caller:
    """The owner of the request's key; without any keys, every client that the API serves."""
    keyring = _authenticator().keyring
    if not keyring.is_locked():
        _check_open_access(services().settings)
        return UNRESTRICTED
    headers = request.headers
    found = _holder(keyring, headers.get("Authorization", ""), headers.get("X-API-Key"))
    if found is not ANONYMOUS or not is_page(request.path):
        return found
    g.session = sessions().first(request.cookies.items(multi=True))
    return ANONYMOUS if g.session is None else _caller_of(g.session.entry)


def _key_of_request() -> str | None:
    """The API key of the request; a bearer token takes precedence over X-API-Key."""
    return _key_in(request.headers.get("Authorization", ""), request.headers.get("X-API-Key"))


def _key_in(authorization: str, api_key: str | None) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else api_key


def may_send_large(caller: Caller, needed: Role) -> bool:
    """Whether a client may check a file (a reader) or upload one (a writer).

    The server asks before it reads a body.
    """
    if caller.role is None or not caller.role.includes(needed):
        return False
    return needed is Role.READER or not caller.datasets


def caller_of_head(
    found: Sessions | None, keyring: LiveKeyring, path: str, headers: Mapping[str, str]
) -> Caller:
    """The client that sends a head, whose names are as in WSGI without HTTP_."""
    holder = _holder(keyring, headers.get("AUTHORIZATION", ""), headers.get("X_API_KEY"))
    if found is None or holder is not ANONYMOUS or not is_page(path):
        return holder
    session = found.first(parse_cookie(headers.get("COOKIE", "")).items(multi=True))
    return ANONYMOUS if session is None else _caller_of(session.entry)


def _holder(keyring: LiveKeyring, authorization: str, api_key: str | None) -> Caller:
    """The owner of the key in these headers; without any keys, every client."""
    if not keyring.is_locked():
        return UNRESTRICTED
    key = _key_in(authorization, api_key)
    entry = None if key is None else keyring.find(key)
    return ANONYMOUS if entry is None else _caller_of(entry)


def _caller_of(entry: Entry) -> Caller:
    return Caller(entry.name, entry.role, entry.datasets)


def _check_open_access(settings: Settings) -> None:
    """Restrict an API without keys to this machine, and protect it from DNS rebinding."""
    if not settings.api_open and not _is_loopback(request.remote_addr):
        raise Refused(
            403,
            "loopback-only",
            "Without API keys, the API serves only clients on its own machine.",
            "Create a key with `./run.sh keys new NAME --role reader`, and send it with requests.",
        )
    host = request.headers.get("Host")
    if not is_trusted_host(host, own_name=settings.api_host, any_short_name=settings.api_open):
        raise Refused(
            421,
            "unknown-host",
            "Without API keys, the Host header must be an IP address, localhost or API_HOST.",
            "Use such an address, or create a key with `./run.sh keys new NAME --role reader`;"
            " with keys, any host name is accepted.",
        )


def _is_loopback(address: str | None) -> bool:
    """Whether a client is on this machine; clients on a Unix socket have no address."""
    return not address or ip_address(address.partition("%")[0]).is_loopback


def _require_valid_key() -> None:
    if caller().role is not None:
        return
    if _key_of_request() is None:
        raise _unauthorized("This route requires an API key.", "key-missing")
    _count_invalid_key()
    raise _unauthorized("The API key is not valid.", "key-wrong", error="invalid_token")


def _unauthorized(detail: str, kind: str, **faults: str) -> Refused:
    challenge = WWWAuthenticate("bearer", {"realm": _REALM, **faults})
    return Refused(
        401,
        kind,
        detail,
        "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`;"
        " create a key with `./run.sh keys new NAME --role reader`.",
        headers={"WWW-Authenticate": challenge.to_header()},
    )


def _forbidden(role: Role, what: str) -> Refused:
    held = caller().role
    has = f"this API key has the role {held}" if held else "the request has no valid API key"
    return Refused(
        403,
        "role-missing",
        f"{what} requires the role {role}; {has}.",
        f"Create a key with that role: `./run.sh keys new NAME --role {role}`.",
    )


def _require_dataset(dataset: str | None) -> None:
    """Refuse keys that are limited to other datasets, whether the dataset exists or not."""
    limits = caller().datasets
    if not limits or dataset == OF_CALLER:
        return
    if dataset == OF_PATH:
        dataset = str((request.view_args or {}).get("dataset"))
    if dataset not in limits:
        raise limited(dataset)


def limited(dataset: str | None, what: str = "") -> Refused:
    """The 403 for a key that is limited to other datasets; None for a route without a dataset.

    `what` is named instead of a dataset whose name the caller may not know.
    """
    route = f"{request.method} {request.path}"
    what = what or (f"the dataset {dataset!r}" if dataset else route)
    return Refused(
        403,
        "dataset-limited",
        f"This API key is limited to {', '.join(caller().datasets)}, which does not include"
        f" {what}.",
        "Use a key without such a limit, or one for this dataset:"
        f" `./run.sh keys new NAME --role ROLE --dataset {dataset or 'DATASET'}`.",
    )


def _count_request() -> None:
    """Count this request toward the limit of its key or, without a key, of its address."""
    name = caller().name
    client = ("key", name) if name else ("address", rate_limit_key(request.remote_addr))
    seconds = _authenticator().limits.count(*client)
    if seconds is not None:
        raise _too_many("Too many requests.", seconds)


def _count_invalid_key() -> None:
    seconds = _authenticator().limits.count_invalid_key(rate_limit_key(request.remote_addr))
    if seconds is not None:
        raise _too_many("Too many requests from this address had an invalid API key.", seconds)


def _too_many(detail: str, seconds: int) -> Refused:
    return Refused(
        429,
        "too-many-requests",
        detail,
        f"Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )

"""DATABASE_URL: its checks, and the forms in which SQLAlchemy and libpq's clients use it.

Imports SQLAlchemy only where it is needed: `env` prints the URL without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import psycopg2
import psycopg2.extensions

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import SecretStr

URL_ESCAPES = "in the password, write %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %"
_CREDENTIALS = re.compile(r"([^:/]*)(?::([^@]*))?@")  # as SQLAlchemy finds them


def for_sqlalchemy(database_url: SecretStr | None) -> str:
    """DATABASE_URL with the driver for SQLAlchemy.

    Raises:  ConfigurationError when DATABASE_URL is missing or is not a PostgreSQL URL.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    url = f"postgresql+psycopg2://{_without_scheme(database_url)}"
    try:
        parts = make_url(url)
        named = parts.translate_connect_args(username="user", database="dbname")
        psycopg2.extensions.make_dsn(**{**named, **parts.query})
    except (ValueError, SQLAlchemyError, psycopg2.Error) as error:
        raise _wrong("cannot be read") from error
    if parts.host and "%" in parts.host:  # a socket's folder, as libpq expects it in a URL
        socket = parts._replace(host=None).update_query_dict({"host": unquote(parts.host)})
        return socket.render_as_string(hide_password=False)
    return url


def for_libpq(database_url: SecretStr | None) -> tuple[str, dict[str, str]]:
    """DATABASE_URL as psql accepts it, and its parts by libpq's names: `host`, `dbname`, ….

    Raises:  as `for_sqlalchemy`.
    """
    url = f"postgresql://{_escaped(_without_scheme(database_url))}"
    try:
        return url, psycopg2.extensions.parse_dsn(url)
    except psycopg2.Error as error:
        raise _wrong("cannot be read") from error


def _without_scheme(database_url: SecretStr | None) -> str:
    if database_url is None:
        raise ConfigurationError(
            "DATABASE_URL is not set and no embedded PostgreSQL was started.",
            hint="Start it with `./run.sh up`, or set DATABASE_URL.",
        )
    scheme, found, rest = database_url.get_secret_value().partition("://")
    if not found or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise _wrong("does not start with postgresql://")
    if _has_bare_at(rest):
        raise _wrong("has an unescaped @ in its password")
    return rest


def _escaped(rest: str) -> str:
    """The URL with escaped credentials, because libpq rejects a bare / or ? in them."""
    found = _CREDENTIALS.match(rest)
    if found is None:
        return rest
    parts = (quote(unquote(part), safe="") for part in found.groups() if part is not None)
    return f"{':'.join(parts)}@{rest[found.end() :]}"


def _has_bare_at(rest: str) -> bool:
    """Whether there is more than one @, so that the end of the password is not certain.

    A user may be called ann@example.com. The text after ? is a query if it has a query's form.
    """
    head, _, query = rest.rpartition("?")
    if not re.fullmatch(r"\w+=[^&]*(&\w+=[^&]*)*", query):
        head = rest
    return head.partition(":")[2].count("@") > 1


def _wrong(fault: str) -> ConfigurationError:
    return ConfigurationError(
        f"DATABASE_URL {fault}.",
        hint=f"Write postgresql://user:password@host:5432/name; {URL_ESCAPES}.",
    )

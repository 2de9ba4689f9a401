"""The listening socket: the address and port that the API serves."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from api.security.keyring import LiveKeyring
from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from etl.settings import Settings

PORTS_TO_TRY = 100
BACKLOG = 1024

log = structlog.get_logger("api")


def require_key_if_exposed(settings: Settings) -> None:
    """Check that an API that other machines can reach requires a key.

    Raises:  ConfigurationError if it does not, unless API_OPEN is set.
    """
    if settings.api_open or LiveKeyring(settings).is_locked():
        return
    _, address = _resolve(settings.api_host)
    if ip_address(address.partition("%")[0]).is_loopback:
        return
    raise ConfigurationError(
        f"API_HOST is {settings.api_host}, which other machines can reach, but no API key is set:"
        " any client could read all users and start runs.",
        hint="Create a key with `./run.sh keys new NAME --role admin`, or set API_HOST=127.0.0.1 to"
        " serve only this machine. API_OPEN=1 serves every client without a key.",
    )


def listen(host: str, first_port: int, *, ports: int = PORTS_TO_TRY) -> socket.socket:
    """Listen on the first free port of `ports` ports, starting with `first_port`.

    Raises:  ConfigurationError if none is free, or if the host is not an address of this machine.
    """
    family, address = _resolve(host)
    last_port = min(first_port + ports, 2**16) - 1
    for port in range(first_port, last_port + 1):
        listener = _try_port(family, address, port)
        if listener is not None:
            if port != first_port:
                log.warning("port_in_use", port=first_port, using=port)
            return listener
    raise _no_port(host, first_port, last_port)


def _no_port(host: str, first_port: int, last_port: int) -> ConfigurationError:
    if first_port == last_port:
        return ConfigurationError(
            f"API_PORT is {first_port}, but another process listens on {host}:{first_port}.",
            hint=f"Stop that process (`ss -ltnp` or `lsof -i :{first_port}` shows it), set API_PORT"
            " to a free port, or remove API_PORT to use the next free port.",
        )
    return ConfigurationError(
        f"No port from {first_port} to {last_port} is free on {host}.",
        hint="Set API_PORT to a free port.",
    )


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise _no_address(host, error) from error
    return found[0], str(found[4][0])


def _try_port(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    """Listen on one port; None if another process uses it."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise _no_address(f"{address}:{port}", error) from error
    return listener


def _no_address(what: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The API cannot listen on {what}: {error.strerror}.",
        hint="Set API_HOST to an address of this machine, and API_PORT to a port that this account"
        " may use.",
    )


def url_of(listener: socket.socket) -> str:
    """The URL of the API on this socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

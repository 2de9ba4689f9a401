"""What the supervisor needs to know of a server, whichever it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import signal

    from etl.local.processes import Launch
    from etl.model.errors import TransientError


class Service(StrEnum):
    """The services that can be embedded."""

    OBJECT_STORE = "object_store"
    POSTGRES = "postgres"


class Readiness(StrEnum):
    """How far a server is."""

    DOWN = "down"
    RECOVERING = "recovering"
    READY = "ready"


class Server(Protocol):
    """One kind of server on one data directory."""

    @property
    def service(self) -> Service:
        """Which service it gives."""

    @property
    def title(self) -> str:
        """Its name in messages."""

    @property
    def usual_port(self) -> int:
        """The port people expect it on."""

    @property
    def mark(self) -> str:
        """The argument that tells this server's process from all others."""

    @property
    def stop_signal(self) -> signal.Signals:
        """What ends it in good order."""

    @property
    def unavailable(self) -> type[TransientError]:
        """The error that says it does not answer."""

    def prepare(self) -> list[str]:
        """Make what the server needs on disk; return what the user should be told.

        Raises:  ConfigurationError when this machine or its data do not allow it.
        """

    def launch(self, port: int) -> Launch:
        """How to start it on loopback `port`."""

    def readiness(self, port: int) -> Readiness:
        """Whether *our* server answers on `port`: shown by credentials only it knows."""

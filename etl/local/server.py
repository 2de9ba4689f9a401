"""The interface between the supervisor and its servers."""

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
    """The state of a server that was started."""

    DOWN = "down"
    RECOVERING = "recovering"
    READY = "ready"


class EmbeddedServer(Protocol):
    """One kind of server on one data directory."""

    @property
    def service(self) -> Service:
        """The service it provides."""

    @property
    def title(self) -> str:
        """Its name in messages."""

    @property
    def usual_port(self) -> int:
        """The default port of the service."""

    @property
    def process_argument(self) -> str:
        """The command-line argument that identifies this server's process."""

    @property
    def stop_signal(self) -> signal.Signals:
        """The signal for a clean shutdown."""

    @property
    def unavailable(self) -> type[TransientError]:
        """The error to raise when it is unavailable."""

    def prepare(self) -> list[str]:
        """Create what the server needs on disk; return notes for the user.

        Raises:  ConfigurationError when this machine or its data do not allow it.
        """

    def launch(self, port: int) -> Launch:
        """Return how to start it on loopback `port`."""

    def readiness(self, port: int) -> Readiness:
        """Return the state of the server on `port`; our credentials show that it is ours."""

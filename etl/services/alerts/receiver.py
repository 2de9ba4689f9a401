"""The receiver at ALERT_URL: one attempt to deliver one message, within limits of time.

Redirects are not followed: the signed message would go to another address than the one configured.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event, Timer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from etl import __version__
from etl.model.errors import AlertRejected, ReceiverUnavailable
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import SecretStr

    from etl.settings import Settings

SIGNATURE = "X-Bucketline-Signature"
DELIVERY = "X-Bucketline-Delivery"
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
SLACK_MARK = "slack"  # as the fragment of the URL, which is never sent
CONNECT_SECONDS = 5.0
RESPONSE_SECONDS = 10.0
_SHOWN_BYTES = 500
_SUCCESS, _REDIRECT, _CLIENT_ERROR = 2, 3, 4  # hundreds of a status
_TRY_LATER = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver answered to a message that it accepted."""

    status: int
    text: str


class Receiver:
    """Posts messages to ALERT_URL."""

    def __init__(
        self,
        url: str,
        secret: SecretStr | None = None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        response_seconds: float = RESPONSE_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.is_slack = parts.hostname in SLACK_HOSTS or parts.fragment == SLACK_MARK
        self._is_encrypted = parts.scheme == "https"
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if self._is_encrypted else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._key = None if secret is None else secret.get_secret_value().encode()
        self._connect_seconds, self._response_seconds = connect_seconds, response_seconds

    @classmethod
    def of(cls, settings: Settings) -> Receiver | None:
        """The receiver of ALERT_URL; None if it is not set."""
        url = settings.alert_url
        return None if url is None else cls(url.get_secret_value(), settings.alert_secret)

    def send(self, message: Mapping[str, object]) -> Answer:
        """Post the message as JSON, or its text in Slack's form; `id` goes into a header.

        Raises:  ReceiverUnavailable when it may be accepted later; AlertRejected when it is only
                 after a change.
        """
        shown = {"text": _for_slack(str(message["text"]))} if self.is_slack else message
        body = json.dumps(shown, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"bucketline/{__version__}",
            DELIVERY: str(message["id"]),
        }
        if self._key is not None:
            headers[SIGNATURE] = signature(self._key, body)
        try:
            return self._accepted(*self._post(body, headers))
        except ssl.SSLCertVerificationError as error:
            raise AlertRejected(
                f"The certificate of {self.host} is not valid: {error.verify_message}.",
                hint="If a CA of your own signed it, set SSL_CERT_FILE to the CA's certificate.",
            ) from error
        except (OSError, HTTPException, UnicodeError) as error:
            reason = str(error) or type(error).__name__
            raise ReceiverUnavailable(
                f"{self.host} did not answer: {printable(reason)}."
            ) from error

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None, str]:
        """Status, Location and the beginning of the text of the response."""
        address = (self._name, self._port)
        with (
            closing(socket.create_connection(address, self._connect_seconds)) as plain,
            _deadline(plain, self._response_seconds),
            closing(HTTPConnection(self.host)) as connection,
        ):
            connection.sock = self._encrypted(plain) if self._is_encrypted else plain
            connection.sock.settimeout(self._response_seconds)
            connection.request("POST", self._target, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.getheader("Location"), _text(response)

    def _encrypted(self, plain: socket.socket) -> ssl.SSLSocket:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self._name)

    def _accepted(self, status: int, location: str | None, text: str) -> Answer:
        kind = status // 100
        if kind == _SUCCESS:
            return Answer(status, text)
        if kind == _REDIRECT:
            where = f" to {printable(location)}" if location else ""
            raise AlertRejected(
                f"{self.host} redirects{where} ({status}), which is not followed.",
                hint="Set ALERT_URL to the final address.",
            )
        said = f"{self.host} answered {status}" + (f": {text}" if text else "") + "."
        if kind == _CLIENT_ERROR and status not in _TRY_LATER:
            raise AlertRejected(said)
        raise ReceiverUnavailable(said)


def signature(key: bytes, body: bytes) -> str:
    """The value of X-Bucketline-Signature: the HMAC-SHA256 of the body."""
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def _for_slack(text: str) -> str:
    """The text without Slack's control sequences, which could notify a whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(response: HTTPResponse) -> str:
    """The beginning of the response, on one line."""
    return printable(" ".join(response.read(_SHOWN_BYTES).decode("utf-8", "replace").split()))


@contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Cut the connection after so many seconds, even if a byte comes now and then."""
    cut = connected.dup()  # TLS takes over the other one
    was_cut = Event()

    def end() -> None:
        was_cut.set()
        with suppress(OSError):
            cut.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException) as error:
        if was_cut.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError(f"no response within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
        cut.close()

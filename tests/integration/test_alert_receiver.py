"""One attempt to deliver a message, to real HTTP servers that misbehave in every way."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from etl.model.errors import AlertRejected, ReceiverUnavailable
from etl.services.alerts.receiver import Receiver
from tests.alert_receivers import HANG, LOCATION, OK, TRICKLE, AlertReceiver, receiving
from tests.api_client import closed_port

MESSAGE: dict[str, Any] = {"id": "0123", "event": "late", "text": "Zoë: <!channel> & more"}
SECRET = SecretStr("a secret of the receiver")


def answering(status: int) -> AlertReceiver:
    return AlertReceiver(answer=lambda _: status)


def test_message_is_posted_as_json_with_its_signature():
    with receiving() as receiver:
        answer = Receiver(receiver.url, SECRET).send(MESSAGE)
    (got,) = receiver.accepted
    assert (got.path, got.alert) == ("/hook", MESSAGE)
    digest = hmac.new(SECRET.get_secret_value().encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-bucketline-signature"] == f"sha256={digest}"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-bucketline-delivery"] == "0123"
    assert (answer.status, answer.text) == (200, "<ok> &\\x1b")


def test_message_is_not_signed_without_a_secret():
    with receiving() as receiver:
        Receiver(receiver.url).send(MESSAGE)
    assert "x-bucketline-signature" not in receiver.accepted[0].headers


def test_slack_gets_only_the_text_without_its_control_sequences():
    with receiving() as receiver:
        Receiver(f"{receiver.url}?a=b#slack", SECRET).send(MESSAGE)
    (got,) = receiver.accepted
    assert got.path == "/hook?a=b"
    assert json.loads(got.body) == {"text": "Zoë: &lt;!channel&gt; &amp; more"}
    assert got.headers["x-bucketline-delivery"] == "0123"


@pytest.mark.parametrize(
    ("url", "is_slack"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", True),
        ("https://HOOKS.slack.com/services/T0/B0/x", True),
        ("https://hooks.slack-gov.com/services/T0/B0/x", True),
        ("https://hooks.slack.com.example.com/services/T0/B0/x", False),
        ("https://example.com/hooks.slack.com", False),
        ("https://chat.example.com/hooks/x#slack", True),
    ],
)
def test_slack_is_recognized_by_its_host_or_the_mark(url: str, *, is_slack: bool):
    assert Receiver(url).is_slack == is_slack


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_receiver_with_a_passing_failure_is_unavailable(status: int):
    with (
        receiving(answering(status)) as receiver,
        pytest.raises(ReceiverUnavailable, match=rf"^localhost:\d+ answered {status}: no luck\.$"),
    ):
        Receiver(receiver.url).send(MESSAGE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_receiver_that_refuses_is_an_error(status: int):
    with (
        receiving(answering(status)) as receiver,
        pytest.raises(AlertRejected, match=rf"^localhost:\d+ answered {status}: no luck\.$"),
    ):
        Receiver(receiver.url).send(MESSAGE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status: int):
    with receiving(answering(status)) as receiver, pytest.raises(AlertRejected) as raised:
        Receiver(receiver.url).send(MESSAGE)
    assert f"redirects to {LOCATION} ({status})" in raised.value.message
    assert raised.value.hint == "Set ALERT_URL to the final address."


@pytest.mark.parametrize("answer", [HANG, TRICKLE])
def test_receiver_that_does_not_finish_its_answer_is_cut(answer: int):
    with (
        receiving(answering(answer)) as receiver,
        pytest.raises(ReceiverUnavailable, match=r"no response within 0\.3 s"),
    ):
        Receiver(receiver.url, response_seconds=0.3).send(MESSAGE)


def test_closed_port_and_unknown_host_are_unavailable():
    with closed_port() as port, pytest.raises(ReceiverUnavailable, match="refused"):
        Receiver(f"http://127.0.0.1:{port}/").send(MESSAGE)
    with pytest.raises(ReceiverUnavailable, match="did not answer"):
        Receiver("http://a..b/").send(MESSAGE)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, signed by itself, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        assert not os.environ.get("CI"), "openssl is missing"
        pytest.skip("openssl is missing")
    path = tmp_path / "certificate.pem"
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    places = ["-keyout", str(path), "-out", str(path.with_suffix(".crt")), "-days", "2"]
    subprocess.run([openssl, "req", *options, *names, *places], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def test_invalid_certificate_is_rejected_before_anything_is_sent(certificate: Path):
    with receiving(certificate=certificate) as receiver, pytest.raises(AlertRejected) as raised:
        Receiver(receiver.url, SECRET).send(MESSAGE)
    assert "The certificate of localhost:" in raised.value.message
    assert receiver.arrived == []


def test_certificate_of_an_own_ca_is_accepted(certificate: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(certificate=certificate) as receiver:
        assert Receiver(receiver.url).send(MESSAGE).status == OK
    assert receiver.alerts == [MESSAGE]


def test_certificate_of_another_host_is_rejected(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(certificate=certificate) as receiver, pytest.raises(AlertRejected):
        Receiver(receiver.url.replace("localhost", "127.0.0.1")).send(MESSAGE)
    assert receiver.arrived == []


def test_plain_server_behind_an_https_address_is_unavailable():
    with receiving() as receiver, pytest.raises(ReceiverUnavailable):
        Receiver(receiver.url.replace("http:", "https:"), response_seconds=5).send(MESSAGE)

"""`alert`: what it lists, and the trial of the receiver."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import Engine

from etl.cli.main import commands
from etl.db import alerts
from etl.model.alerts import AlertEvent, Incident
from etl.model.errors import AlertRejected, ConfigurationError, ReceiverUnavailable
from etl.services.alerts.receiver import Receiver
from etl.settings import Settings, read_settings
from tests.alert_receivers import AlertReceiver, receiving
from tests.api_client import closed_port
from tests.conftest import wait_until
from tests.documents import ROOT

SECRET = "the secret of the receiver"  # noqa: S105 - of this test


@pytest.fixture
def run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs the command with the test's servers."""
    monkeypatch.chdir(tmp_path)
    for name in ("s3_endpoint", "s3_access_key", "s3_secret_key", "database_url", "local_dir"):
        value = getattr(settings, name)
        monkeypatch.setenv(
            name.upper(), value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        )

    def invoke(*words: str, url: str = "") -> Result:
        monkeypatch.setenv("ALERT_URL", url)
        return CliRunner().invoke(commands, ["alert", *words])

    return invoke


def test_trial_prints_the_answer(run: Callable[..., Result]):
    with receiving() as receiver:
        result = run("--try", url=receiver.url)
        as_json = run("--try", "--json", url=receiver.url)
    host = f"localhost:{receiver.port}"
    assert result.stdout == f"{host} answered 200: <ok> &\\x1b\n"
    assert json.loads(as_json.stdout) == {"host": host, "status": 200, "answer": "<ok> &\\x1b"}
    assert receiver.events == ["trial", "trial"]
    assert "Nothing is wrong" in receiver.alerts[0]["text"]


def test_trial_fails_if_the_receiver_does(run: Callable[..., Result]):
    with receiving(AlertReceiver(answer=lambda _: 404)) as receiver:
        assert isinstance(run("--try", url=receiver.url).exception, AlertRejected)
    with closed_port() as port:
        result = run("--try", url=f"http://127.0.0.1:{port}/hook")
    assert isinstance(result.exception, ReceiverUnavailable)
    assert isinstance(run("--try").exception, ConfigurationError)


def test_exit_code_of_a_receiver_that_does_not_answer(tmp_path: Path):
    with closed_port() as port:
        environment = {"PATH": os.environ["PATH"], "ALERT_URL": f"http://127.0.0.1:{port}/s3cret"}
        done = subprocess.run(
            [sys.executable, "-m", "etl", "alert", "--try"],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 75
    assert "refused" in done.stderr
    assert "s3cret" not in done.stderr


def test_incidents_and_alerts_are_listed(run: Callable[..., Result], engine: Engine):
    assert run().stdout == "0 open incidents.\nNo alert.\n"
    facts = {"rows": 3, "live": 4, "objects": 3}
    with engine.begin() as connection:
        hold = Incident(AlertEvent.RETIREMENT_HELD, "orders", facts=facts)
        alerts.settle(connection, [hold], run_id=12)
        ((alert_id, _),) = alerts.pending(connection, 0, 10)
        alerts.record_failed(connection, alert_id, "localhost answered 500.")
    shown = run().stdout
    assert re.search(r"^1 open incident\.\n  retirement-held orders, since 20", shown)
    assert "retirement-held: not sent yet, 1 attempt: localhost answered 500.\n" in shown
    assert "3 of 4 rows of orders would be retired" in shown
    listed = json.loads(run("--json").stdout)
    assert [one["dataset"] for one in listed["incidents"]] == ["orders"]
    assert [(one["event"], one["attempts"]) for one in listed["alerts"]] == [("retirement-held", 1)]
    with engine.begin() as connection:
        alerts.record_sent(connection, alert_id)
    assert "retirement-held: sent at 20" in run().stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALERT_URL", "htp://example.com/s3cret"), ("ALERT_SECRET", "s3cret")],
)
def test_invalid_secret_settings_are_refused_without_their_value(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as raised:
        read_settings()
    assert "s3cret" not in raised.value.message


def test_receiver_of_the_guide_verifies_signatures_and_drops_doubles():
    guide = (ROOT / "docs/how-to/get-alerts.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"ALERT_SECRET": SECRET, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    url = f"http://127.0.0.1:{port}/"
    with process:
        try:
            wait_until(lambda: listens(port))
            message = {"id": "1", "event": "late", "text": "No full run has succeeded."}
            signed = Receiver(url, SecretStr(SECRET))
            assert signed.send(message).status == 204
            assert signed.send(message).status == 204
            for other in (Receiver(url), Receiver(url, SecretStr(SECRET + "."))):
                with pytest.raises(AlertRejected, match="403"):
                    other.send(message)
            assert signed.send(message | {"id": "2", "text": "Later."}).status == 204
        finally:
            process.kill()
        assert process.stdout
        assert process.stdout.read() == "late: No full run has succeeded.\nlate: Later.\n"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

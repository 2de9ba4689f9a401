"""An SQS and SNS server for the tests: moto, in a process of its own, and queues on it."""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from etl.runtime.signing import Signer
from etl.settings import Settings
from tests.processes import start
from tests.server_paths import server

ACCOUNT = "123456789012"
REGION = "us-east-1"
VISIBILITY_SECONDS = 4


class Emulator:
    """The server. It keeps its data in memory, and does not check signatures."""

    def __init__(self, log: Path) -> None:
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [server("moto", "bin/moto_server"), "--host", "127.0.0.1", "--port", "0"],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.url = self._address(log)

    def _address(self, log: Path) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text("utf-8"))
            if found:
                return found[1]
            time.sleep(0.05)
        raise AssertionError(log.read_text("utf-8"))

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def queue(self, **attributes: str) -> TestQueue:
        """A new queue."""
        return TestQueue(self, f"events-{uuid.uuid4().hex[:12]}", attributes)

    def topic(self) -> str:
        """The ARN of a new SNS topic."""
        name = f"events-{uuid.uuid4().hex[:12]}"
        self.sns("CreateTopic", Name=name)
        return f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"

    def sqs(self, action: str, **asked: object) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"AmazonSQS.{action}"}
        return self._call("sqs", headers, json.dumps(asked), "application/x-amz-json-1.0")

    def sns(self, action: str, **asked: str) -> dict[str, Any]:
        body = urlencode({"Action": action, "Version": "2010-03-31", **asked})
        return self._call("sns", {}, body, "application/x-www-form-urlencoded")

    def _call(
        self, service: str, headers: dict[str, str], body: str, content_type: str
    ) -> dict[str, Any]:
        host = self.url.removeprefix("http://")
        signed = Signer(service, REGION, "key", "secret").headers(
            "POST",
            host,
            datetime.now(UTC),
            body=body.encode(),
            headers={**headers, "content-type": content_type, "accept": "application/json"},
        )
        response = urllib3.request("POST", self.url, body=body, headers=signed, timeout=120)
        assert response.status == 200, response.data
        return json.loads(response.data) if response.data.startswith(b"{") else {}


class TestQueue:
    """A queue as a store and an operator use it."""

    __test__ = False

    def __init__(self, emulator: Emulator, name: str, attributes: dict[str, str]) -> None:
        self._emulator = emulator
        self.arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        made = emulator.sqs("CreateQueue", QueueName=name, Attributes=attributes)
        self.url = str(made["QueueUrl"])

    def send(self, messages: Iterable[bytes]) -> None:
        """Send the messages, ten with each request."""
        waiting = list(messages)
        for at in range(0, len(waiting), 10):
            entries = [
                {"Id": str(number), "MessageBody": body.decode()}
                for number, body in enumerate(waiting[at : at + 10])
            ]
            sent = self._emulator.sqs("SendMessageBatch", QueueUrl=self.url, Entries=entries)
            assert not sent.get("Failed"), sent

    def subscribe(self, topic: str, *, is_raw: bool) -> None:
        """Subscribe the queue to an SNS topic."""
        raw = {"entry.1.key": "RawMessageDelivery", "entry.1.value": str(is_raw).lower()}
        self._emulator.sns(
            "Subscribe",
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.arn,
            **{f"Attributes.{name}": value for name, value in raw.items()},
        )

    def counts(self) -> tuple[int, int]:
        """The numbers of messages that can be received, and of those that are hidden."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        asked = {"QueueUrl": self.url, "AttributeNames": ["All"]}
        found = self._emulator.sqs("GetQueueAttributes", **asked)["Attributes"]
        visible, hidden = (int(found[name]) for name in names)
        return visible, hidden

    def is_empty(self) -> bool:
        """Whether all messages are deleted."""
        return self.counts() == (0, 0)

    def settings(self, settings: Settings, **further: object) -> Settings:
        """The settings with this queue, and messages that are soon delivered again."""
        update = {
            "sqs_queue_url": self.url,
            "sqs_visibility_timeout": f"{VISIBILITY_SECONDS}s",
            **further,
        }
        return Settings(_env_file=None, **(settings.model_dump() | update))


class Receiving:
    """`python -m etl events sqs` as a process of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = start(settings, "events", "sqs", stderr=file)

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def is_started(self) -> bool:
        return "consumer started" in self.log()

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Stop it in an orderly way; return the exit code."""
        self.process.terminate()
        return self.process.wait(30)


StartReceiving = Callable[[Settings], Receiving]

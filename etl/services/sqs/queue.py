"""One SQS queue: receive messages, delete them, and change how long they stay hidden.

Three signed requests do not justify an AWS SDK: 34 MB, with a python-dateutil older than ours.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from etl.model.errors import ConfigurationError, QueueUnavailable
from etl.model.safe_text import printable
from etl.runtime.pools import map_in_threads
from etl.runtime.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.settings import Settings

MOST_MESSAGES = 10  # of one request
CONNECTIONS = 10
CONNECT_SECONDS = 5
RESPONSE_SECONDS = 10
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500
_REGION = re.compile(
    r"(?:^|\.)sqs(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.|^([a-z]{2}(?:-[a-z]+)+-[0-9])\.queue\."
)
_RETRIABLE = re.compile("Throttl|OverLimit|Unavailable|Timeout|InternalFailure|InternalError")
_RIGHTS_HINT = (
    "Check SQS_QUEUE_URL and its region, and that S3_ACCESS_KEY may call ReceiveMessage,"
    " DeleteMessage and ChangeMessageVisibility on the queue."
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message; `receipt` is what deletes this delivery of it."""

    id: str
    receipt: str
    body: bytes


class Queue:
    """The queue of SQS_QUEUE_URL. Safe to share between threads.

    Raises (every method):  QueueUnavailable if SQS does not respond or asks to retry later;
    ConfigurationError if it rejects the request.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.sqs_queue_url is None:
            raise ConfigurationError(
                "SQS_QUEUE_URL is not set.",
                hint="Set it to the URL of the queue that receives the bucket's notifications.",
            )
        if settings.s3_access_key is None or settings.s3_secret_key is None:
            raise ConfigurationError(
                "S3_ACCESS_KEY or S3_SECRET_KEY is not set.",
                hint="Set both: they sign the requests to SQS as well.",
            )
        self.url = settings.sqs_queue_url
        address = urlsplit(self.url)
        self._host = address.netloc
        self._endpoint = f"{address.scheme}://{address.netloc}/"
        self._hidden_seconds = int(settings.sqs_visibility_timeout.total_seconds())
        self._signer = Signer(
            "sqs",
            region_of(address.hostname or "") or settings.s3_region,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
        )
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False)

    def receive(self, wait_seconds: int = 0) -> list[Message]:
        """Up to ten messages; with `wait_seconds`, wait until there is one.

        They stay hidden from other consumers for SQS_VISIBILITY_TIMEOUT.
        """
        asked = {
            "MaxNumberOfMessages": MOST_MESSAGES,
            "VisibilityTimeout": self._hidden_seconds,
            "WaitTimeSeconds": wait_seconds,
        }
        found = self._call("ReceiveMessage", asked, wait_seconds + RESPONSE_SECONDS)
        return [
            # An invalid character of the text makes an invalid event, not a failed request.
            Message(
                one["MessageId"], one["ReceiptHandle"], one["Body"].encode("utf-8", "surrogatepass")
            )
            for one in found.get("Messages") or ()
        ]

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete the messages; return how many SQS did not delete and so delivers again."""
        return self._call_for_each("DeleteMessageBatch", messages, {})

    def hide(self, messages: Sequence[Message], seconds: int | None = None) -> int:
        """Hide the messages for the whole time again, or for `seconds` from now; 0: deliver now.

        Return the number of messages that are not in use any more.
        """
        hidden = self._hidden_seconds if seconds is None else seconds
        entry = {"VisibilityTimeout": hidden}
        return self._call_for_each("ChangeMessageVisibilityBatch", messages, entry)

    def _call_for_each(
        self, action: str, messages: Sequence[Message], entry: Mapping[str, object]
    ) -> int:
        def call(part: Sequence[Message]) -> int:
            entries = [
                {"Id": str(number), "ReceiptHandle": one.receipt, **entry}
                for number, one in enumerate(part)
            ]
            return len(self._call(action, {"Entries": entries}).get("Failed") or ())

        parts = [messages[at : at + MOST_MESSAGES] for at in range(0, len(messages), MOST_MESSAGES)]
        return sum(map_in_threads(call, parts, CONNECTIONS))

    def _call(
        self, action: str, asked: Mapping[str, object], response_seconds: float = RESPONSE_SECONDS
    ) -> dict[str, Any]:
        body = json.dumps({"QueueUrl": self.url, **asked}).encode()
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"AmazonSQS.{action}",
        }
        signed = self._signer.headers(
            "POST", self._host, datetime.now(UTC), body=body, headers=headers
        )
        try:
            response = self._pool.request(
                *("POST", self._endpoint),
                body=body,
                headers=signed,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=response_seconds),
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise QueueUnavailable(f"SQS did not respond: {printable(str(error))}.") from error
        return _answer(response)


def _answer(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """The JSON object of the response.

    Raises:  QueueUnavailable; ConfigurationError.
    """
    try:
        answer = json.loads(response.data)
    except ValueError:
        answer = None
    if response.status == _OK and isinstance(answer, dict):
        return answer
    fault = answer if isinstance(answer, dict) else {}
    code = str(fault.get("__type", "")).rpartition("#")[2]
    text = str(fault.get("message") or fault.get("Message") or "")
    said = printable(": ".join(part for part in (code, text) if part) or "no reason")
    message = f"SQS answered {response.status}: {said.rstrip('.')}."
    is_retriable = response.status in (_OK, _TOO_MANY) or response.status >= _SERVER_ERROR
    if is_retriable or _RETRIABLE.search(code):
        raise QueueUnavailable(message)
    raise ConfigurationError(message, hint=_RIGHTS_HINT)


def region_of(host: str) -> str | None:
    """The region in the host of a queue's URL; None for other servers than those of AWS."""
    found = _REGION.search(host)
    return found and (found[1] or found[2])

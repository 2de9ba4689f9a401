"""The forms in which AWS delivers an event of a key, as its documentation shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

TOPIC = "arn:aws:sns:eu-central-1:123456789012:bucket-events"
TOKEN_OF_SNS = "2336412f37fb687f5d51e6e2425c464dec37ee"  # noqa: S105 - of no topic


def s3_notification(
    key: str, bucket: str = "src-data", event_name: str = "ObjectCreated:Put", **changed: object
) -> bytes:
    """What S3 sends to a queue; `changed` members of the record."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "eventName": event_name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "bucketline",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {
                "key": quote_plus(key),
                "size": 5,
                "eTag": "abc",
                "sequencer": f"{event_name.encode().hex()}{key.encode().hex()}"[:200],
            },
        },
    }
    return json.dumps({"Records": [record | changed]}).encode()


def bridge_event(
    key: str,
    bucket: str = "src-data",
    detail_type: str = "Object Created",
    reason: str = "PutObject",
    **changed: object,
) -> bytes:
    """What EventBridge sends to its targets; its key is not encoded."""
    event = {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-01-02T03:04:05Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 5,
                "etag": "abc",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": f"{detail_type.encode().hex()}{key.encode().hex()}"[:200],
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "reason": reason,
        },
    }
    return json.dumps(event | changed, ensure_ascii=False).encode()


def sns_message(kind: str, text: str | bytes, topic: str = TOPIC, **more: object) -> bytes:
    """What SNS posts or sends to a queue, without raw message delivery."""
    message: dict[str, Any] = {
        "Type": kind,
        "MessageId": "da41e39f-ea4d-435a-b922-c6aae3915ebe",
        "TopicArn": topic,
        "Message": text.decode() if isinstance(text, bytes) else text,
        "Timestamp": "2026-01-02T03:04:05.678Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/a.pem",
    }
    return json.dumps(message | more).encode()


def sns_notification(text: bytes) -> bytes:
    """The message of SNS with this text."""
    return sns_message("Notification", text, Subject="Amazon S3 Notification")


def confirmation(topic: str = TOPIC, **more: object) -> bytes:
    """The request of SNS to confirm a subscription; its URL leads elsewhere."""
    url = {"SubscribeURL": "http://169.254.169.254/latest/meta-data"}
    return sns_message(
        "SubscriptionConfirmation",
        "You have chosen to subscribe to the topic.",
        topic,
        **{"Token": TOKEN_OF_SNS, **url, **more},
    )


# Each form of a new object with a key.
FORMS: dict[str, Callable[[str], bytes]] = {
    "S3": s3_notification,
    "EventBridge": bridge_event,
    "S3 in SNS": lambda key: sns_notification(s3_notification(key)),
    "EventBridge in SNS": lambda key: sns_notification(bridge_event(key)),
}
TEST_MESSAGE = json.dumps(
    {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-01-02T03:04:05.678Z",
        "Bucket": "src-data",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    }
).encode()

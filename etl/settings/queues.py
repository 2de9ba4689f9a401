"""The settings of SQS and SNS: their types and checks."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from etl.model.arns import is_topic_arn
from etl.settings.values import Duration, listed, matching

_SECOND, _TWELVE_HOURS = timedelta(seconds=1), timedelta(hours=12)  # the longest of SQS


def _is_in_whole_seconds(value: timedelta) -> timedelta:
    if not _SECOND <= value <= _TWELVE_HOURS or value % _SECOND:
        raise ValueError("write whole seconds, from 1s to 12h")
    return value


def _are_topics(value: str) -> str:
    if not all(map(is_topic_arn, listed(value))):
        raise ValueError("write ARNs such as arn:aws:sns:eu-central-1:123456789012:bucket-events")
    return value


_is_queue_url = matching(
    r"https?://[^/?#@\s]+/[^?#\s]+",
    "write the URL of a queue, such as"
    " https://sqs.eu-central-1.amazonaws.com/123456789012/bucket-events",
)

QueueUrl = Annotated[str, AfterValidator(_is_queue_url)]
VisibilityTimeout = Annotated[Duration, AfterValidator(_is_in_whole_seconds)]
TopicArns = Annotated[str, AfterValidator(_are_topics)]

"""Subscriptions of SNS topics to the webhook: confirmed if SNS_TOPIC_ARNS allows it.

The address to confirm at is made from the ARN of an allowed topic. The SubscribeURL in the message,
which anyone with the webhook's token could choose, is never requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import structlog
import urllib3

from etl.model.errors import ConfigurationError, TopicUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection

    from etl.model.errors import SubscriptionNotice

TIMEOUT_SECONDS = 5
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500

log = structlog.get_logger("api")


def answer(notice: SubscriptionNotice, allowed_topics: Collection[str]) -> None:
    """Confirm the subscription if its topic is allowed; otherwise log what to do.

    Raises:  TopicUnavailable if SNS may accept it later; ConfigurationError if it does not.
    """
    topic, token = notice.topic, notice.token
    if token is None:
        log.warning("an SNS subscription ended", topic=topic, hint=notice.hint)
    elif topic not in allowed_topics:
        hint = f"{notice.hint} Or list the topic in SNS_TOPIC_ARNS and subscribe it again."
        log.warning("an SNS subscription waits for confirmation", topic=topic, hint=hint)
    else:
        _confirm(topic, token)
        log.info("confirmed an SNS subscription", topic=topic)


def _confirm(topic: str, token: str) -> None:
    query = urlencode(
        {
            "Action": "ConfirmSubscription",
            "TopicArn": topic,
            "Token": token,
        }
    )
    url = f"{endpoint(topic)}/?{query}"
    try:
        response = urllib3.request(
            "GET", url, timeout=TIMEOUT_SECONDS, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise TopicUnavailable(f"SNS did not respond: {error}.") from error
    if response.status == _OK:
        return
    message = f"SNS answered {response.status} when the subscription to {topic} was confirmed."
    if response.status == _TOO_MANY or response.status >= _SERVER_ERROR:
        raise TopicUnavailable(message)
    raise ConfigurationError(
        message, hint="Subscribe the topic again: its token may be used already or have expired."
    )


def endpoint(topic: str) -> str:
    """The address of SNS in the region of the topic."""
    _, partition, _, region, *_ = topic.split(":")
    suffix = ".cn" if partition == "aws-cn" else ""
    return f"https://sns.{region}.amazonaws.com{suffix}"

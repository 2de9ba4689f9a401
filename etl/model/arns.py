"""The ARNs of SNS topics."""

from __future__ import annotations

import re

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_.-]{1,262}")


def is_topic_arn(text: str) -> bool:
    """Whether this is the ARN of an SNS topic."""
    return _TOPIC.fullmatch(text) is not None

"""The URL of a queue: its region, and what settings accept."""

from __future__ import annotations

import pytest

from etl.model.errors import ConfigurationError
from etl.services.sqs.queue import region_of
from etl.settings import read_settings


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-central-1.amazonaws.com", "eu-central-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.eu-west-2.api.aws", "eu-west-2"),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
        ("vpce-0123-abcd.sqs.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("queue.amazonaws.com", None),
        ("127.0.0.1", None),
        ("sqs.example.com", None),
        ("sqs.eu-central-1", None),
    ],
)
def test_region_is_in_the_host_of_aws(host: str, region: str | None):
    assert region_of(host) == region


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SQS_QUEUE_URL", "bucket-events"),
        ("SQS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com"),
        ("SQS_QUEUE_URL", "https://user:pass@sqs.eu-central-1.amazonaws.com/1/a"),
        ("SQS_QUEUE_URL", "arn:aws:sqs:eu-central-1:123456789012:bucket-events"),
        ("SQS_VISIBILITY_TIMEOUT", "0s"),
        ("SQS_VISIBILITY_TIMEOUT", "1500ms"),
        ("SQS_VISIBILITY_TIMEOUT", "13h"),
        ("SNS_TOPIC_ARNS", "bucket-events"),
        ("SNS_TOPIC_ARNS", "arn:aws:sns:eu-central-1:123456789012:ok, arn:aws:sqs:a:1:b"),
        ("SNS_TOPIC_ARNS", "arn:aws:sns:evil.example:1:a"),
    ],
)
def test_wrong_setting_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert name in caught.value.message

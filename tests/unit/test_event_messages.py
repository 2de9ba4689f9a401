"""Events in the envelopes of AWS, and events with odd times."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.db.event_messages import MAX_KEY_BYTES, parse
from etl.model.errors import SubscriptionNotice, WrongEvent
from tests.envelopes import (
    FORMS,
    TEST_MESSAGE,
    TOKEN_OF_SNS,
    TOPIC,
    bridge_event,
    confirmation,
    s3_notification,
    sns_message,
    sns_notification,
)

any_key = st.text(
    st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=200
).filter(lambda key: len(key.encode()) <= MAX_KEY_BYTES)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("form", FORMS)
@given(any_key)
@example("a+b c%41%2F%+%zz/ä\U0001f600\u2028\ufeff\x01\x7f")
@example('"\\{"Records": []}\\"')
def test_any_key_survives_each_form(form: str, key: str):
    (event,) = parse(FORMS[form](key))
    assert event.key == key
    assert event.bucket == "src-data"


def test_event_of_eventbridge_is_read_like_one_of_s3():
    sent = bridge_event("a b+c.csv")
    (event,) = parse(sent)
    assert event.event_name == "ObjectCreated:PutObject"
    assert event.event_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (event.etag, event.size) == ("abc", 5)
    assert event.version_id == "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
    assert event.record == json.loads(sent)
    assert event.may_change


def test_removal_of_eventbridge_is_named_as_that_of_s3():
    (event,) = parse(bridge_event("1.csv", detail_type="Object Deleted", reason="DeleteObject"))
    assert event.event_name == "ObjectRemoved:DeleteObject"


def test_event_is_the_same_in_each_form_of_its_kind():
    plain, wrapped = parse(s3_notification("1.csv")), parse(FORMS["S3 in SNS"]("1.csv"))
    assert plain == wrapped
    assert parse(bridge_event("1.csv")) == parse(FORMS["EventBridge in SNS"]("1.csv"))


def test_event_of_eventbridge_without_sequencer_is_identified_by_its_id():
    sent = json.loads(bridge_event("1.csv", detail_type="Object Tags Added"))
    del sent["detail"]["object"]["sequencer"]
    (event,) = parse(sent)
    assert event.dedup_key == sent["id"]
    assert event.event_name == "Object Tags Added:PutObject"


@pytest.mark.parametrize("message", [TEST_MESSAGE, sns_notification(TEST_MESSAGE)])
def test_test_message_holds_nothing(message: bytes):
    assert parse(message) == []


def test_subscription_to_confirm_is_no_event():
    with pytest.raises(SubscriptionNotice) as caught:
        parse(confirmation())
    assert (caught.value.topic, caught.value.token) == (TOPIC, TOKEN_OF_SNS)
    assert f"--topic-arn {TOPIC} --token {TOKEN_OF_SNS}" in caught.value.hint


def test_ended_subscription_has_no_token_to_confirm_it():
    with pytest.raises(SubscriptionNotice, match="ended") as caught:
        parse(confirmation(Type="UnsubscribeConfirmation"))
    assert caught.value.token is None


def _changed(message: bytes, *path: str, to: object) -> bytes:
    whole = json.loads(message)
    inner = whole
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (sns_notification(b"hello"), "not valid JSON"),
        (sns_notification(b"[]"), "not a JSON object"),
        (sns_message("Notification", "", Message={"Records": []}), "Message"),
        (sns_notification(sns_notification(s3_notification("1.csv"))), "no Records"),
        (confirmation("arn:aws:sns:eu-central-1:1:a b"), "TopicArn"),
        (confirmation("arn:aws:sqs:eu-central-1:1:queue"), "TopicArn"),
        (confirmation(TopicArn=None), "TopicArn"),
        (confirmation(Token="a&Action=DeleteTopic"), "Token"),
        (confirmation(Token=None), "Token"),
        (_changed(bridge_event("1.csv"), "detail", to=7), "detail: "),
        (_changed(bridge_event("1.csv"), "detail", "bucket", to={}), "detail.bucket.name: "),
        (_changed(bridge_event("1.csv"), "detail", "object", "key", to=""), "detail.object.key"),
        (_changed(bridge_event("1.csv"), "detail-type", to=None), "detail-type: "),
    ],
)
def test_nonsense_in_an_envelope_is_refused_by_its_place(message: bytes, fault: str):
    with pytest.raises(WrongEvent) as caught:
        parse(message)
    assert fault in caught.value.message


@given(any_json, st.sampled_from(["Type", "TopicArn", "Message", "Token", "detail", "detail-type"]))
def test_any_value_in_an_envelope_raises_only_wrong_event(value: object, name: str):
    for message in (confirmation(), sns_notification(b"{}"), bridge_event("1.csv")):
        with suppress(WrongEvent):
            parse(json.loads(message) | {name: value})


# -- times


def times(text: object) -> list[datetime | None]:
    """The time of an event in each form."""
    bridged = json.loads(bridge_event("1.csv", time=text))
    sent = (s3_notification("1.csv", eventTime=text), bridged)
    return [event.event_time for message in sent for event in parse(message)]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.250Z", datetime(2017, 1, 1, 0, 0, 0, 250_000, UTC)),
        ("2017-01-01T08:59:60+09:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31 23:59:60", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:59Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678", datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)),
        ("2026-01-02T03:04:05+00:60", None),
        ("9999-12-31T23:59:60Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_time_that_can_be_read_is_in_utc(text: object, time: datetime | None):
    assert times(text) == [time, time]


@given(
    st.datetimes(datetime(1972, 1, 1), datetime(9000, 1, 1)).map(  # noqa: DTZ001 - UTC
        lambda moment: moment.replace(second=59, tzinfo=UTC)
    )
)
def test_leap_second_is_the_second_after_the_last(moment: datetime):
    text = moment.strftime("%Y-%m-%dT%H:%M:") + f"60.{moment.microsecond:06}Z"
    assert times(text) == [moment + timedelta(seconds=1)] * 2


@given(any_json | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"))
def test_no_time_loses_an_event(value: object):
    assert len(times(value)) == 2
    nameless = without_sequencer(eventTime=value)
    assert [event.key for event in parse(nameless)] == ["1.csv"]


def without_sequencer(**changed: object) -> dict[str, Any]:
    message = json.loads(s3_notification("1.csv", **changed))
    message["Records"][0]["s3"]["object"]["sequencer"] = None
    return message


@pytest.mark.parametrize("time", [None, "", "yesterday", "0001-01-01T00:00:00Z"])
def test_events_that_nothing_identifies_are_all_new(time: object):
    message = without_sequencer(eventTime=time)
    first, again = parse(message), parse(message)
    assert first[0].dedup_key != again[0].dedup_key

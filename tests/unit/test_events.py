"""Notification records, valid and invalid."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.db.event_messages import MAX_BODY_BYTES, parse
from etl.model.errors import WrongEvent

MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "src-data/a/hello world.csv",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2026-01-02T03:04:05.678Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principalId": "minio"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": "src-data", "arn": "arn:aws:s3:::src-data"},
                "object": {
                    "key": "a%2Fhello+world.csv",
                    "size": 60,
                    "eTag": "9bb58f26192e4ba00f01e2e7b136bbd8",
                    "contentType": "text/csv",
                    "userMetadata": {"content-type": "text/csv"},
                    "versionId": "1",
                    "sequencer": "1886F4D9B2A4E0A0",
                },
            },
        }
    ],
}


def record(**thing: object) -> dict[str, Any]:
    return {
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2026-01-02T03:04:05Z",
        "s3": {"bucket": {"name": "src"}, "object": {"key": "1.csv", "sequencer": "7"} | thing},
    }


def of_bucket(name: str) -> dict[str, Any]:
    sent = record()
    sent["s3"]["bucket"]["name"] = name
    return sent


def body(*records: object) -> bytes:
    return json.dumps({"Records": records}).encode()


def test_a_message_of_minio():
    (event,) = parse(json.dumps(MINIO).encode())
    assert (event.bucket, event.key) == ("src-data", "a/hello world.csv")
    assert event.event_name == "s3:ObjectCreated:Put"
    assert event.event_time == datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert event.etag == "9bb58f26192e4ba00f01e2e7b136bbd8"
    assert (event.size, event.version_id) == (60, "1")
    assert event.dedup_key == event.sequencer == "1886F4D9B2A4E0A0"
    assert event.record == MINIO["Records"][0]


def test_already_decoded_key_is_read_unchanged():
    assert parse(MINIO) == parse(json.dumps(MINIO).encode())


def test_every_record_of_a_message_counts():
    events = parse(body(*(record(key=f"{number}.csv") for number in range(1000))))
    assert [event.key for event in events] == [f"{number}.csv" for number in range(1000)]


def test_a_removal_has_neither_size_nor_etag():
    sent = record(eTag="", versionId="")
    sent["eventName"] = "s3:ObjectRemoved:Delete"
    (event,) = parse(body(sent))
    assert (event.size, event.etag, event.version_id) == (None, None, None)


def test_events_without_sequencer_differ_by_time_and_name():
    first = record(sequencer=None)
    again = record(sequencer=None)
    later = record(sequencer=None) | {"eventTime": "2026-01-02T03:04:06Z"}
    keys = [event.dedup_key for event in parse(body(first, again, later))]
    assert keys[0] == keys[1] != keys[2]


@given(st.text(min_size=1, max_size=200))
def test_any_key_round_trips_through_quoting(key: str):
    if "\0" in key or not key.isprintable():
        return
    (event,) = parse(body(record(key=quote_plus(key))))
    assert event.key == key


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=200))
@example("a+b%41%2F%")
def test_a_raw_key_is_read_as_it_is(key: str):
    (event,) = parse(body(record(key=key)), keys_are_quoted=False)
    assert event.key == key


@pytest.mark.parametrize("key", ["", "a\0b", "\u00e4" * 513])
def test_a_raw_key_has_the_limits_of_a_quoted_one(key: str):
    with pytest.raises(WrongEvent, match=r"Records\[0\]\.s3\.object\.key"):
        parse(body(record(key=key)), keys_are_quoted=False)


@pytest.mark.parametrize(
    "message",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "src"},
        {"Records": []},
        {"EventName": "", "Key": "", "Records": None},
    ],
)
def test_a_test_message_holds_nothing(message: object):
    assert parse(json.dumps(message).encode()) == []


def test_a_nul_anywhere_but_in_the_key_is_replaced():
    (event,) = parse(body(record(userMetadata={"n\0te": ["a\0b"]})))
    assert event.record["s3"]["object"]["userMetadata"] == {"n\ufffdte": ["a\ufffdb"]}


def test_event_for_reading_an_object_is_ignored():
    sent = record() | {"eventName": "s3:ObjectAccessed:Get"}
    assert [event.may_change for event in parse(body(record(), sent))] == [True, False]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"Records": [{"a": "\\ud800"}]}', "not valid JSON"),
        (b'{"Records": [{"a": NaN}]}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"7", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "no Records"),
        (b'{"Records": {}}', "Records is not a list"),
        (b'{"Records": "many"}', "Records is not a list"),
        (b'{"Records": [7]}', "Records[0]"),
        (b'{"Records": [{}]}', "Records[0].eventName"),
        (body(record(), record(key="")), "Records[1].s3.object.key"),
        (body(record(key="a%00b")), "NUL"),
        (body(record(key="%ff")), "not percent-encoded UTF-8"),
        (body(record(key="a" * 1025)), "1 to 1024 bytes"),
        (body(record(key=quote_plus("ä" * 513))), "1 to 1024 bytes"),
        (body(record(size=-1)), "size"),
        (body(record(size=2**63)), "size"),
        (body(record(sequencer="7" * 257)), "sequencer"),
        (body(record(sequencer="ä" * 129)), "sequencer: must have at most 256 bytes"),
        (body(record() | {"eventName": "ä" * 129}), "eventName: must have at most 256 bytes"),
        (body(of_bucket("b" * 64)), "s3.bucket.name: must have at most 63 bytes"),
        (body(of_bucket("ä" * 32)), "s3.bucket.name: must have at most 63 bytes"),
        (b'{"Records": []}' + b" " * MAX_BODY_BYTES, "bytes"),
    ],
)
def test_nonsense_is_refused_by_its_place(message: bytes, fault: str):
    with pytest.raises(WrongEvent) as caught:
        parse(message)
    assert fault in caught.value.message


@pytest.mark.parametrize("value", [object(), {"Records": [{"a": float("nan")}]}, {1, 2}])
def test_values_that_are_no_json_are_refused(value: object):
    with pytest.raises(WrongEvent):
        parse(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_value_raises_only_wrong_event(value: object):
    with pytest.raises(WrongEvent):
        parse({"Records": [value]})

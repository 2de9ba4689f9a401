"""Failures that no run could record: one alert for each outage, and one when it is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from etl.model.alerts import Alert, AlertEvent
from etl.model.errors import DatabaseUnavailable
from etl.services.alerts.unrecorded import UnrecordedFailures

DOWN = DatabaseUnavailable(
    "PostgreSQL is not available: 10.0.0.7 refused", public_message="PostgreSQL is not available."
)


def taken(failures: UnrecordedFailures) -> list[Alert]:
    found = []
    while alert := failures.next():
        found.append(alert)
        failures.sent()
    return found


@given(st.lists(st.booleans()))
def test_outages_and_ends_alternate(is_down: list[bool]):
    failures = UnrecordedFailures(grace_seconds=0)
    sent = []
    for one in is_down:
        if one:
            failures.began(DOWN)
        else:
            failures.ended()
        sent += taken(failures)
    changes = [
        one for one, before in zip(is_down, [False, *is_down], strict=False) if one != before
    ]
    wanted = [AlertEvent.RUN_FAILED if one else AlertEvent.RECOVERED for one in changes]
    assert [one.event for one in sent] == wanted
    assert len({one.delivery_id for one in sent}) == len(sent)


def test_outage_shorter_than_the_grace_has_no_alert():
    failures = UnrecordedFailures(grace_seconds=3600)
    failures.began(DOWN)
    assert failures.next() is None
    failures.ended()
    assert failures.next() is None


def test_alert_remains_the_next_until_it_is_sent():
    failures = UnrecordedFailures(grace_seconds=0)
    failures.began(DOWN)
    first = failures.next()
    failures.ended()
    assert failures.next() is first
    failures.sent()
    second = failures.next()
    assert second is not None
    assert second.event is AlertEvent.RECOVERED


def test_addresses_are_not_in_the_alert():
    failures = UnrecordedFailures(grace_seconds=0)
    failures.began(DOWN)
    (alert,) = taken(failures)
    assert alert.incidents[0]["error"]["message"] == "PostgreSQL is not available."
    failures.ended()
    failures.began(ZeroDivisionError("of 10.0.0.7"))
    assert "10.0.0.7" not in str(taken(failures))

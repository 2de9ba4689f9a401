"""When a change is published: at once where somebody asked, gathered behind events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from etl.model.values import Trigger
from etl.sync.publish import is_time

INTERVAL = timedelta(seconds=60)
SOON = timedelta(seconds=59)


@pytest.mark.parametrize("trigger", [Trigger.INTERVAL, Trigger.REQUEST, Trigger.CLI])
@pytest.mark.parametrize("since_last", [None, timedelta(0), SOON, INTERVAL])
def test_what_somebody_asked_for_is_published_at_once(
    trigger: Trigger, since_last: timedelta | None
):
    assert is_time(trigger, since_last, INTERVAL)


@pytest.mark.parametrize("trigger", [Trigger.EVENT, None])
def test_what_events_brought_waits_for_the_interval(trigger: Trigger | None):
    assert not is_time(trigger, timedelta(0), INTERVAL)
    assert not is_time(trigger, SOON, INTERVAL)
    assert is_time(trigger, INTERVAL, INTERVAL)


@pytest.mark.parametrize("trigger", [Trigger.EVENT, None])
def test_the_first_publication_waits_for_nothing(trigger: Trigger | None):
    assert is_time(trigger, None, INTERVAL)


@pytest.mark.parametrize("trigger", [Trigger.EVENT, None])
def test_nobody_waits_for_a_clock_that_was_set_back(trigger: Trigger | None):
    assert is_time(trigger, timedelta(hours=-1), INTERVAL)

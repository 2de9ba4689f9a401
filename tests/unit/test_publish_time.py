"""The publish time: immediate for requested runs, debounced after event runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from etl.model.values import Trigger
from etl.sync.publish import is_due

INTERVAL = timedelta(seconds=60)
SOON = timedelta(seconds=59)


@pytest.mark.parametrize("trigger", [Trigger.INTERVAL, Trigger.REQUEST, Trigger.CLI])
@pytest.mark.parametrize("since_last", [None, timedelta(0), SOON, INTERVAL])
def test_requested_runs_publish_immediately(trigger: Trigger, since_last: timedelta | None):
    assert is_due(trigger, since_last, INTERVAL)


@pytest.mark.parametrize("trigger", [Trigger.EVENT, None])
def test_event_runs_publish_after_the_interval(trigger: Trigger | None):
    assert not is_due(trigger, timedelta(0), INTERVAL)
    assert not is_due(trigger, SOON, INTERVAL)
    assert is_due(trigger, INTERVAL, INTERVAL)


@pytest.mark.parametrize("trigger", [Trigger.EVENT, None])
def test_the_first_publication_waits_for_nothing(trigger: Trigger | None):
    assert is_due(trigger, None, INTERVAL)


@pytest.mark.parametrize("trigger", [Trigger.EVENT, None])
def test_clock_set_back_publishes_immediately(trigger: Trigger | None):
    assert is_due(trigger, timedelta(hours=-1), INTERVAL)

"""Events received through the store's listen API."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from etl.services.listener import listening
from etl.settings import Settings
from tests.awkward_keys import check_awkward_keys
from tests.stores import NOTIFIES


@pytest.mark.store(NOTIFIES)
def test_listened_events_name_awkward_keys(settings: Settings, engine: Engine):
    with listening(settings.model_copy(update={"event_listen": True})):
        check_awkward_keys(settings, engine)

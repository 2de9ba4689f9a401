"""Events that are fetched from the store by its listen API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from sqlalchemy import Engine

from etl.listen import START_SECONDS, STOP_SECONDS, Listener
from etl.settings import Settings
from tests.awkward import check_events


@contextmanager
def listening(settings: Settings) -> Iterator[None]:
    listener = Listener(settings)
    thread = Thread(target=listener.run_forever)
    thread.start()
    listener.wait_until_tried(START_SECONDS)
    try:
        yield
    finally:
        listener.stop()
        thread.join(STOP_SECONDS)
    assert not thread.is_alive()


def test_listened_events_name_awkward_keys(settings: Settings, engine: Engine):
    with listening(settings):
        check_events(settings, engine)

"""What several tests of faults share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etl.settings import Settings
from tests.killed_histories import FLOOR, Histories


@pytest.fixture
def histories(
    settings: Settings,
    fresh_database: Callable[[], Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Histories]:
    """Makes histories of killed runs."""
    monkeypatch.setattr("etl.sync.holds.FLOOR", FLOOR)
    made = Histories(settings, fresh_database, tmp_path)
    yield made
    for engine in made.engines:
        engine.dispose()

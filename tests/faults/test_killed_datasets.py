"""Runs over several datasets that are killed at random moments equal an undisturbed twin.

Objects in every format are replaced, removed and renamed, declarations change, and retirements are
held and allowed. After each step both have equal tables, problems, manifests, holds and published
files.
"""

from __future__ import annotations

import logging

import pytest

from tests.killed_histories import Histories, History

log = logging.getLogger(__name__)


def check(history: History, steps: int) -> None:
    history.live(steps)
    log.info("kills %s", dict(history.kills))
    assert history.kills.total() > steps / 2


def test_killed_runs_over_several_datasets_equal_their_twin(histories: Histories):
    check(histories.history(0), 2)


@pytest.mark.long
@pytest.mark.timeout(0)  # as long as its steps take
@pytest.mark.parametrize("seed", range(100, 160))
def test_killed_runs_of_long_histories_equal_their_twin(seed: int, histories: Histories):
    check(histories.history(seed), 6)

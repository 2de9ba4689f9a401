"""When the tests of tests/containers run, are skipped, and fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers import engine


def test_obstacles_name_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "KEYRING", tmp_path / "keyring.gpg")
    found = engine.obstacles()
    assert "mmdebstrap is not installed" in found
    assert f"{tmp_path}/keyring.gpg is missing" in found


@pytest.mark.parametrize(
    ("value", "expected"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_obstacle_skips_a_test_and_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: type[BaseException]
):
    monkeypatch.setenv("CI", value)
    monkeypatch.setattr(engine, "obstacles", lambda: ["the user is not root"])
    with pytest.raises(expected, match="the user is not root"):
        engine.require_engine()


def test_workers_of_one_run_do_not_start_several_engines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(engine, "obstacles", list)
    with pytest.raises(pytest.fail.Exception, match="-n 0"):
        engine.require_engine()

"""Chromium, and instances whose API and scheduler are processes of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from etl.settings import Settings
from tests.browsers import Visitor, chromium_program
from tests.processes import serving, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATIENCE_MS = 60_000  # for a run of another process, with all cores busy


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, for the tests of a module.

    Playwright keeps an event loop running in this thread, so no longer than that.
    """
    program = chromium_program()
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - not if skipped

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def serve(chromium: Browser, settings: Settings, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts the API, and the scheduler unless `runs=False`; returns the URL of the API.

    LOCAL_DIR is `tmp_path`, so that a test may write a keys file. `changes` are other settings.
    """
    assert chromium.is_connected()
    with ExitStack() as processes:

        def begin(*, runs: bool = True, **changes: Any) -> str:  # noqa: ANN401 - settings
            own = settings.model_copy(update={"local_dir": tmp_path, **changes})
            host, port, _ = processes.enter_context(serving(own))
            if runs:
                scheduler = start(
                    own, "schedule", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                processes.callback(scheduler.wait)
                processes.callback(scheduler.terminate)
            return f"http://{host}:{port}"

        yield begin


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens a browser profile at a URL; at the end, the browser must not have complained."""
    visitors: list[Visitor] = []

    def come(url: str, **options: Any) -> Visitor:  # noqa: ANN401 - Playwright's
        visitors.append(Visitor(chromium, url, **options))
        return visitors[-1]

    yield come
    for one in visitors:
        one.leave()

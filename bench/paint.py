"""How soon Chromium paints pages on a first visit: `python -m bench.paint`, in bench/.venv.

Standard input has a JSON object: the `url` of the API, a `key`, the `chromium` program, `pages` and
`repeats`. The last line of standard output is a JSON object of milliseconds by page.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, StorageState

# Not `wait_for_function`, which needs `eval`; the pages' Content-Security-Policy forbids it.
_MOMENT = """
() => new Promise((found) => {
  new PerformanceObserver((list) => {
    const [paint] = list.getEntriesByName("first-contentful-paint");
    if (paint) found(paint.startTime);
  }).observe({type: "paint", buffered: true});
})
"""
_OK = 200


def paint(job: dict[str, Any]) -> dict[str, list[float]]:
    """The milliseconds until each page is painted; none for a page that the key may not open."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only in bench/.venv

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=job["chromium"])
        session = _session(browser, job["url"], job["key"])
        found = {
            page: [
                moment
                for _ in range(job["repeats"])
                if (moment := _first_paint(browser, job["url"] + page, session)) is not None
            ]
            for page in job["pages"]
        }
        browser.close()
    return found


def _session(browser: Browser, url: str, key: str) -> StorageState:
    """The cookies of a visitor who has signed in."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/ui/sign-in")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{url}/ui/")
        return context.storage_state()


def _first_paint(browser: Browser, url: str, session: StorageState) -> float | None:
    """Milliseconds from the request to the first text, with an empty cache."""
    with browser.new_context(storage_state=session) as context:
        page = context.new_page()
        response = page.goto(url)
        if response is None or response.status != _OK:
            return None
        return float(page.evaluate(_MOMENT))


if __name__ == "__main__":
    print(json.dumps(paint(json.load(sys.stdin))))  # noqa: T201 - its answer

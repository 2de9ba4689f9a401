"""Visitors with a real browser: what they see, and what the browser complains about.

A visitor notes each fault of the pages it opens: errors in the console, reports of the
Content-Security-Policy, and requests to other hosts.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, WebError

VENDOR = Path(__file__).parent / "browser" / "vendor"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
LOCAL_SCHEMES = {"data", "blob", "about"}

# A report reaches the console as well, but there it may be one of many messages.
_REPORTS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} forbids ${event.blockedURI}`);
});
"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def chromium_program() -> str:
    """The path of Chromium. Without it, the test is skipped, or fails in continuous integration."""
    found = shutil.which("chromium")
    if found is None:
        reason = "Chromium is not installed; `apt install chromium` installs it on Debian"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@cache
def axe_script() -> str:
    """The accessibility checks of axe-core, which run in the page."""
    return (VENDOR / "axe.min.js").read_text("utf-8")


class Visitor:
    """A visitor of one instance, with a browser profile of their own and one tab.

    `options` are those of Playwright's `new_context`. Animations are off, so that colors are final.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:  # noqa: ANN401
        self.faults: list[str] = []
        self._hosts = {urlsplit(url).netloc}
        self._allowed: set[str] = set()
        self._requests: list[Request] = []
        values = {"viewport": DESKTOP, "reduced_motion": "reduce"} | options
        self.context = browser.new_context(base_url=url, **values)
        self.context.on("console", self._note_message)
        self.context.on("weberror", self._note_error)
        self.context.on("request", self._note_request)
        self.context.add_init_script(_REPORTS)
        self.page: Page = self.context.new_page()

    def open(self, path: str, status: int = 200) -> Page:
        """Open a page, which must have this status; Chromium reports any other as an error."""
        if status >= 400:
            self.allow(path)
        self._requests.clear()
        response = self.page.goto(path)
        assert response is not None
        assert response.status == status, path
        return self.page

    def allow(self, path: str) -> None:
        """Expect a status of 400 or more from this path, which the browser reports."""
        self._allowed.add(path)

    def allow_host(self, url: str) -> None:
        """Expect requests to the host of this URL."""
        self._hosts.add(urlsplit(url).netloc)

    def transferred_bytes(self) -> int:
        """The bytes of the last opened page with all that it has loaded, with headers."""
        sizes = [request.sizes() for request in self._requests if request.response()]
        return sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes)

    def findings(self) -> list[str]:
        """What axe-core finds on the page as it is now."""
        self.page.evaluate(axe_script())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {node['html'][:120]}: {node.get('failureSummary', '')[:300]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    def overflow_pixels(self) -> int:
        """By how much the page is wider than the window."""
        return int(self.page.evaluate(_OVERFLOW))

    def brightness(self) -> float:
        """The brightness of the page's background, from 0 to 255."""
        color = self.page.evaluate(_BACKGROUND)
        numbers = [float(one) for one in color.partition("(")[2].rstrip(")").split(",")[:3]]
        return sum(numbers) / 3

    def leave(self) -> None:
        """Close the tab, and fail if the browser had anything to complain about."""
        self.context.close()
        assert self.faults == []

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        source = message.location["url"]
        if urlsplit(source).path in self._allowed and "status of" in message.text:
            return
        self.faults.append(f"{message.type} in {source}: {message.text}")

    def _note_error(self, error: WebError) -> None:
        self.faults.append(f"uncaught error: {error.error}")

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.netloc not in self._hosts and parts.scheme not in LOCAL_SCHEMES:
            self.faults.append(f"request to another host: {request.url}")
        self._requests.append(request)

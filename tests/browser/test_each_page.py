"""Each page of a filled instance as a browser sees it: sound, small, and usable by everyone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, expect

from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.browsers import DESKTOP, PHONE, Visitor
from tests.conftest import Databases, TestBucket, new_instance
from tests.dashboard_pages import PAGES, PATHS, DashboardPage, store_document
from tests.processes import serving

MOST_BYTES = 100_000
LOOKS = [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)]


@dataclass(frozen=True)
class Filled:
    """A served instance that has something to show on each page."""

    url: str
    bucket: str
    run: int

    def path(self, page: DashboardPage) -> str:
        return page.path.format(bucket=self.bucket, run=self.run)


@pytest.fixture(scope="module")
def filled(chromium: Browser, stack: Settings, databases: Databases) -> Iterator[Filled]:
    """Rows, problems, a hold and a document; no scheduler, so that nothing changes."""
    assert chromium.is_connected()
    with new_instance(stack, databases) as settings:
        run = fill(settings)
        with serving(settings) as (host, port, _):
            url = f"http://{host}:{port}"
            store_document(url, "first")
            yield Filled(url, settings.source_bucket, run)


def fill(settings: Settings) -> int:
    """Load users, some of them faulty, and open a hold; the number of the first run."""
    bucket, manager = TestBucket(settings), DataManager(settings)
    header = "user_id,first_name,last_name,birthts\n"
    bucket.put("a.csv", header + "".join(f"{one},Ann,Lee,{one}000\n" for one in range(1, 40)))
    bucket.put("gone/b.csv", header + "".join(f"{one},Bo,Ray,0\n" for one in range(100, 400)))
    bucket.put("faulty.csv", f"{header}900,Cy,Day,03.05.1980\n901,Di,Fox,0\n")
    bucket.put("unused.bin", b"\0\1")
    report = manager.run(Trigger.CLI)
    bucket.remove("gone/b.csv")
    manager.run(Trigger.CLI)
    return report.id


@pytest.mark.parametrize("page", PAGES, ids=PATHS)
def test_page_is_sound_small_and_accessible_in_every_look(
    page: DashboardPage, filled: Filled, visitor: Callable[..., Visitor]
):
    seen = visitor(filled.url)
    opened = seen.open(filled.path(page), page.status)
    opened.wait_for_load_state("load")
    assert seen.transferred_bytes() <= MOST_BYTES
    expect(opened.get_by_role("heading", level=1)).to_have_count(1)
    assert seen.faults == []
    found = []
    for scheme, size in LOOKS:
        opened.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        opened.set_viewport_size(size)
        look = f"{scheme}, {size['width']} px"
        found += [f"{look}: {finding}" for finding in seen.findings()]
        if seen.overflow_pixels() > 0:
            found.append(f"{look}: wider than the window by {seen.overflow_pixels()} px")
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=PATHS)
def test_page_without_scripts_has_the_same_heading_and_links(
    page: DashboardPage, filled: Filled, visitor: Callable[..., Visitor]
):
    def shown(**options: object) -> tuple[list[str], set[str | None]]:
        opened = visitor(filled.url, **options).open(filled.path(page), page.status)
        links = opened.locator("main a[href]").evaluate_all(
            "links => links.map((link) => link.getAttribute('href'))"
        )
        return opened.locator("h1, h2").all_inner_texts(), set(links)

    (headings, links), (expected_headings, expected_links) = (
        shown(java_script_enabled=False),
        shown(),
    )
    # A script may load what a link leads to, in place of the link.
    assert set(headings) <= set(expected_headings)
    assert links >= expected_links


def test_errors_and_broken_policies_are_noticed(filled: Filled, chromium: Browser):
    seen = Visitor(chromium, filled.url)
    opened = seen.open("/ui/")
    for script in (
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">styled</p>')",
        "fetch('http://127.0.0.1:9/elsewhere').catch(() => {})",
        "setTimeout(() => { window.isDone = true; throw new Error('broken'); })",
        "console.error('wrong')",
    ):
        opened.evaluate(f"() => {{ {script} }}")
    opened.wait_for_function("window.isDone")
    opened.title()  # what the browser reports before its answer has arrived
    seen.context.close()
    noticed = "\n".join(seen.faults)
    for words in ("policy: style-src", "policy: connect-src", "uncaught error", "wrong"):
        assert words in noticed


def test_requests_to_other_hosts_are_noticed(filled: Filled, chromium: Browser):
    seen = Visitor(chromium, filled.url, bypass_csp=True)
    opened = seen.open("/ui/")
    opened.evaluate("fetch('http://127.0.0.1:9/elsewhere').catch(() => {})")
    seen.context.close()
    assert "request to another host: http://127.0.0.1:9/elsewhere" in seen.faults


def test_a_label_that_is_missing_is_found(filled: Filled, chromium: Browser):
    seen = Visitor(chromium, filled.url)
    opened = seen.open("/ui/")
    opened.evaluate("document.querySelector('main').append(document.createElement('input'))")
    found = seen.findings()
    seen.context.close()
    assert [one.partition(":")[0] for one in found] == ["label"]

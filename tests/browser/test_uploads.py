"""Files that are dropped or chosen: checked, uploaded with their progress, and seen as rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.browsers import Visitor
from tests.conftest import TestBucket
from tests.stores import NOTIFIES

HEADER = "user_id,first_name,last_name,birthts\n"
FAULTY = f"{HEADER}1,Ann,Lee,0\n2,Bo,Day,03.05.1980\n3,,Fox,0\n"
GOOD = f"{HEADER}1,Ann,Lee,0\n2,Bo,Day,1980-05-03\n3,Cy,Fox,0\n"

# Playwright has no function that drops files from outside the browser.
DROP = """
([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name, { type: "text/csv" }));
  const given = { dataTransfer: data, bubbles: true, cancelable: true };
  document.querySelector("h1").dispatchEvent(new DragEvent("dragover", given));
  document.querySelector("h1").dispatchEvent(new DragEvent("drop", given));
}
"""

Serve = Callable[..., str]
Visit = Callable[..., Visitor]


@pytest.fixture
def chosen(tmp_path: Path) -> Callable[[Page, str, str], None]:
    """Chooses a file with this name and text in the form of the page."""

    def choose(page: Page, name: str, text: str) -> None:
        path = tmp_path / name
        path.write_text(text)
        page.get_by_label("File", exact=True).set_input_files(path)

    return choose


def uploads(page: Page) -> list[str]:
    """Where requests put objects from now on."""
    urls: list[str] = []
    page.on("request", lambda one: urls.append(one.url) if one.method == "PUT" else None)
    return urls


@pytest.mark.store(NOTIFIES)
def test_a_dropped_file_is_checked_then_uploaded_and_its_rows_arrive(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("crm/a.csv", f"{HEADER}9,Ida,Orr,0\n")
    manager.run(Trigger.CLI)
    page = visitor(serve(event_listen=True)).open(f"/ui/objects/{bucket.name}?prefix=crm/")
    put = uploads(page)

    page.evaluate(DROP, ["b.csv", FAULTY])

    report = page.locator("#checked-report")
    expect(report.get_by_role("heading")).to_have_text("2 problems in this file")
    expect(report).to_contain_text(f"{bucket.name}/crm/b.csv, a new key")
    expect(report).to_contain_text("1 of 3 rows")
    expect(report.locator("mark").first).to_have_text("03.05.1980")
    assert put == []
    assert not bucket.has("crm/b.csv")

    report.get_by_role("button", name="Upload; 2 rows will be rejected").click()

    expect(page).to_have_url(re.compile(r"/crm/b\.csv\?until=\d+$"))
    arrival = page.locator("#arrival")
    expect(arrival).to_contain_text("Its first rows")
    expect(arrival.get_by_role("cell", name="Ann")).to_be_visible()
    expect(page.get_by_role("heading", name="Problems by line")).to_be_visible()
    assert len(put) == 1
    assert bucket.get("crm/b.csv") == FAULTY.encode()


@pytest.mark.store(NOTIFIES)
def test_a_fixed_file_replaces_the_object_and_its_problems_end(
    serve: Serve,
    visitor: Visit,
    bucket: TestBucket,
    manager: DataManager,
    chosen: Callable[[Page, str, str], None],
):
    bucket.put("b.csv", FAULTY)
    manager.run(Trigger.CLI)
    page = visitor(serve(event_listen=True)).open(f"/ui/objects/{bucket.name}/b.csv")
    report = page.locator("#checked-report")

    chosen(page, "another-name.csv", FAULTY)
    expect(report.get_by_role("button", name="Upload; 2 rows will be rejected")).to_be_visible()
    with page.expect_file_chooser():
        report.get_by_role("button", name="Choose another file").click()
    with page.expect_file_chooser():
        page.get_by_role("link", name="Upload the fixed file").click()
    chosen(page, "another-name.csv", GOOD)
    expect(report.get_by_role("heading")).to_have_text("No problem in this file")
    expect(report).to_contain_text("which replaces the object of")
    report.get_by_role("button", name="Upload", exact=True).click()

    expect(page.locator("#arrival").get_by_role("cell", name="Cy")).to_be_visible()
    expect(page.get_by_role("heading", name="Problems by line")).to_have_count(0)
    assert bucket.get("b.csv") == GOOD.encode()


def test_the_progress_of_an_upload_is_shown_and_a_broken_one_is_reported(
    serve: Serve, visitor: Visit, bucket: TestBucket, chosen: Callable[[Page, str, str], None]
):
    seen = visitor(serve(runs=False))
    page = seen.open(f"/ui/objects/{bucket.name}")
    chosen(page, "b.csv", GOOD)
    upload = page.locator("#checked-report").get_by_role("button", name="Upload", exact=True)
    expect(upload).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/b.csv", hold)  # neither sent nor failed yet
    upload.click()
    expect(page.get_by_role("progressbar", name="Uploaded")).to_be_visible()
    held[0].abort()
    expect(page.get_by_role("alert")).to_have_text(
        "The connection broke, so the file was not uploaded."
    )
    seen.faults.clear()  # the browser reports the request that failed


@pytest.mark.store(NOTIFIES)
def test_with_an_address_for_browsers_a_file_goes_to_the_store_itself(
    serve: Serve,
    visitor: Visit,
    bucket: TestBucket,
    settings: Settings,
    chosen: Callable[[Page, str, str], None],
):
    seen = visitor(serve(event_listen=True, s3_public_endpoint=settings.s3_endpoint))
    seen.allow_host(settings.s3_endpoint)
    page = seen.open(f"/ui/objects/{bucket.name}")
    put = uploads(page)
    chosen(page, "ä b.csv", GOOD)
    page.locator("#checked-report").get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#arrival").get_by_role("cell", name="Cy")).to_be_visible()
    assert [one.startswith(f"{settings.s3_endpoint}/") for one in put] == [True]
    assert bucket.get("ä b.csv") == GOOD.encode()

"""An operator's day at the dashboard, with a real API, a real scheduler and a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, text

from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from etl.settings import key_file
from etl.sync.manager import DataManager
from tests.browsers import PHONE, Visitor
from tests.conftest import TestBucket
from tests.dashboard_pages import store_document
from tests.stores import NOTIFIES

ROWS = 300
RUN_HAS_ENDED = re.compile(r"Run \d+ succeeded in ")

Serve = Callable[..., str]
Visit = Callable[..., Visitor]


def users(count: int, first: int = 1) -> str:
    rows = "".join(f"{index},Ann,Lee{index},0\n" for index in range(first, first + count))
    return f"user_id,first_name,last_name,birthts\n{rows}"


def go_to(page: Page, name: str) -> None:
    """Follow the link of the navigation."""
    page.get_by_role("navigation", name="Pages", exact=True).get_by_role("link", name=name).click()


# -- the first visit


@pytest.mark.store(NOTIFIES)
def test_first_visit_says_that_the_bucket_is_empty_and_fills_it_with_the_sample(
    serve: Serve, visitor: Visit, bucket: TestBucket
):
    page = visitor(serve()).open("/")
    expect(page).to_have_url(re.compile(r"/ui/$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("is empty")
    expect(page).to_have_title("Nothing to load yet · Bucketline")

    page.get_by_role("button", name=re.compile(f"^Upload .* to {bucket.name}$")).click()

    # The page of the empty bucket becomes the overview without being loaded by hand.
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    expect(page.get_by_role("rowheader", name="users")).to_be_visible()


# -- a run


def test_run_is_requested_and_watched_until_it_ends(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("a.csv", users(3))
    manager.run(Trigger.CLI)
    page = visitor(serve()).open("/ui/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("All in sync")
    bucket.put("b.csv", users(4, first=100))

    page.get_by_role("button", name="Run now").click()

    expect(page).to_have_url(re.compile(r"/ui/\?run=\d+$"))
    expect(page.locator("#progress")).to_contain_text(RUN_HAS_ENDED)
    users_line = page.get_by_role("row").filter(has_text="users")
    expect(users_line.get_by_role("cell", name="7", exact=True).first).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("All in sync")


def test_a_run_is_found_in_the_list_and_its_numbers_add_up(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("a.csv", users(3) + "9,Cy,Day,never\n")
    report = manager.run(Trigger.CLI)
    page = visitor(serve(runs=False)).open("/ui/")
    go_to(page, "Runs")
    page.get_by_label("Trigger").select_option("cli")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile("trigger=cli"))
    page.get_by_role("link", name=str(report.id), exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Run {report.id} succeeded in")
    expect(page.get_by_text("adds up")).to_have_count(3)
    page.go_back()
    page.get_by_role("link", name="Clear").click()
    expect(page).to_have_url(re.compile("/ui/runs$"))


# -- a mass retirement


@pytest.fixture
def held(bucket: TestBucket, manager: DataManager) -> None:
    bucket.put("old/a.csv", users(ROWS))
    bucket.put("new/b.csv", users(5, first=1_000))
    manager.run(Trigger.CLI)
    bucket.remove("old/a.csv")
    manager.run(Trigger.CLI)


@pytest.mark.usefixtures("held")
def test_mass_retirement_is_held_read_and_allowed(serve: Serve, visitor: Visit, engine: Engine):
    page = visitor(serve()).open("/ui/")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{ROWS} retirements of users")
    page.get_by_role("link", name="Review held rows").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        f"{ROWS} of {ROWS + 5} rows of users would be retired"
    )
    expect(page.get_by_role("rowheader", name="old")).to_be_visible()
    retire = page.get_by_role("button", name=f"Retire {ROWS} rows")

    retire.click()  # the name of the dataset is missing
    expect(page).to_have_url(re.compile("/ui/holds/users$"))
    assert live_users(engine) == ROWS + 5

    page.get_by_label(re.compile("^Type users to allow")).fill("users")
    retire.click()
    expect(page.locator("#progress")).to_contain_text(RUN_HAS_ENDED)
    expect(page.get_by_role("heading", level=1)).to_contain_text("All in sync")
    assert live_users(engine) == 5


def live_users(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM users")) or 0)


# -- events and documents


def test_an_event_is_listed_with_the_run_that_handled_it(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager, engine: Engine
):
    bucket.put("a.csv", users(3))
    report = manager.run(Trigger.CLI)
    with engine.begin() as connection:
        for key in ("a.csv", "b.csv"):
            connection.execute(
                text(
                    "INSERT INTO bucket_event (bucket, key, mark, event_name, size, record,"
                    " handled_by_run) VALUES (:bucket, :key, :key, 's3:Put', 44, '{}', :run)"
                ),
                {"bucket": bucket.name, "key": key, "run": report.id},
            )
    page = visitor(serve(runs=False)).open("/ui/")
    go_to(page, "Events")
    expect(page.get_by_text("b.csv")).to_be_visible()
    page.get_by_label("Key").fill("a.csv")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("b.csv")).to_have_count(0)
    page.get_by_role("row").filter(has_text="a.csv").get_by_role(
        "link", name=str(report.id)
    ).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Run {report.id} succeeded")


def test_a_document_is_read_downloaded_and_removed(serve: Serve, visitor: Visit):
    url = serve(runs=False)
    store_document(url, "first")
    page = visitor(url).open("/ui/")
    go_to(page, "Documents")
    page.get_by_role("link", name="first", exact=True).click()
    expect(page.get_by_text('{"any": "JSON"}')).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "first.json"
    assert Path(download.value.path()).read_bytes() == b'{"any": "JSON"}'
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove first").click()
    expect(page.get_by_text("There is no document.")).to_be_visible()


# -- keys


@pytest.fixture
def keys(tmp_path: Path) -> dict[Role, str]:
    """The keys of an instance that has one of each role."""
    made = {role: new_key() for role in Role}
    for role, key in made.items():
        key_file.add(tmp_path / "api-keys", entry_for(f"the-{role}", role, key))
    return made


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_visitor_signs_in_with_a_key_and_out_again(
    serve: Serve, visitor: Visit, keys: dict[Role, str]
):
    seen = visitor(serve(runs=False))
    seen.open("/ui/runs?trigger=cli", status=200)
    page = seen.page
    expect(page).to_have_url(re.compile("/ui/sign-in"))
    seen.allow("/ui/sign-in")
    sign_in(page, new_key())
    expect(page.get_by_role("alert")).to_contain_text("This key is not valid here.")

    sign_in(page, keys[Role.READER])
    expect(page).to_have_url(re.compile(r"/ui/runs\?trigger=cli$"))
    expect(page.get_by_text("the-reader, reader").first).to_be_visible()
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    cookies = {one["name"]: one for one in seen.context.cookies()}
    (session,) = [one for name, one in cookies.items() if "session" in name]
    assert session["httpOnly"]
    assert session["sameSite"] == "Strict"
    assert session["path"] == "/ui"

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/ui/sign-in$"))
    page.go_back()
    expect(page.get_by_text("the-reader, reader")).to_have_count(0)


@pytest.mark.usefixtures("held")
def test_writer_sees_the_button_for_a_run_and_not_those_of_an_admin(
    serve: Serve, visitor: Visit, keys: dict[Role, str]
):
    page = visitor(serve(runs=False)).open("/ui/holds/users")
    sign_in(page, keys[Role.WRITER])
    expect(page.get_by_text("Your key can read, not retire")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Retire"))).to_have_count(0)
    go_to(page, "Overview")
    expect(page.get_by_role("button", name="Run now")).to_be_visible()


# -- screens, themes, keyboards, no scripts


def test_on_a_phone_the_menu_leads_to_the_pages(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("a.csv", users(3))
    manager.run(Trigger.CLI)
    seen = visitor(
        serve(runs=False), viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    page = seen.open("/ui/")
    assert seen.overflow_pixels() <= 0
    menu = page.get_by_role("navigation", name="Pages, small screen")
    expect(menu).not_to_be_visible()
    page.get_by_text("Menu", exact=True).tap()
    menu.get_by_role("link", name="Runs").tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    assert seen.overflow_pixels() <= 0


def test_theme_follows_the_system_until_the_visitor_chooses(serve: Serve, visitor: Visit):
    url = serve(runs=False)
    light = visitor(url, color_scheme="light")
    dark = visitor(url, color_scheme="dark")
    light.open("/ui/runs")
    dark.open("/ui/runs")
    assert light.brightness() > 200
    assert dark.brightness() < 60
    light.page.get_by_role("button", name="Theme: as the system").click()
    expect(light.page.locator("html")).to_have_attribute("data-theme", "dark")
    assert light.brightness() < 60
    light.page.get_by_role("button", name="Theme: dark").click()
    expect(light.page.locator("html")).to_have_attribute("data-theme", "light")
    light.open("/ui/")
    assert light.brightness() > 200


def test_keyboard_skips_to_the_content(serve: Serve, visitor: Visit):
    page = visitor(serve(runs=False)).open("/ui/runs")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))


def test_without_scripts_a_run_is_requested_and_the_page_follows_it(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("a.csv", users(3))
    manager.run(Trigger.CLI)
    page = visitor(serve(), java_script_enabled=False).open("/ui/")
    bucket.put("b.csv", users(4, first=100))
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#progress")).to_contain_text(RUN_HAS_ENDED)
    page.get_by_role("button", name="Theme: as the system").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    go_to(page, "Runs")
    page.get_by_role("row").nth(1).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("succeeded in")


def test_page_says_when_the_dashboard_no_longer_answers(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("a.csv", users(3))
    manager.run(Trigger.CLI)
    seen = visitor(serve(runs=False))
    page = seen.open("/ui/")
    seen.context.set_offline(offline=True)
    expect(page.get_by_role("alert")).to_contain_text("The dashboard has not answered since")
    seen.context.set_offline(offline=False)
    expect(page.get_by_role("alert")).to_have_count(0)
    seen.faults.clear()  # the browser reports each request that failed


# -- rows, problems and files


def test_rows_are_filtered_by_the_url_and_one_is_opened(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    bucket.put("a.csv", users(40))
    manager.run(Trigger.CLI)
    page = visitor(serve(runs=False)).open("/ui/")
    go_to(page, "Datasets")
    page.get_by_role("link", name="users").first.click()
    expect(page).to_have_url(re.compile("/ui/datasets/users"))
    page.goto("/ui/datasets/users/rows?last_name=eq.Lee7")
    expect(page.get_by_text("Lee7", exact=True).first).to_be_visible()
    expect(page.get_by_text("Lee8", exact=True)).to_have_count(0)
    page.get_by_role("link", name="7", exact=True).first.click()
    expect(page).to_have_url(re.compile("/ui/datasets/users/rows/7$"))
    expect(page.get_by_role("main")).to_contain_text("a.csv")


@pytest.mark.store(NOTIFIES)
def test_faulty_file_is_found_fixed_by_upload_and_seen_solved(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager, tmp_path: Path
):
    bucket.put("faulty.csv", "user_id,first_name,last_name,birthts\n9,Cy,Day,03.05.1980\n")
    manager.run(Trigger.CLI)
    page = visitor(serve()).open("/ui/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 object needs attention")
    page.get_by_role("link", name=re.compile("^View lines")).click()
    expect(page).to_have_url(re.compile("/faulty.csv$"))
    expect(page.get_by_role("main")).to_contain_text("03.05.1980")

    fixed = tmp_path / "faulty.csv"
    fixed.write_text("user_id,first_name,last_name,birthts\n9,Cy,Day,1980-05-03\n")
    page.locator("input[type=file]").first.set_input_files(fixed)
    page.get_by_role("button", name=re.compile("^Upload")).first.click()

    go_to(page, "Overview")
    expect(page.get_by_role("heading", level=1)).to_contain_text("All in sync")
    assert bucket.get("faulty.csv") == fixed.read_bytes()


def test_problems_are_grouped_and_lead_to_the_object(
    serve: Serve, visitor: Visit, bucket: TestBucket, manager: DataManager
):
    for name in ("a", "b"):
        bucket.put(f"{name}.csv", "user_id,first_name,last_name,birthts\n9,Cy,Day,03.05.1980\n")
    manager.run(Trigger.CLI)
    page = visitor(serve(runs=False)).open("/ui/")
    go_to(page, "Problems")
    expect(page.get_by_role("heading", level=1)).to_contain_text("2")
    expect(page.get_by_role("main")).to_contain_text("03.05.1980")
    page.goto("/ui/problems?severity=warning")
    expect(page.get_by_role("main")).not_to_contain_text("03.05.1980")


def test_settings_are_shown_without_their_secrets(serve: Serve, visitor: Visit, bucket: TestBucket):
    page = visitor(serve(runs=False)).open("/ui/")
    go_to(page, "Settings")
    expect(page.get_by_role("main")).to_contain_text("SOURCE_BUCKET")
    expect(page.get_by_role("main")).to_contain_text(bucket.name)

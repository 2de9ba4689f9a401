"""What the holders of keys see: no link and no button that would be refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from api.security.auth import access_rule
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from etl.settings import key_file
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.ui_client import crawl, send, visit

if TYPE_CHECKING:
    from apiflask import APIFlask

    from etl.settings import Settings

HEAD = "user_id,first_name,last_name,birthts\n"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a key file of its own."""
    return settings.model_copy(update={"api_keys_file": tmp_path / "api-keys"})


@pytest.fixture
def filled(app: APIFlask, settings: Settings, bucket: TestBucket) -> APIFlask:
    """The API of an instance with rows, a problem and held rows."""
    manager = DataManager(settings)
    bucket.put("old/a.csv", HEAD + "".join(f"{one},A,B,0\n" for one in range(300)))
    bucket.put("new.csv", HEAD + "x1,A,B,0\nx2,A,B,never\n")
    manager.run(Trigger.CLI)
    bucket.remove("old/a.csv")
    manager.run(Trigger.CLI)
    return app


@pytest.mark.parametrize(
    ("role", "datasets"),
    [
        (Role.READER, ()),
        (Role.WRITER, ()),
        (Role.ADMIN, ()),
        (Role.ADMIN, ("users",)),
        (Role.WRITER, ("orders",)),
    ],
)
def test_every_link_and_button_of_a_key_is_allowed(
    filled: APIFlask, settings: Settings, role: Role, datasets: tuple[str, ...]
):
    key, client = new_key(), filled.test_client()
    key_file.add(settings.key_file, entry_for("someone", role, key, datasets))
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    routes = filled.url_map.bind("localhost")
    pages, buttons = 0, set()
    for seen in crawl(client):
        pages += 1
        assert seen.status == 200, (seen.url, seen.text)
        for form in seen.forms:
            if form.method != "post":
                continue
            endpoint, _ = routes.match(unquote(urlsplit(form.action).path), method="POST")
            rule = access_rule(filled, endpoint)
            assert rule is not None
            buttons.add(endpoint)
            if rule.role is not None:
                assert role.includes(rule.role), (seen.url, form.action)
                assert not datasets or rule.dataset is not None, (seen.url, form.action)
    assert pages > (2 if datasets else 20)
    assert ("ui.overview.request_run" in buttons) is (role.includes(Role.WRITER) and not datasets)
    is_decided = role is Role.ADMIN and "orders" not in datasets
    assert ("ui.holds.allow_hold" in buttons) is is_decided

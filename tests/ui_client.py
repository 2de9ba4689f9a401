"""Helpers for tests of the dashboard: read a page as a visitor does, and send its forms."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "identity"}
INLINE = {"a", "b", "code", "time", "mark", "span", "strong", "em"}  # part of a sentence
BLOCKS = {"div", "dl", "form", "ol", "p", "pre", "section", "table", "ul"}
VOID = {"meta", "link", "input", "br", "img", "hr", "source", "wbr", "col", "area"}

FOREIGN = {"/docs", "/openapi.json"}  # pages of ours that are no part of the dashboard
PAGES = 400


@dataclass
class Form:
    """A form of a page: where it goes, and the fields that are filled in."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


@dataclass
class Seen:
    """A page as it is seen."""

    url: str
    response: TestResponse
    title: str = ""
    h1: str = ""
    text: str = ""
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)  # style sheets, scripts, images, panels
    forms: list[Form] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.response.status_code

    def form(self, action: str) -> Form:
        """The form whose action ends so."""
        return next(one for one in self.forms if urlsplit(one.action).path.endswith(action))


class _Reader(HTMLParser):
    """Collects what a visitor sees, and what the policy of pages forbids."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self.open: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._check(tag, given)
        if "p" in self.open and tag in BLOCKS:
            self.seen.faults.append(f"<{tag}> in <p>, which it closes")
        self._separate(tag)
        if tag not in VOID:
            self.open.append(tag)
        here = self.seen.url
        if tag == "a" and not given.get("href", "#").startswith("#"):
            self.seen.links.append(urljoin(here, given["href"]))
        for name in ("src", "hx-get"):
            if name in given:
                self.seen.loaded.append(urljoin(here, given[name]))
        if tag == "link":
            self.seen.loaded.append(urljoin(here, given["href"]))
        if tag == "form":
            action = urljoin(here, given.get("action", ""))
            self.seen.forms.append(Form(action, given.get("method", "get")))
        if tag in ("input", "select", "textarea") and "form" in self.open and "name" in given:
            self.seen.forms[-1].fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        self._separate(tag)
        if not self.open or self.open.pop() != tag:
            self.seen.faults.append(f"</{tag}> closes another element")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "title" in self.open:
            self.seen.title += data
        elif not {"style", "script"} & set(self.open):
            self.seen.text += data
            if "h1" in self.open:
                self.seen.h1 += data
            if "button" in self.open and "form" in self.open:
                self.seen.forms[-1].buttons.append(data.strip())

    def _separate(self, tag: str) -> None:
        if tag not in INLINE:
            self.seen.text += " "

    def _check(self, tag: str, given: dict[str, str]) -> None:
        if tag == "style" or "style" in given:
            self.seen.faults.append(f"inline style in <{tag}>")
        if tag == "script" and "src" not in given:
            self.seen.faults.append("inline script")
        self.seen.faults += [f"handler {name} in <{tag}>" for name in given if name[:2] == "on"]
        if "id" in given:
            if given["id"] in self.ids:
                self.seen.faults.append(f"two elements with id {given['id']}")
            self.ids.add(given["id"])
        if tag == "form" and given.get("method") == "post":
            return
        if tag == "img" and "alt" not in given:
            self.seen.faults.append("image without alt")


def visit(client: FlaskClient, url: str, **headers: str) -> Seen:
    """The page at this URL, without following redirects."""
    return read(url, client.get(url, headers=BROWSER | headers))


def read(url: str, response: TestResponse) -> Seen:
    """A response as a page."""
    response.get_data()  # keeps it, so that the stream can be closed
    response.close()
    seen = Seen(url, response)
    reader = _Reader(seen)
    if response.mimetype.startswith("text/"):  # links lead to files and pictures, too
        reader.feed(response.text)
        reader.close()
    seen.faults += [f"<{tag}> is not closed" for tag in reader.open]
    for name in ("title", "h1", "text"):
        setattr(seen, name, re.sub(r"\s+", " ", getattr(seen, name)).strip())
    return seen


def send(client: FlaskClient, seen: Seen, action: str, **fields: str) -> TestResponse:
    """Send a form of the page with its own fields and these; the response to it."""
    form = seen.form(action)
    return client.post(form.action, data=form.fields | fields, headers=BROWSER)


def crawl(client: FlaskClient, start: str = "/ui/") -> Iterator[Seen]:
    """Every page that links lead to, once for each set of parameters, whatever their values."""
    waiting, known = [start], {start}
    while waiting:
        seen = visit(client, waiting.pop(0))
        yield seen
        for link in seen.links:
            parts = urlsplit(link)
            kind = f"{parts.path}?{sorted(parse_qs(parts.query))}"
            if kind not in known and parts.path not in FOREIGN and len(known) < PAGES:
                known.add(kind)
                waiting.append(parts.path + (f"?{parts.query}" if parts.query else ""))

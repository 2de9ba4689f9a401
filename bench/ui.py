"""The dashboard over a large instance: size, slowest statement and first paint of each page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from api import create_app
from api.state.services import services_of
from bench import tools
from bench.figures import Figure, Target, figure
from bench.large_instance import Size, fill
from bench.progress import say
from bench.readers import Server, serving
from bench.runs import run
from bench.stack import Stack, api_key, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from bench.scale import Scale
    from etl.settings import Settings

SCENARIO = "ui"
PAGE_KB = 100.0
PAINT_MS = 500.0
STATEMENT_MS = 50.0
PAINT_SECONDS = 600
STATEMENT_CHARACTERS = 80

# The path of each page, with the names of the instance in braces.
PAGES = (
    "/ui/",
    "/ui/datasets",
    "/ui/datasets/users",
    "/ui/datasets/users/rows",
    "/ui/datasets/users/rows?last_name=eq.Sato",
    "/ui/datasets/users/rows/0000500",
    "/ui/objects",
    "/ui/objects/{bucket}",
    "/ui/problems",
    "/ui/problems?code=missing-cell",
    "/ui/runs",
    "/ui/runs?each=1",
    "/ui/runs?outcome=failed",
    "/ui/runs/{run}",
    "/ui/events",
    "/ui/events?key=users/000001.csv",
    "/ui/documents",
    "/ui/settings",
)
_LOADED = re.compile(r'<(?:link|script|img)\b[^>]*?\b(?:href|src)="(/[^"]+)"')
_HEADERS = {"Accept": "text/html", "Accept-Encoding": "gzip"}
_OK = 200


@dataclass(frozen=True)
class Opened:
    """A page: its kilobytes on the wire with all it loads, and its slowest statement."""

    kilobytes: float
    statement_ms: float
    statement: str


class Statements:
    """The statements of an engine, each with the milliseconds until its first row."""

    def __init__(self, engine: Engine) -> None:
        self.taken: list[tuple[float, str]] = []
        event.listen(engine, "before_cursor_execute", self._begin)
        event.listen(engine, "after_cursor_execute", self._end)

    def slowest(self) -> tuple[float, str]:
        """The slowest since the last call; 0 without any."""
        found = max(self.taken, default=(0.0, "none"))
        self.taken.clear()
        return found

    # What SQLAlchemy gives: connection, cursor, statement, parameters, context, is_many.

    def _begin(self, *given: Any) -> None:  # noqa: ANN401
        given[4].begun = time.perf_counter()

    def _end(self, *given: Any) -> None:  # noqa: ANN401
        milliseconds = (time.perf_counter() - given[4].begun) * 1000
        self.taken.append((milliseconds, " ".join(given[2].split())[:STATEMENT_CHARACTERS]))


class Dashboard:
    """The dashboard of a large instance."""

    def __init__(self, stack: Stack, scale: Scale) -> None:
        self._repeats = scale.repeats
        bucket = stack.bucket("dashboard")
        self._settings = stack.fresh(bucket)
        stack.bucket(self._settings.document_bucket)
        run(self._settings)
        say(f"{scale.big_rows:,} users, {scale.kept_runs:,} runs by SQL")
        size = Size(scale.big_rows, scale.kept_runs, scale.open_problems)
        schemas = f"{self._settings.database_schema},{self._settings.state_schema}"
        fill(url_of(self._settings), bucket, size, schemas)
        stack.settle()
        self._names = {"bucket": bucket, "run": str(scale.kept_runs)}

    def figures(self) -> Iterator[Figure]:
        """Size and slowest statement of each page, then its first paint."""
        app = create_app(_without_keys(self._settings))
        engine = services_of(app).engine
        statements = Statements(engine)
        pages = [path.format(**self._names) for path in PAGES]
        opened = {
            page: [_opened(app.test_client(), statements, page) for _ in range(self._repeats)]
            for page in pages
        }
        engine.dispose()
        yield from (_weight(page, found) for page, found in opened.items())
        yield from (_statement(page, found) for page, found in opened.items())
        yield from self._paints(pages)

    def _paints(self, pages: Sequence[str]) -> Iterator[Figure]:
        why_not = _why_no_paint()
        found: dict[str, list[float]] = {}
        if not why_not:
            with serving(self._settings) as server:
                found, why_not = _painted(server, pages, self._repeats)
        for page in pages:
            note = why_not or ("" if found.get(page) else "not measured: an admin's page")
            yield figure(
                SCENARIO,
                f"{page}: first paint",
                "ms",
                found.get(page, []),
                target=Target(extra=PAINT_MS),
                says=f"≤ {PAINT_MS:.0f} ms",
                note=note,
            )


def ui(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure each page of the dashboard."""
    return Dashboard(stack, scale).figures()


def _without_keys(settings: Settings) -> Settings:
    """Settings of an instance whose pages need no session."""
    return settings.model_copy(update={"local_dir": settings.local_dir / "without-keys"})


def _opened(client: FlaskClient, statements: Statements, page: str) -> Opened:
    """Open a page as a browser with an empty cache does.

    Raises:  RuntimeError when it is not a 200.
    """
    statements.slowest()
    response = client.get(page, headers=_HEADERS)
    if response.status_code != _OK:
        raise RuntimeError(f"GET {page} answered {response.status_code}.")
    milliseconds, statement = statements.slowest()
    size = len(response.data)
    text = client.get(page, headers={"Accept": "text/html", "Accept-Encoding": "identity"}).text
    for url in dict.fromkeys(_LOADED.findall(text)):
        size += len(client.get(url.replace("&amp;", "&"), headers=_HEADERS).data)
    return Opened(size / 1000, milliseconds, statement)


def _weight(page: str, opened: Sequence[Opened]) -> Figure:
    return figure(
        SCENARIO,
        f"{page}: size with all it loads",
        "kB",
        [one.kilobytes for one in opened],
        target=Target(extra=PAGE_KB),
        says=f"≤ {PAGE_KB:.0f} kB",
    )


def _statement(page: str, opened: Sequence[Opened]) -> Figure:
    slowest = max(opened, key=lambda one: one.statement_ms)
    return figure(
        SCENARIO,
        f"{page}: slowest statement",
        "ms",
        [one.statement_ms for one in opened],
        target=Target(extra=STATEMENT_MS),
        says=f"≤ {STATEMENT_MS:.0f} ms",
        note=slowest.statement,
    )


# -- first paint


def _why_no_paint() -> str:
    if not tools.PYTHON.exists():
        return "not installed: bench/requirements.txt"
    return "" if shutil.which("chromium") else "not installed: Chromium"


def _painted(
    server: Server, pages: Sequence[str], repeats: int
) -> tuple[dict[str, list[float]], str]:
    """Milliseconds by page, and why there are none."""
    job = {
        "url": f"http://{server.address}",
        "key": api_key(),
        "chromium": shutil.which("chromium"),
        "pages": pages,
        "repeats": repeats,
    }
    done = subprocess.run(  # noqa: S603  (our own script)
        [str(tools.PYTHON), "-P", "-m", "bench.paint"],
        env=os.environ | tools.PATHS,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=PAINT_SECONDS,
        check=False,
    )
    if done.returncode:
        return {}, f"failed: {tools.last_line(done.stderr)}"
    return json.loads(done.stdout.splitlines()[-1]), ""

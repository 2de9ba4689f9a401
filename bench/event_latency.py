"""Events: from a put's acknowledgement to the new value over HTTP, and a burst of puts.

`up` runs with everything embedded, in its own folder, as for a first-time user.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from minio import Minio

from bench.figures import Figure, Target, figure
from bench.progress import say
from bench.stack import database
from etl import local
from etl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

    from bench.scale import Scale
    from bench.stack import Stack

SCENARIO = "events"
P50_MS = 250.0
P95_MS = 700.0
BURST_FACTOR = 1.5
PUTS_AT_ONCE = 16
START_SECONDS = 90
PATIENCE_SECONDS = 120
LOOK_SECONDS = 0.001
STOP_SECONDS = 30


@dataclass(frozen=True)
class Timing:
    """One put: when it was acknowledged, and when its value was seen; seconds since 1970."""

    key: str
    acknowledged: float
    seen: float

    @property
    def ms(self) -> float:
        """How long the value took."""
        return (self.seen - self.acknowledged) * 1000


class Up:
    """A running `up`: its store, its API and its database."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self._host = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._host)
        assert settings.s3_endpoint  # noqa: S101 - it is up
        assert settings.s3_secret_key  # noqa: S101
        self._store = Minio(
            urlsplit(settings.s3_endpoint).netloc,
            settings.s3_access_key,
            settings.s3_secret_key.get_secret_value(),
            secure=False,
            region=settings.s3_region,
        )

    def put(self, user_id: str, birthts: int) -> None:
        """Put the CSV of one user."""
        content = f"first_name,last_name,birthts\nAnn,Lee,{birthts}\n".encode()
        key, body = f"{user_id}.csv", io.BytesIO(content)
        self._store.put_object(self.settings.source_bucket, key, body, len(content))

    def put_many(self, prefix: str, count: int) -> None:
        """Put many users concurrently."""
        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            list(pool.map(lambda number: self.put(f"{prefix}{number:05}", number), range(count)))

    def ask(self, method: str, path: str) -> Any:  # noqa: ANN401 - whatever the API says
        """The decoded answer of the API."""
        self._connection.request(method, path)
        return json.loads(self._connection.getresponse().read())

    def has_run(self) -> bool:
        """Whether a run has succeeded."""
        return any(run["state"] == "succeeded" for run in self.ask("GET", "/runs")["runs"])

    def seen(self, user_id: str) -> int | None:
        """The birthts that the API serves for a user; None if there is none."""
        found = self.ask("GET", f"/data/{user_id}").get("birthts")
        return None if found is None else int(found)

    def count(self) -> int:
        """The number of users that the API serves."""
        return int(self.ask("GET", "/stats")["count"])


def events(_stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure single puts one after the other, and a burst compared with a full run."""
    with starting_up() as up:
        yield from _singles(up, scale.event_puts)
        say(f"a burst of {scale.burst_puts} puts, with events and without")
        notified = _burst(up, scale)
    with starting_up(EVENT_LISTEN="0") as up:
        requested = _burst_with_request(up, scale)
    yield figure(
        SCENARIO,
        f"{scale.burst_puts} concurrent puts, until all are served",
        "s",
        notified,
        baseline="the same puts without events, and a run",
        baseline_samples=requested,
        target=Target(factor=BURST_FACTOR, of="that"),
    )


def _singles(up: Up, count: int) -> Iterator[Figure]:
    timings = singles(up, count)
    taken = [timing.ms for timing in timings]
    what = f"{count} puts, from acknowledgement to GET /data/<id>"
    yield figure(
        SCENARIO,
        f"{what}: median",
        "ms",
        taken,
        target=Target(extra=P50_MS),
        says=f"≤ {P50_MS:.0f} ms",
    )
    yield figure(
        SCENARIO,
        f"{what}: 95th percentile",
        "ms",
        [quantiles(taken, n=20)[-1]],
        target=Target(extra=P95_MS),
        says=f"≤ {P95_MS:.0f} ms",
    )
    for name, samples in _steps(up, timings).items():
        yield figure(SCENARIO, f"of which: {name}", "ms", samples)


def singles(up: Up, count: int) -> list[Timing]:
    """Put users one after the other, and wait for each."""
    say(f"{count} single puts")
    return [_single(up, number) for number in range(count)]


def _single(up: Up, number: int) -> Timing:
    user_id = f"single{number % 20}"
    up.put(user_id, number)
    acknowledged = time.time()
    _await(lambda: up.seen(user_id) == number)
    return Timing(f"{user_id}.csv", acknowledged, time.time())


def _steps(up: Up, timings: list[Timing]) -> dict[str, list[float]]:
    """Milliseconds of each step of each put, from the times in the database."""
    steps: dict[str, list[float]] = {}
    with database(up.settings) as connection, connection.cursor() as cursor:
        for timing in timings:
            cursor.execute(_TIMES, {"key": timing.key, "at": timing.acknowledged})
            row = cursor.fetchone()
            if row is None:  # the event was lost, or a full run handled it
                continue
            received, started, finished, seconds = row
            inside = {
                f"run, {'check keys' if name == 'look' else name}": taken
                for name, taken in seconds.items()
            }
            whole = sum(seconds.values())
            parts = {
                "listener": received - timing.acknowledged,
                "storing, waking, debouncing": started - received - seconds.get("look", 0.0),
                **inside,
                "run, other": finished - started - whole + seconds.get("look", 0.0),
                "commit and visibility": timing.seen - finished,
            }
            for name, taken in parts.items():
                steps.setdefault(name, []).append(taken * 1000)
    return {name: samples for name, samples in steps.items() if abs(median(samples)) >= 1}


_TIMES = """
SELECT extract(epoch FROM event.received_at)::float, extract(epoch FROM run.started_at)::float,
       extract(epoch FROM run.finished_at)::float, run.step_seconds
FROM bucket_event AS event JOIN run ON run.id = event.handled_by_run
WHERE event.key = %(key)s AND run.trigger = 'event'
  AND event.received_at > to_timestamp(%(at)s) - interval '100 ms'
ORDER BY event.id LIMIT 1
"""


def _burst(up: Up, scale: Scale) -> list[float]:
    """Seconds from the first put to the last value served, each time."""
    return [
        _seconds(partial(_put_and_see, up, f"notified{turn}-", scale.burst_puts))
        for turn in range(scale.slow_repeats)
    ]


def _burst_with_request(up: Up, scale: Scale) -> list[float]:
    """The same with a run requested after the last put."""
    return [
        _seconds(partial(_put_and_run, up, f"requested{turn}-", scale.burst_puts))
        for turn in range(scale.slow_repeats)
    ]


def _put_and_see(up: Up, prefix: str, count: int) -> None:
    wanted = up.count() + count
    up.put_many(prefix, count)
    _await(lambda: up.count() == wanted, pause_seconds=0.02)


def _put_and_run(up: Up, prefix: str, count: int) -> None:
    wanted = up.count() + count
    up.put_many(prefix, count)
    run = up.ask("POST", f"/data?wait={PATIENCE_SECONDS}")
    if run["state"] != "succeeded" or up.count() != wanted:
        raise RuntimeError(f"the run did not bring everything: {run}")


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _await(condition: Callable[[], bool], *, pause_seconds: float = LOOK_SECONDS) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was put did not come in")
        time.sleep(pause_seconds)


@contextmanager
def starting_up(database_url: SecretStr | None = None, **further: str) -> Iterator[Up]:
    """`up` in a separate process with servers of its own, stopped after the block.

    The database is its own as well unless it is given.
    """
    given = {"database_url": database_url} if database_url else {}
    further |= {name.upper(): value.get_secret_value() for name, value in given.items()}
    folder = Path(tempfile.mkdtemp(prefix="bucketline-events-"))
    folder.chmod(0o755)  # for PostgreSQL's unprivileged account, as root
    process = subprocess.Popen(
        [sys.executable, "-m", "etl", "up", "--no-seed"],
        env=_environment(folder) | further,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _found(_settings(folder, **given), process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        _await(lambda: local.recorded(_settings(folder)) is None, pause_seconds=0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _found(given: Settings, process: subprocess.Popen[bytes]) -> Up:
    url_file = given.local_dir / "api.url"
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        settings = local.recorded(given)
        if settings is not None and url_file.exists():
            up = Up(settings, url_file.read_text("utf-8").strip())
            _await(up.has_run)
            return up
        time.sleep(0.1)
    raise RuntimeError("`up` did not start")


def _settings(folder: Path, **given: SecretStr) -> Settings:
    values = {name: spec.get_default() for name, spec in Settings.model_fields.items()}
    return Settings.model_construct(**values | given | {"local_dir": folder})


def _environment(folder: Path) -> dict[str, str]:
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"LOCAL_DIR": str(folder)}

"""Reading: all users, users by age, one user; and response times during a full load."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from bench import bare, objects
from bench.big import KEY
from bench.figures import Figure, Target, figure
from bench.readers import (
    READERS,
    Server,
    ask_until,
    bytes_per_second,
    p99,
    read_by_many,
    read_whole,
    serving,
)
from bench.runs import run
from bench.stack import Stack, bulk_store, database, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.scale import Scale

ALL_SHARE = 0.7
AGE_FACTOR = 1.5
API_MB = 150.0
P99_FACTOR = 5.0
AGE = 40  # one of eighty equal groups: 12,500 of a million users
PAGE = 10_000
PAGES = 20


class Serving:
    """A loaded table and the API."""

    def __init__(self, stack: Stack, scale: Scale) -> None:
        self._scale = scale
        bucket = stack.bucket("serving")
        self._store = bulk_store(stack.settings, bucket)
        self._settings = stack.fresh(bucket)
        self._put()
        run(self._settings)
        # Autovacuum would do this during the measurement.
        execute(self._settings, "VACUUM ANALYZE users")
        stack.settle()

    def figures(self) -> Iterator[Figure]:
        """Measure each kind of request separately."""
        with serving(self._settings) as server:
            yield self._everyone(server)
            yield self._by_age(server)
            yield self._memory(server)
            yield self._while_loading(server)

    def _put(self, renamed: str = "") -> None:
        content = objects.big_csv(self._scale.big_rows, renamed=renamed)
        objects.upload(self._store, [(KEY, content)])

    def _everyone(self, server: Server) -> Figure:
        baselines, answers = [], []
        for _ in range(self._scale.repeats):
            baselines.append(bare.json_copied_out(self._settings) / 1e6)
            answers.append(bytes_per_second(server, "/data") / 1e6)
        return figure(
            "serving",
            f"GET /data of {self._scale.big_rows:,} users",
            "MB/s",
            answers,
            baseline="COPY TO STDOUT of the same JSON",
            baseline_samples=baselines,
            target=Target(ALL_SHARE, at_least=True, of="COPY"),
        )

    def _by_age(self, server: Server) -> Figure:
        path = f"/data?min_age={AGE}&max_age={AGE}&limit={PAGE}"
        statement, rows = _of_an_age(), 0
        baselines, answers = [], []
        with database(self._settings) as connection, server.connected() as client:
            for _ in range(PAGES):
                with connection.cursor() as cursor, bare.stopwatch() as watch:
                    cursor.execute(statement)
                    rows = len(cursor.fetchall())
                baselines.append(watch.seconds * 1000)
                with bare.stopwatch() as watch:
                    read_whole(client, path)
                answers.append(watch.seconds * 1000)
        return figure(
            "serving",
            f"GET /data of {rows:,} users by age, p50",
            "ms",
            answers,
            baseline="the bare SQL",
            baseline_samples=baselines,
            target=Target(AGE_FACTOR, of="SQL"),
        )

    def _memory(self, server: Server) -> Figure:
        read_by_many(server, "/data")
        peak = server.peak_mb()
        return figure(
            "serving",
            f"API process with {READERS} clients reading all users",
            "MB",
            [peak] if peak else [],
            target=Target(extra=API_MB),
            says=f"≤ {API_MB:.0f} MB",
            note="" if peak else "not measured: this system has no /proc",
        )

    def _while_loading(self, server: Server) -> Figure:
        users, idle, busy, loads = self._scale.big_rows, [], [], []
        for number in range(self._scale.slow_repeats):
            idle.append(ask_until(server, users, _after(self._scale.idle_seconds)))
            self._put(renamed=f"-{number}")
            with ThreadPoolExecutor(1) as pool:
                loading = pool.submit(run, self._settings)
                busy.append(ask_until(server, users, loading.done))
                loads.append(loading.result().seconds)
        asked = [sum(len(some) for some in every) for every in (idle, busy)]
        return figure(
            "serving",
            f"GET /data/<id>, {READERS} clients, p99 while {users:,} users load",
            "ms",
            [p99(some) * 1000 for some in busy],
            baseline="the same, idle",
            baseline_samples=[p99(some) * 1000 for some in idle],
            target=Target(P99_FACTOR),
            says=f"≤ {P99_FACTOR:.0f} × idle",
            note=f"{asked[0]:,} requests idle, {asked[1]:,} while runs took"
            f" {median(loads):.1f} s each",
        )


def _after(seconds: float) -> Callable[[], bool]:
    """Whether this number of seconds has passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _of_an_age() -> str:
    """The bare SQL for the users of that age."""
    today = datetime.now(UTC).date()
    return (
        "SELECT user_id, first_name, last_name, birthts, img_path FROM users"
        f" WHERE birthdate > DATE '{today}' - INTERVAL '{AGE + 1} years'"
        f" AND birthdate <= DATE '{today}' - INTERVAL '{AGE} years'"
        f" ORDER BY user_id LIMIT {PAGE}"
    )


def reading(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure the read scenarios."""
    return Serving(stack, scale).figures()

"""Objects over HTTP: a large upload and download and a long listing, compared with the store."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import urllib3

from bench import bare, objects
from bench.figures import Figure, Target, figure
from bench.memory import NO_PROC
from bench.readers import serving
from bench.stack import api_key, bulk_store
from etl.storage.client import ObjectStore
from etl.storage.objects import Objects, PresignOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.readers import Server
    from bench.scale import Scale
    from bench.stack import Stack
    from etl.settings import Settings

DOWN_SHARE = 0.7
UP_SHARE = 0.5
LIST_FACTOR = 1.5
ADDED_MB = 100.0
BLOCK = bytes(1 << 20)
KEY = "large"
PATIENCE_SECONDS = 300
LIFETIME = timedelta(hours=1)


class Transfers:
    """One bucket, the API, and one client for both."""

    def __init__(self, settings: Settings, scale: Scale, server: Server) -> None:
        self._settings = settings
        self._scale = scale
        self._server = server
        self._http = urllib3.PoolManager(timeout=PATIENCE_SECONDS, retries=False)
        self._objects = Objects(ObjectStore(settings), settings)
        self._url = f"http://{server.address}/objects/{settings.source_bucket}"

    def figures(self) -> Iterator[Figure]:
        """Download, upload, memory added by both, and the listing."""
        megabytes = self._scale.transfer_megabytes
        self._put(f"{self._url}/{KEY}", 1)
        before = self._server.peak_mb()
        up, down, up_direct, down_direct = [], [], [], []
        for _ in range(self._scale.slow_repeats):
            up_direct.append(self._put(self._direct("PUT"), megabytes))
            up.append(self._put(f"{self._url}/{KEY}", megabytes))
            down_direct.append(self._get(self._direct("GET")))
            down.append(self._get(f"{self._url}/{KEY}"))
        yield self._pace("download", down, down_direct, DOWN_SHARE)
        yield self._pace("upload", up, up_direct, UP_SHARE)
        yield self._memory(before)
        yield self._listing()

    def _pace(self, what: str, ours: list[float], direct: list[float], share: float) -> Figure:
        return figure(
            "transfers",
            f"{what} of {self._scale.transfer_megabytes:,} MB through /objects",
            "MB/s",
            ours,
            baseline="the store itself, same client",
            baseline_samples=direct,
            target=Target(share, at_least=True, of="the store"),
        )

    def _memory(self, before: float | None) -> Figure:
        after = self._server.peak_mb()
        return figure(
            "transfers",
            "memory added to the API by both",
            "MB",
            [after - before] if after and before else [],
            target=Target(extra=ADDED_MB),
            says=f"≤ {ADDED_MB:.0f} MB",
            note="" if after else NO_PROC,
        )

    def _listing(self) -> Figure:
        store = bulk_store(self._settings, self._settings.source_bucket)
        objects.upload(store, objects.tiny_csvs(self._scale.listed_objects))
        path = f"{self._url}?recursive=true&limit=1000000"
        ours, direct = [], []
        for _ in range(self._scale.slow_repeats):
            direct.append(bare.list_seconds(store))
            with bare.stopwatch() as watch:
                self._get(path)
            ours.append(watch.seconds)
        return figure(
            "transfers",
            f"listing {self._scale.listed_objects:,} keys through /objects",
            "s",
            ours,
            baseline="LIST",
            baseline_samples=direct,
            target=Target(LIST_FACTOR, of="LIST"),
        )

    def _direct(self, method: str) -> str:
        return self._objects.presign(
            self._settings.source_bucket, KEY, PresignOptions(method, LIFETIME)
        )

    def _put(self, url: str, megabytes: int) -> float:
        headers = {"Content-Length": str(megabytes * len(BLOCK))} | self._key(url)
        with bare.stopwatch() as watch:
            body = (BLOCK for _ in range(megabytes))
            answer = self._http.request("PUT", url, body=body, headers=headers)
        _check(answer)
        return megabytes * len(BLOCK) / 1e6 / watch.seconds

    def _get(self, url: str) -> float:
        with bare.stopwatch() as watch:
            answer = self._http.request("GET", url, headers=self._key(url), preload_content=False)
            size = sum(len(piece) for piece in answer.stream(len(BLOCK)))
            answer.release_conn()
        _check(answer)
        return size / 1e6 / watch.seconds

    def _key(self, url: str) -> dict[str, str]:
        return {"X-API-Key": api_key()} if url.startswith(self._url) else {}


def _check(answer: urllib3.BaseHTTPResponse) -> None:
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"The answer was {answer.status}: {answer.data[:200]!r}")


def transfers(stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure transfers through the API."""
    settings = stack.fresh(stack.bucket("transfers"))
    with serving(settings) as server:
        yield from Transfers(settings, scale, server).figures()

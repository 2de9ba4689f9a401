"""Thumbnails: metadata and two sizes of each image, compared with a plain Pillow loop."""

from __future__ import annotations

import io
import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from bench.bare import stopwatch
from bench.figures import Figure, Target, figure
from bench.objects import SEED
from etl.images.decode import FORMATS, examine
from etl.runtime.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.scale import Scale
    from bench.stack import Stack

SHARE = 0.8
SIZES = (256, 64)
MAX_PIXELS = 50_000_000
JPEGS = ((320, 240), (640, 480), (1024, 768), (1600, 1200), (600, 1200), (2048, 1536))
PNGS = ((64, 64), (200, 300), (640, 480))
GRAIN = 16  # pixels of a blot: neither noise nor a plain color, as in photographs


def pictures(count: int) -> Iterator[bytes]:
    """Two JPEGs for each PNG, the same ones from the same seed."""
    choose = random.Random(SEED)  # noqa: S311  (nothing is secret here)
    for number in range(count):
        is_png = number % 3 == 0
        width, height = choose.choice(PNGS if is_png else JPEGS)
        blots = (width // GRAIN + 1, height // GRAIN + 1)
        drawn = Image.frombytes("RGB", blots, choose.randbytes(blots[0] * blots[1] * 3))
        buffer = io.BytesIO()
        drawn = drawn.resize((width, height), Image.Resampling.BICUBIC)
        drawn.save(buffer, "PNG" if is_png else "JPEG", quality=85, compress_level=1)
        yield buffer.getvalue()


def plain(content: bytes) -> None:
    """The same job without a sandbox."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        opened.draft("RGB", (SIZES[0], SIZES[0]))
        image = ImageOps.exif_transpose(opened)
    for size in SIZES:
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2)
        image.save(io.BytesIO(), "WEBP", quality=80, method=2)


def thumbnails(_stack: Stack, scale: Scale) -> Iterator[Figure]:
    """Measure images per second: plain Pillow on one core, Bucketline on one and on all."""
    content = list(pictures(scale.pictures))
    for one in content[:20]:  # warm-up: imports are not measured
        plain(one)
    bare, alone, together = list[float](), list[float](), list[float]()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    for _ in range(scale.repeats):
        with stopwatch() as watch:
            for one in content:
                plain(one)
        bare.append(len(content) / watch.seconds)
        alone.append(_ours(content, 1))
        together.append(_ours(content, cores))
    yield _compared(f"{len(content):,} images, one process", alone, 1, bare)
    yield _compared(f"{len(content):,} images, {cores} processes", together, cores, bare)


def _ours(content: Sequence[bytes], processes: int) -> float:
    """Images per second through processes that are already running."""
    look = partial(examine, sizes=SIZES, max_pixels=MAX_PIXELS)
    sandbox = Sandbox(look, processes=processes, seconds=60, memory_bytes=1 << 30)
    with closing(sandbox), ThreadPoolExecutor(2 * processes) as pool:
        list(pool.map(sandbox.call, content[: 4 * processes]))
        with stopwatch() as watch:
            list(pool.map(sandbox.call, content))
    return len(content) / watch.seconds


def _compared(what: str, ours: list[float], processes: int, bare: list[float]) -> Figure:
    factor = SHARE * processes
    return figure(
        "thumbnails",
        what,
        "images/s",
        ours,
        baseline="a single Pillow loop, one core",
        baseline_samples=bare,
        target=Target(factor, at_least=True),
        says=f"≥ {factor:.1f} × the loop",
    )

"""The data: users, their CSVs and images from a seed, and their upload."""

from __future__ import annotations

import asyncio
import random
import struct
import zlib
from itertools import islice
from typing import TYPE_CHECKING

import obstore

from bench.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from obstore.store import S3Store

SEED = 2022
FIRST = ("Ann", "Bo", "Chloé", "Dmitri", "Esra", "Farid", "Greta", "Haruto", "Inês", "Jürgen")
LAST = ("Smith", "Li", "Nuñez", "Okafor", "Weiß", "Larsen", "Rossi", "Novák", "Haddad", "Brown")
BORN_FROM_MS = -1_262_304_000_000  # 1930-01-01
BORN_TO_MS = 1_262_304_000_000  # 2010-01-01
PUTS_AT_ONCE = 64
HEADER = "user_id,first_name,last_name,birthts\n"
BLOCK_ROWS = 50_000
REPORT_EVERY = 20_000
CHANGED_EVERY = 100  # one percent

User = tuple[str, str, str, int]


def users(count: int, version: int = 0) -> Iterator[User]:
    """`count` users in the order of their ids; in another version one percent have a new name."""
    choose = random.Random(SEED)  # noqa: S311  (nothing is secret here)
    for number in range(count):
        last = choose.choice(LAST)
        if version and number % CHANGED_EVERY == 0:
            last = f"{last}-{version}"
        born = choose.randrange(BORN_FROM_MS, BORN_TO_MS, 1000)
        yield f"{number:07}", choose.choice(FIRST), last, born


def tiny_csvs(count: int, version: int = 0) -> Iterator[tuple[str, bytes]]:
    """Key and content of one CSV per user."""
    for user_id, first, last, born in users(count, version):
        text = f"first_name, last_name, birthts\n{first}, {last}, {born}\n"
        yield f"{user_id}.csv", text.encode()


def changed_csvs(count: int, version: int) -> Iterator[tuple[str, bytes]]:
    """The one percent of `tiny_csvs` that another version changes."""
    for number, item in enumerate(tiny_csvs(count, version)):
        if number % CHANGED_EVERY == 0:
            yield item


def big_csv(count: int, version: int = 0, *, renamed: str = "") -> bytes:
    """One CSV of `count` users, 34 bytes a row; `renamed` is appended to every first name."""
    return b"".join(big_csv_in_blocks(count, version, renamed=renamed))


def big_csv_in_blocks(count: int, version: int = 0, *, renamed: str = "") -> Iterator[bytes]:
    """`big_csv` in blocks, for constant memory."""
    rows = (
        f"{user_id},{first}{renamed},{last},{born}\n"
        for user_id, first, last, born in users(count, version)
    )
    yield HEADER.encode()
    while block := "".join(islice(rows, BLOCK_ROWS)):
        yield block.encode()


def images(count: int) -> Iterator[tuple[str, bytes]]:
    """Key and content of a PNG for each of the first `count` users."""
    pictures = [png(shade) for shade in range(0, 256, 8)]
    for number in range(count):
        yield f"{number:07}.png", pictures[number % len(pictures)]


def png(shade: int, side: int = 64) -> bytes:
    """A square of one shade of gray."""
    rows = b"".join(b"\0" + bytes([shade]) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def upload(store: S3Store, items: Iterable[tuple[str, bytes]]) -> None:
    """Upload all items concurrently."""
    asyncio.run(_upload(store, iter(items)))


async def _upload(store: S3Store, items: Iterator[tuple[str, bytes]]) -> None:
    count = 0

    async def put_some() -> None:
        nonlocal count
        for key, content in items:
            await obstore.put_async(store, key, content, use_multipart=False)
            count += 1
            if count % REPORT_EVERY == 0:
                say(f"  {count:,} objects uploaded")

    await asyncio.gather(*(put_some() for _ in range(PUTS_AT_ONCE)))

"""Damage bytes: flips, cuts, splices, tokens, and repetitions that make slow code visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

INTERESTING = (0, 1, 2, 9, 10, 13, 32, 34, 44, 92, 127, 128, 191, 192, 237, 239, 254, 255)
NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
MOST_BYTES = 1 << 15  # of what is repeated
_LARGE_BYTES = 1 << 16
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252", "utf-32")


class Mutator:
    """Damages contents; `tokens` are pieces of their format, `others` contents to splice with."""

    def __init__(self, rnd: Random, tokens: Sequence[bytes], others: Sequence[bytes] = ()) -> None:
        self._rnd = rnd
        self._tokens = tokens
        self._others = others

    def mutated(self, content: bytes, areas: Sequence[tuple[int, int]] = ()) -> bytes:
        """The content with some changes, most of them in the areas if there are any."""
        data = bytearray(content)
        rnd = self._rnd
        for _ in range(rnd.choice((1, 1, 1, 2, 3, 6))):
            place = self._place(len(data), areas)
            rnd.choices(_OPERATIONS, _WEIGHTS)[0](self, data, place)
        return bytes(data)

    def encoded(self, content: bytes) -> bytes:
        """The text in another encoding, if it has one."""
        try:
            return content.decode().encode(self._rnd.choice(_ENCODINGS), "surrogatepass")
        except UnicodeError:
            return content

    def _place(self, size: int, areas: Sequence[tuple[int, int]]) -> int:
        if areas and self._rnd.random() < 0.8:
            start, end = self._rnd.choice(areas)
            return min(self._rnd.randrange(start, max(end, start + 1)), size)
        return self._rnd.randrange(size + 1)

    def _flip(self, data: bytearray, place: int) -> None:
        if place < len(data):
            data[place] ^= 1 << self._rnd.randrange(8)

    def _set(self, data: bytearray, place: int) -> None:
        if place < len(data):
            data[place] = self._rnd.choice(INTERESTING)

    def _drop(self, data: bytearray, place: int) -> None:
        del data[place : place + self._rnd.choice((1, 1, 2, 4, 16, 64))]

    def _truncate(self, data: bytearray, place: int) -> None:
        del data[place:]

    def _insert(self, data: bytearray, place: int) -> None:
        data[place:place] = self._rnd.choice(self._tokens)

    def _overwrite(self, data: bytearray, place: int) -> None:
        token = self._rnd.choice(self._tokens)
        data[place : place + len(token)] = token

    def _double(self, data: bytearray, place: int) -> None:
        piece = data[place : place + self._rnd.choice((1, 4, 16, 64, 256))]
        target = self._rnd.randrange(len(data) + 1)
        data[target:target] = piece

    def _swap(self, data: bytearray, place: int) -> None:
        data[:] = data[place:] + data[:place]

    def _splice(self, data: bytearray, place: int) -> None:
        if self._others:
            other = self._rnd.choice(self._others)
            data[place:] = other[self._rnd.randrange(len(other) + 1) :]

    def _line(self, data: bytearray, place: int) -> None:
        """Put another line, or a token as a line, before the one at the place."""
        start = data.rfind(b"\n", 0, place) + 1
        lines = data.split(b"\n", 100)
        line = self._rnd.choice(lines if self._rnd.random() < 0.7 else self._tokens)
        data[start:start] = line + b"\n"

    def _noise(self, data: bytearray, place: int) -> None:
        data[place:place] = self._rnd.randbytes(self._rnd.choice((1, 2, 8)))

    def _repeat(self, data: bytearray, place: int) -> None:
        """Repeat a token or a piece so often that time that grows faster than size is seen."""
        rnd = self._rnd
        piece = bytes(data[place : place + rnd.choice((1, 2, 8, 40))])
        piece = rnd.choice(self._tokens) if rnd.random() < 0.5 or not piece else piece
        most = _LARGE_BYTES if rnd.random() < 0.02 else MOST_BYTES >> rnd.randrange(8)
        data[place:place] = piece * max(most // max(len(piece), 1), 1)


_OPERATIONS: tuple[Callable[[Mutator, bytearray, int], None], ...] = (
    Mutator._flip,  # noqa: SLF001 - its own methods
    Mutator._set,  # noqa: SLF001
    Mutator._drop,  # noqa: SLF001
    Mutator._truncate,  # noqa: SLF001
    Mutator._insert,  # noqa: SLF001
    Mutator._overwrite,  # noqa: SLF001
    Mutator._double,  # noqa: SLF001
    Mutator._swap,  # noqa: SLF001
    Mutator._splice,  # noqa: SLF001
    Mutator._line,  # noqa: SLF001
    Mutator._noise,  # noqa: SLF001
    Mutator._repeat,  # noqa: SLF001
)
_WEIGHTS = (16, 14, 12, 4, 20, 14, 8, 2, 4, 8, 4, 1)

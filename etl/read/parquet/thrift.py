"""Read the members of interest of structs in Thrift's compact protocol, and skip the others.

Arrow reads these structs too. But the parts of its metadata that tell where columns are end the
process when a damaged file has wrong statistics, and it keeps the headers of pages to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

# The members to read by number; those of a struct, or of each struct of a list, or None: a number.
Wanted: TypeAlias = "Mapping[int, Wanted | None]"
Struct: TypeAlias = "dict[int, int | Struct | list[Struct]]"

_DEEPEST = 20  # of nested structs
_MOST_ELEMENTS = 1_000_000  # of a list
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = frozenset({4, 5, 6})
_SIZES = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
_LONG = 15  # the size of a list that has its own number
_LAST_BYTE = 128  # of a number is less
_MOST_BITS = 63


class WrongStruct(ValueError):
    """Bytes that are no struct, or one that lacks a number."""


def number(struct: Struct, key: int) -> int:
    """A number of a struct.

    Raises:  WrongStruct when it has none.
    """
    value = struct.get(key)
    if not isinstance(value, int):
        raise WrongStruct("its metadata lack a number")
    return value


def structs(struct: Struct, key: int) -> list[Struct]:
    """The structs of a list; none if there is no list."""
    value = struct.get(key, [])
    return value if isinstance(value, list) else []


class Reader:
    """Reads a struct at the beginning of some content; `place` is its end.

    Raises (`struct`):  WrongStruct; IndexError when the content is cut short.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def struct(self, wanted: Wanted | None, depth: int = 0) -> Struct:
        """The wanted members of the struct at the current place."""
        if depth > _DEEPEST:
            raise WrongStruct("its metadata are nested too deeply")
        found: Struct = {}
        key = 0
        while byte := self._byte():
            key = key + (byte >> 4) if byte >> 4 else self._integer()
            self._member(found, key, byte & 15, wanted, depth)
        return found

    def _member(
        self, found: Struct, key: int, kind: int, wanted: Wanted | None, depth: int
    ) -> None:
        if wanted is None or key not in wanted:
            self._skip(kind, depth)
        elif kind in _INTEGERS:
            found[key] = self._integer()
        elif kind == _STRUCT:
            found[key] = self.struct(wanted[key], depth + 1)
        elif kind in {_LIST, _SET}:
            size, of = self._list()
            if of != _STRUCT:
                raise WrongStruct("its metadata have another form")
            found[key] = [self.struct(wanted[key], depth + 1) for _ in range(size)]
        else:
            self._skip(kind, depth)

    def _skip(self, kind: int, depth: int) -> None:
        if kind in _INTEGERS:
            self._varint()
        elif kind == _BINARY:
            self._forward(self._varint())
        elif kind == _STRUCT:
            self.struct(None, depth + 1)
        elif kind in {_LIST, _SET}:
            size, of = self._list()
            for _ in range(size):
                if of in {_TRUE, _FALSE}:
                    self._forward(1)
                else:
                    self._skip(of, depth + 1)
        elif kind in _SIZES:
            self._forward(_SIZES[kind])
        else:
            raise WrongStruct("its metadata have a member of an unknown type")

    def _list(self) -> tuple[int, int]:
        """The size of a list, and the type of its elements."""
        byte = self._byte()
        size = self._varint() if byte >> 4 == _LONG else byte >> 4
        if size > _MOST_ELEMENTS:
            raise WrongStruct("its metadata have too long a list")
        return size, byte & 15

    def _byte(self) -> int:
        byte = self._content[self.place]
        self.place += 1
        return byte

    def _varint(self) -> int:
        found = bits = 0
        while True:
            byte = self._byte()
            found |= (byte & (_LAST_BYTE - 1)) << bits
            bits += 7
            if byte < _LAST_BYTE:
                return found
            if bits > _MOST_BITS:
                raise WrongStruct("its metadata have too long a number")

    def _integer(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def _forward(self, size: int) -> None:
        self.place += size
        if self.place > len(self._content):
            raise IndexError

"""Cut a JSON array that arrives in parts into its elements, in constant memory.

Only strings and brackets are looked at, so that a faulty element does not hide the others.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode
from etl.read.json.objects import MOST_OBJECT_BYTES, SHOWN_BYTES, SPACE, Text, shown
from etl.read.json.typed import element_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etl.read.json.typed import ObjectBlock

_QUOTE, COMMA, _BACKSLASH = b'",\\'
_DEPTHS = np.zeros(256, np.int64)
_DEPTHS[list(b"[{")] = 1
_DEPTHS[list(b"]}")] = -1
_IS_STRUCTURE = _DEPTHS != 0
_IS_STRUCTURE[COMMA] = True


class Elements(NamedTuple):
    """Consecutive elements of an array."""

    found: list[Text]

    def block(self) -> ObjectBlock | None:
        """All elements as a block, if they can be one."""
        return element_block(self.found)

    def texts(self) -> list[Text]:
        """The elements."""
        return self.found


class State(Enum):
    """Where in the content the next text is."""

    START = auto()
    ARRAY = auto()
    OBJECT = auto()
    END = auto()


class ElementCutter:
    """Cuts an array into its elements, whose numbers count from 1; an object is one element."""

    def __init__(self) -> None:
        self._state = State.START
        self._scanner = Scanner()
        self._parts: list[bytes] = []  # of the next element
        self._size = 0
        self._count = 0
        self._refused: RefusedObject | None = None  # for what follows the last elements
        self.is_object = False

    def take(self, text: bytes) -> Elements:
        """The elements that the next text completes.

        The problem of an object is the first one in it, so the refusal of what follows elements
        is raised when these were read: by the next call.

        Raises:  RefusedObject
        """
        if self._refused is not None:
            raise self._refused
        if self._state is State.START:
            text = self._started(text)
        if self._state is State.START or not text:
            return Elements([])
        if self._state is State.END:
            self._check_rest(text)
            return Elements([])
        return Elements(self._cut(text))

    def finish(self) -> bool:
        """Check the end of the content; return whether there was any.

        Raises:  RefusedObject
        """
        if self._refused is not None:
            raise self._refused
        if self._state in {State.ARRAY, State.OBJECT}:
            is_within = self.is_object or any(not part.isspace() for part in self._parts if part)
            where = f"within row {self._count + 1:,}" if is_within else f"after row {self._count:,}"
            raise RefusedObject(
                ProblemCode.NOT_JSON,
                f"The file ends {where}, before the end of the JSON. It was probably cut off; "
                "upload it again.",
                shown(Text(0, b"".join(self._parts))),
            )
        return self._state is State.END

    def _started(self, text: bytes) -> bytes:
        """The text from the first element on."""
        text = text.lstrip(SPACE)
        if text.startswith(b"["):
            self._state = State.ARRAY
            self._scanner.depth = 1
            return text[1:]
        if text.startswith(b"{"):
            self._state = State.OBJECT
            self.is_object = True
        elif text:
            raise RefusedObject(
                ProblemCode.NOT_JSON,
                "The file is neither a JSON array of objects nor a JSON object. Export it as one.",
                shown(Text(0, text)),
            )
        return text

    def _cut(self, text: bytes) -> list[Text]:
        marks = self._scanner.scan(text)
        is_end = marks.depth == 0
        if not self.is_object:
            is_end |= (marks.kind == COMMA) & (marks.depth == 1)
        found: list[Text] = []
        start = 0
        for end, depth in zip(
            marks.place[is_end].tolist(), marks.depth[is_end].tolist(), strict=True
        ):
            if depth == 0:
                self._close(text, start, end, found)
                return found
            found.append(self._element(text[start:end]))
            start = end + 1
        self._keep(text[start:])
        return found

    def _close(self, text: bytes, start: int, end: int, found: list[Text]) -> None:
        """Take the last element, if there is one, and check the text after it."""
        self._state = State.END
        if self.is_object:
            found.append(self._element(text[start : end + 1]))
        elif text[end : end + 1] != b"]":
            self._refused = RefusedObject(
                ProblemCode.NOT_JSON,
                f"The array is closed by a brace after row {self._count:,}. Correct the export.",
                shown(Text(0, text[start : end + 1])),
            )
            return
        else:
            last = self._element(text[start:end])
            if last.content.strip(SPACE) or self._count > 1:
                found.append(last)
        self._check_rest(text[end + 1 :])

    def _check_rest(self, text: bytes) -> None:
        text = text.lstrip(SPACE)
        if not text:
            return
        if self.is_object:
            remedy = 'name it .ndjson, or set format = "ndjson", if it has one object on each line'
        else:
            remedy = f"the array ends after row {self._count:,}, and must be the whole file"
        self._refused = RefusedObject(
            ProblemCode.NOT_JSON,
            f"The file has more than one JSON value: {remedy}.",
            shown(Text(0, text)),
        )

    def _element(self, end: bytes) -> Text:
        self._keep(end)
        self._count += 1
        is_whole = self._size <= MOST_OBJECT_BYTES
        if self.is_object and not is_whole:
            raise RefusedObject(
                ProblemCode.CELL_TOO_LONG,
                f"The file is one JSON object of more than {MOST_OBJECT_BYTES:,} bytes, which is "
                "one row. If the rows are in an array within it, name its member: "
                'dialect = { property = "data" }.',
                shown(Text(0, self._parts[0])),
            )
        text = Text(self._count, b"".join(self._parts), is_whole=is_whole)
        self._parts, self._size = [], 0
        return text

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MOST_OBJECT_BYTES:
            self._parts = [b"".join(self._parts)[:SHOWN_BYTES]]


class _Marks(NamedTuple):
    """The brackets and commas outside strings.

    Shapes:  each (n,). place in the text; kind: the byte; depth: after it.
    """

    place: NDArray[np.int64]
    kind: NDArray[np.uint8]
    depth: NDArray[np.int64]


class Scanner:
    """Finds brackets and commas outside strings, in texts that are cut anywhere."""

    def __init__(self) -> None:
        self.depth = 0
        self._is_in_string = False
        self._is_escaped = False

    def scan(self, text: bytes) -> _Marks:
        """The marks of the next text, at least one byte."""
        data = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(data == _QUOTE)
        is_escaped = self._escaped(data)
        quotes = quotes[~is_escaped[quotes]]
        place = np.flatnonzero(_IS_STRUCTURE[data])
        is_inside = (np.searchsorted(quotes, place) + self._is_in_string) % 2 == 1
        place = place[~is_inside]
        kind = data[place]
        depth = self.depth + np.cumsum(_DEPTHS[kind])
        self._is_in_string = (len(quotes) + self._is_in_string) % 2 == 1
        if len(depth):
            self.depth = int(depth[-1])
        return _Marks(place, kind, depth)

    def _escaped(self, data: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which bytes follow a backslash that is not itself escaped."""
        escaped = np.zeros(len(data) + 1, np.bool_)
        escaped[0] = self._is_escaped
        backslashes = np.flatnonzero(data == _BACKSLASH)
        if len(backslashes):
            begins = np.diff(backslashes, prepend=-2) > 1
            first = np.maximum.accumulate(np.where(begins, backslashes, 0))
            is_escaping = (backslashes - first) % 2 == 0
            if self._is_escaped and backslashes[0] == 0:
                is_escaping ^= first == 0
            escaped[backslashes[is_escaping] + 1] = True
        self._is_escaped = bool(escaped[-1])
        return escaped

"""Cut the array in one member of a JSON object into its elements, in constant memory.

Of the other members, only names, strings and brackets are looked at.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from etl.model.errors import RefusedObject
from etl.model.safe_text import safe_value
from etl.model.values import ProblemCode
from etl.read.json.elements import COMMA, ElementCutter, Scanner, State
from etl.read.json.objects import SPACE, Text, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_HEAD_BYTES = 1 << 16  # of a name, with the colon and space after it
_HEAD = re.compile(rb'("(?:[^"\\]|\\.)*+")[ \t\r\n]*+:[ \t\r\n]*+(?=[^ \t\r\n])', re.DOTALL)
_OBJECTS = re.compile(rb"\[[ \t\r\n]*+\{")
_MOST_SEEN = 100
_MOST_SHOWN = 5
_KINDS = {b"{": "an object", b'"': "a string", b"n": "null", b"t": "true", b"f": "false"}


def cutter_of(member: str | None) -> ElementCutter:
    """The cutter of files whose rows are in this member or, without one, the whole file."""
    return ElementCutter() if member is None else MemberCutter(member)


class Member(NamedTuple):
    """The name of a member, and whether its value begins like an array of objects."""

    name: str
    is_array: bool


def members_of(text: bytes) -> list[Member]:
    """The first members of the object with which a text begins; empty if it is something else."""
    walker = _Walker(None)
    try:
        walker.take(text)
    except RefusedObject:
        return []
    return walker.seen


class MemberCutter(ElementCutter):
    """Cuts the array in the member of this name into its elements, whose numbers count from 1."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._walker = _Walker(name)

    def finish(self) -> bool:
        """As for arrays; the object around the array must have ended, too.

        Raises:  RefusedObject
        """
        if self._refused is None and self._state is not State.ARRAY:
            return self._walker.finish(self._count)
        return super().finish()

    def _started(self, text: bytes) -> bytes:
        place = self._walker.take(text)
        if place is None:
            return b""
        self._state = State.ARRAY
        self._scanner.depth = 1
        return text[place:]

    def _check_rest(self, text: bytes) -> None:
        try:
            self._walker.take(text)
        except RefusedObject as refused:
            self._refused = refused


class _Segment(NamedTuple):
    """A part of a member, and where it begins in the text; `depth` is that after its end."""

    content: bytes
    place: int
    depth: int | None = None  # None: more of it follows

    @property
    def is_last(self) -> bool:
        """Whether the object ends after it."""
        return self.depth == 0


class _Walker:
    """Walks through the members of an object that arrives in parts, except through one array."""

    def __init__(self, name: str | None) -> None:
        self.seen: list[Member] = []  # the first members
        self._name = name
        self._scanner = Scanner()
        self._head: bytes | None = b""  # of the member; None within its value
        self._has_begun = self._has_ended = False
        self._has_array = self._is_after_array = False

    def take(self, text: bytes) -> int | None:
        """Walk through the next text; stop at the array and return the place of its content.

        The next text is then that after the array.

        Raises:  RefusedObject
        """
        place = 0 if self._has_begun else self._begin(text)
        if self._has_ended:
            self._check_end(text)
        elif place < len(text):
            for segment in self._segments(text, place):
                found = self._member(segment)
                if found is not None:
                    return found
                if segment.is_last:
                    self._end(text[segment.place + len(segment.content) :])
                    break
        return None

    def finish(self, rows: int) -> bool:
        """Check the end of the content; return whether there was any.

        Raises:  RefusedObject
        """
        if self._has_begun and not self._has_ended:
            where = f"after row {rows:,}" if self._has_array else "before the rows"
            raise RefusedObject(
                ProblemCode.NOT_JSON,
                f"The file ends {where}, before the end of the JSON. It was probably cut off; "
                "upload it again.",
            )
        return self._has_begun

    def _begin(self, text: bytes) -> int:
        """The place after the opening brace, or that after the text if it is only space."""
        content = text.lstrip(SPACE)
        if content.startswith(b"{"):
            self._has_begun = True
            self._scanner.depth = 1
            return len(text) - len(content) + 1
        if content.startswith(b"["):
            _refuse(
                "The file is a JSON array, not an object with the rows in one member. Remove "
                "property from the dialect, or declare such files as another dataset.",
                content,
            )
        if content:
            _refuse("The file is not a JSON object. Export it as one.", content)
        return len(text)

    def _segments(self, text: bytes, place: int) -> Iterator[_Segment]:
        marks = self._scanner.scan(text[place:])
        is_end = (marks.depth == 0) | ((marks.kind == COMMA) & (marks.depth == 1))
        ends = (marks.place[is_end] + place).tolist()
        for end, depth in zip(ends, marks.depth[is_end].tolist(), strict=True):
            yield _Segment(text[place:end], place, depth)
            place = end + 1
        yield _Segment(text[place:], place)

    def _member(self, segment: _Segment) -> int | None:
        """Take a part of a member; return the place of the array's content, if it is there."""
        if self._head is None:
            if self._is_after_array and segment.content.strip(SPACE):
                _refuse(
                    f"There is more after the array in {quoted(self._name)}. Correct the export.",
                    segment.content,
                )
        else:
            found = self._named(segment, (self._head + segment.content).lstrip(SPACE))
            if found is not None:
                return found
        if segment.depth is not None:
            self._head, self._is_after_array = b"", False
        return None

    def _named(self, segment: _Segment, content: bytes) -> int | None:
        """Take the beginning of a member."""
        head = _HEAD.match(content)
        if head is None or head.end() > MOST_HEAD_BYTES:
            is_empty = segment.is_last and not content and not self.seen
            is_long = len(content) > MOST_HEAD_BYTES
            if not is_empty and (is_long or segment.depth is not None):
                _refuse(
                    "A member of the file has no name or no value. Correct the export.", content
                )
            self._head = content
            return None
        self._head = None
        name = _decoded(head[1], content)
        value = content[head.end() :]
        if len(self.seen) < _MOST_SEEN:
            self.seen.append(Member(name, _OBJECTS.match(value) is not None))
        if name != self._name:
            return None
        self._check_value(value)
        self._has_array = self._is_after_array = True
        self._scanner = Scanner()
        self._scanner.depth = 1
        return segment.place + len(segment.content) - len(value) + 1

    def _check_value(self, value: bytes) -> None:
        if self._has_array:
            _refuse(
                f"The file has two members {quoted(self._name)}. Remove one of them.",
                value,
            )
        if not value.startswith(b"["):
            kind = _KINDS.get(value[:1], "a number")
            _refuse(
                f"The member {quoted(self._name)} is {kind}, but must be the array of rows. Name "
                "the member with the rows as property in the dialect, or correct the export.",
                value,
            )

    def _end(self, text: bytes) -> None:
        """Take the end of the object, from its closing bracket on."""
        self._has_ended = True
        if text[:1] != b"}":
            _refuse("The object is closed by a bracket instead of a brace. Correct the export.")
        if self._name is not None and not self._has_array:
            names = ", ".join(quoted(one.name) for one in self.seen[:_MOST_SHOWN])
            has = f"Its members are {names}" if names else "It has none"
            more = ", and others" if len(self.seen) > _MOST_SHOWN else ""
            _refuse(
                f"The file has no member {quoted(self._name)}. {has}{more}. Name the member with "
                "the rows as property in the dialect, or correct the export.",
            )
        self._check_end(text[1:])

    def _check_end(self, text: bytes) -> None:
        if text.strip(SPACE):
            _refuse(
                "The file has more than one JSON value: the object with the rows must be the "
                "whole file.",
                text.lstrip(SPACE),
            )


def _refuse(hint: str, content: bytes = b"") -> NoReturn:
    raise RefusedObject(ProblemCode.NOT_JSON, hint, shown(Text(0, content)) if content else None)


def _decoded(name: bytes, content: bytes) -> str:
    try:
        return str(json.loads(name.decode("utf-8", "surrogateescape")))
    except ValueError:
        _refuse("The name of a member is not a string of JSON. Correct the export.", content)


def quoted(name: str | None) -> str:
    """The beginning of a name in quotes, for a hint."""
    return json.dumps(safe_value(name or ""), ensure_ascii=False)

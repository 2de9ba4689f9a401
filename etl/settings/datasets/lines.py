"""The lines of keys and list elements in a TOML or JSON text, which the parsers do not report.

The text must be valid: it has been parsed before.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    KeyPath: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2}(?!"))'
    r"|'''.*?'''(?:'{0,2}(?!'))"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)


def toml_lines(text: str) -> dict[KeyPath, int]:
    """The line of each table, key and list element of a TOML document, counted from 1."""
    finder = _Finder(text)
    finder.scan_toml()
    return finder.lines


def json_lines(text: str) -> dict[KeyPath, int]:
    """The line of each key and list element of a JSON document, counted from 1."""
    finder = _Finder(text, is_json=True)
    finder.scan_value(())
    return finder.lines


def repeated_json_key(text: str) -> tuple[KeyPath, int] | None:
    """The path and line of the first key that its object has had before."""
    finder = _Finder(text, is_json=True)
    finder.scan_value(())
    return finder.repeated


class _Finder:
    """Walks through a text once and notes where each path begins."""

    def __init__(self, text: str, *, is_json: bool = False) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.repeated: tuple[KeyPath, int] | None = None
        self._text = text
        self._is_json = is_json
        self._place = 0
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._counts: dict[KeyPath, int] = {}  # elements of the lists of tables

    def scan_toml(self) -> None:
        table: KeyPath = ()
        while self._next():
            if self._next() == "[":
                table = self._scan_header()
            else:
                self._scan_pair(table)

    def scan_value(self, path: KeyPath) -> None:
        """Skip a value and note the paths in it."""
        first = self._next()
        if first == "{":
            self._scan_inside(path, "}")
        elif first == "[":
            self._scan_inside(path, "]")
        elif first in {'"', "'"}:
            self._take(_STRING)
        else:
            self._take(_SCALAR)

    def _scan_inside(self, path: KeyPath, end: str) -> None:
        self._place += 1
        count = 0
        while self._next() != end:
            if end == "}":
                self._scan_pair(path)
            else:
                self._note((*path, count))
                self.scan_value((*path, count))
            count += 1
            if self._next() == ",":
                self._place += 1
        self._place += 1

    def _scan_pair(self, table: KeyPath) -> None:
        path, start = table, self._place
        for name in self._keys():
            path = (*path, name)
            if path in self.lines and self.repeated is None:
                self.repeated = (path, self._line(start))
            self._note(path, start)
        self._next()
        self._place += 1  # = or :
        self.scan_value(path)

    def _scan_header(self) -> KeyPath:
        """Note the table of a header, and the tables that it implies; returns its path."""
        is_list = self._text.startswith("[[", self._place)
        self._place += 2 if is_list else 1
        line_start = self._place
        *names, last = self._keys()
        path: KeyPath = ()
        for name in names:
            path = self._current((*path, name))
            self._note(path, line_start)
        path = (*path, last)
        if is_list:
            self._note(path, line_start)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._current(path)
        self.lines[path] = self._line(line_start)  # rather than where it was implied
        self._next()
        self._place += 2 if is_list else 1
        return path

    def _current(self, path: KeyPath) -> KeyPath:
        """The path itself, or that of the last element if it is a list of tables."""
        count = self._counts.get(path)
        return path if count is None else (*path, count - 1)

    def _keys(self) -> list[str]:
        names = [self._key()]
        while self._next() == "." and not self._is_json:
            self._place += 1
            names.append(self._key())
        return names

    def _key(self) -> str:
        if self._next() not in {'"', "'"}:
            return self._take(_BARE_KEY)
        written = self._take(_STRING)
        found = json.loads(written) if self._is_json else tomllib.loads(f"key = {written}")["key"]
        return str(found)

    def _next(self) -> str:
        """The next character that is neither space nor part of a comment; empty at the end."""
        if found := _BLANK.match(self._text, self._place):
            self._place = found.end()
        return self._text[self._place : self._place + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._place)
        if found is None:
            raise ValueError(f"line {self._line(self._place)} is not valid")
        self._place = found.end()
        return found[0]

    def _note(self, path: KeyPath, place: int | None = None) -> None:
        self.lines.setdefault(path, self._line(self._place if place is None else place))

    def _line(self, place: int) -> int:
        return bisect(self._ends, place - 1) + 1

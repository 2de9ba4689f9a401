"""Patterns of object keys: globs, and globs with placeholders that capture text.

`*` is any text within one path segment, `?` one character of it, and `**`, as a whole segment, any
number of segments, including none. `{a,b}` are alternatives, which may be nested, and `{name}` is a
placeholder for text within one segment. All other characters stand for themselves. Letter case is
ignored, but captured text keeps its case.

Each pattern is compiled to tests of a literal prefix and suffix and, where these do not suffice,
to a regular expression without backtracking across wildcards: the leftmost match of the text
between two wildcards is final, because the wildcard after it accepts whatever follows.
"""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_CHARACTERS = 1_024  # of a pattern; an object key has at most as many bytes
MOST_BRACES = 50
MOST_ALTERNATIVES = 1_000
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
_ANY_SEGMENTS = "**"


class PatternFault(ValueError):
    """What is wrong with a pattern, and what to write instead."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault} {remedy}")
        self.fault = fault
        self.remedy = remedy


def folded(text: str) -> str:
    """The text without letter case, character for character, so that positions stay the same.

    `str.lower` turns one letter into two characters, and a sigma into one of two others depending
    on its neighbors.
    """
    if text.isascii():
        return text.lower()
    return "\u0130".join(map(str.lower, text.split("\u0130"))).replace("\u03c2", "\u03c3")


class Patterns:
    """Some globs; matches the keys that match any of them.

    `first_segments` are the folded first path segments of all keys that can match; None when
    they are not limited.

    Raises:  PatternFault when a pattern is invalid.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        globs = [_Glob(text) for pattern in patterns for text in alternatives(pattern)]
        for name in (name for one in globs for name in one.names):
            raise PatternFault(
                f"{{{name}}} is a placeholder, which has no meaning in this pattern.",
                f"Write {name} without braces, or * for any text.",
            )
        simple = sorted((one.prefix, one.suffix) for one in globs if one.is_simple)
        self._simple = [
            (prefix, tuple(suffix for _, suffix in group))
            for prefix, group in groupby(simple, key=lambda pair: pair[0])
        ]
        rest = [one for one in globs if not one.is_simple]
        self._prefixes = tuple({one.prefix for one in rest})
        self._suffixes = tuple({one.suffix for one in rest})
        self._needles = list(dict.fromkeys(one.needle for one in rest))
        self._rest = re.compile("|".join(one.regex for one in rest), re.DOTALL) if rest else None
        self.first_segments = _first_segments(globs)
        self._any_folder = tuple(one.suffix for one in globs if one.is_simple and not one.prefix)

    def matches(self, key: str) -> bool:
        """Whether a folded key matches."""
        for prefix, suffixes in self._simple:
            if key.endswith(suffixes) and key.startswith(prefix):
                return True
        if self._rest is None or not key.endswith(self._suffixes):
            return False
        if not key.startswith(self._prefixes):
            return False
        for needle in self._needles:
            if needle in key:
                return self._rest.match(key) is not None
        return False

    def matches_in_every_folder(self, ending: str) -> bool:
        """Whether every key with this folded ending matches, as with `**/*.csv` for `.csv`."""
        return bool(self._any_folder) and ending.endswith(self._any_folder)


class Template:
    """A glob with placeholders. `names` are theirs, in the order of the pattern.

    `suffixes` are the folded literal endings of its alternatives; `first_segments` as in Patterns.

    If a key can be read in several ways, each placeholder takes as little text as possible, from
    left to right.

    Raises:  PatternFault when the pattern is invalid, or two placeholders have the same name.
    """

    def __init__(self, pattern: str) -> None:
        globs = [_Glob(text) for text in alternatives(pattern)]
        self._globs = [(one, re.compile(one.regex, re.DOTALL)) for one in globs]
        self.suffixes = tuple(one.suffix for one in globs)
        self.names = globs[0].names
        self.first_segments = _first_segments(globs)
        if len(set(self.names)) < len(self.names):
            raise PatternFault(
                f"{pattern!r} has two placeholders of the same name.", "Rename one of them."
            )

    def capture(self, key: str, key_folded: str) -> tuple[str, ...] | None:
        """The text of each placeholder, possibly empty; None when the key does not match."""
        if not key_folded.endswith(self.suffixes):
            return None
        for glob, regex in self._globs:
            if not key_folded.endswith(glob.suffix):
                continue
            if glob.is_stem:
                return (key[key.rfind("/") + 1 : len(key) - len(glob.suffix)],)
            if found := regex.match(key_folded):
                return tuple(key[start:end] for start, end in found.regs[1:])
        return None


def alternatives(pattern: str) -> list[str]:
    """The pattern once for each combination of its alternatives, with placeholders as written.

    Raises:  PatternFault when the pattern is invalid.
    """
    _refuse_foreign_syntax(pattern)
    return list(dict.fromkeys(_expanded(pattern, pattern)))


def percent_decoded(text: str) -> str:
    """The text with `%20` and the like decoded; as written if it does not encode text."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if "\0" in decoded else decoded


def _refuse_foreign_syntax(pattern: str) -> None:
    if not pattern:
        raise PatternFault("The pattern is empty.", "Write ** to match every key.")
    if len(pattern) > MOST_CHARACTERS or pattern.count("{") > MOST_BRACES:
        raise PatternFault(
            f"The pattern has more than {MOST_CHARACTERS:,} characters or {MOST_BRACES} braces.",
            "Write several patterns.",
        )
    if "\\" in pattern:
        raise PatternFault(
            f"{pattern!r} contains a backslash, which is not an escape character.",
            "Write / between folders, and ? for a character with a meaning in patterns.",
        )
    if "://" in pattern:
        raise PatternFault(f"{pattern!r} contains ://.", "Write the key without the bucket.")
    if pattern.startswith(("/", "./")):
        raise PatternFault(
            f"{pattern!r} begins with {pattern.partition('/')[0]}/, as no key does.", "Remove it."
        )
    if pattern.endswith("/"):
        raise PatternFault(
            f"{pattern!r} ends with /, so it matches no object.",
            f"Write {pattern}** for all objects in the folder.",
        )


def _expanded(pattern: str, whole: str, *, in_braces: bool = False) -> list[str]:
    start = pattern.find("{")
    if "}" in pattern[: start if start >= 0 else None]:
        raise PatternFault(f"{whole!r} has a }} without a {{.", "Add or remove a brace.")
    if start < 0:
        return [pattern]
    end, options = _options(pattern, start, whole)
    tails = _expanded(pattern[end:], whole, in_braces=in_braces)
    if len(options) == 1:
        _check_placeholder(options[0], whole, in_braces=in_braces)
        middles = [f"{{{options[0]}}}"]
    else:
        middles = [text for one in options for text in _expanded(one, whole, in_braces=True)]
    if len(middles) * len(tails) > MOST_ALTERNATIVES:
        raise PatternFault(
            f"{whole!r} has more than {MOST_ALTERNATIVES:,} combinations of alternatives.",
            "Write * for some of them.",
        )
    return [pattern[:start] + middle + tail for middle in middles for tail in tails]


def _options(pattern: str, start: int, whole: str) -> tuple[int, list[str]]:
    """The end of the braces that open at `start`, and their parts between top-level commas."""
    depth, cuts = 0, [start]
    for place in range(start, len(pattern)):
        character = pattern[place]
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if not depth:
                cuts.append(place)
                parts = [pattern[a + 1 : b] for a, b in pairwise(cuts)]
                return place + 1, parts
        elif character == "," and depth == 1:
            cuts.append(place)
    raise PatternFault(f"{whole!r} has a {{ without a }}.", "Add or remove a brace.")


def _check_placeholder(name: str, whole: str, *, in_braces: bool) -> None:
    if not NAME.fullmatch(name):
        raise PatternFault(
            f"{whole!r}: {{{name}}} is neither a placeholder nor a list of alternatives.",
            "Write a name of letters, digits and _ for a placeholder, or commas between"
            " alternatives.",
        )
    if in_braces:
        raise PatternFault(
            f"{whole!r}: the placeholder {{{name}}} is within alternatives.",
            "Write it outside of their braces.",
        )


class _Glob:
    """One pattern without alternatives.

    `prefix` and `suffix` are the folded literal texts at its ends, and `needle` is the longest one;
    every matching key has them.
    With `is_simple`, every key that has both matches; with `is_stem`, the only placeholder is the
    file name without the suffix.
    """

    def __init__(self, text: str) -> None:
        self._segments = list(_segments(text))
        wildcards = [wildcard for segment in self._segments for wildcard in segment[1::2]]
        self.names = tuple(one[1:-1] for one in wildcards if one.startswith("{"))
        literal = re.split(r"[*?{]", text, maxsplit=1)[0]
        tail = re.split(r"[*?}]", text)[-1]
        if text.removesuffix(tail).endswith(_ANY_SEGMENTS):  # `**/` also matches nothing
            tail = tail.removeprefix("/")
        self.prefix = folded(literal)
        self.suffix = folded(tail)
        self.needle = max(map(folded, re.split(r"\*\*/|[*?]|\{\w+\}", text)), key=len)
        rest = text[len(literal) :]
        self.is_simple = re.fullmatch(r"\*\*(/\*[^*?{}/]*)?", rest) is not None
        self.is_stem = re.fullmatch(r"\*\*/\{\w+\}[^*?{}/]*", text) is not None
        has_first = "/" in literal or not rest
        self.first_segment = self.prefix.partition("/")[0] if has_first else None

    @property
    def regex(self) -> str:
        """The expression for folded keys, anchored at the end."""
        blocks = [
            list(group)
            for is_block, group in groupby(self._segments, lambda one: one != [_ANY_SEGMENTS])
            if is_block
        ]
        if [_ANY_SEGMENTS] not in self._segments:
            return _joined(blocks[0]) + r"\Z"
        first = "" if self._segments[0] == [_ANY_SEGMENTS] else _joined(blocks.pop(0)) + "/"
        ends_open = self._segments[-1] == [_ANY_SEGMENTS]
        last = ".*" if ends_open else f"(?:.*/)?{_joined(blocks.pop())}"
        between = (f"(?>(?:[^/]*+/)*?{_joined(block)}/)" for block in blocks)
        return f"{first}{''.join(between)}{last}\\Z"


def _first_segments(globs: Iterable[_Glob]) -> frozenset[str] | None:
    found = {one.first_segment for one in globs}
    return None if None in found else frozenset(one for one in found if one is not None)


def _segments(text: str) -> Iterator[list[str]]:
    """Each path segment as fixed text, wildcard, fixed text …; `**` as itself, never repeated."""
    previous = ""
    for part in text.split("/"):
        is_repeated = part == previous == _ANY_SEGMENTS
        previous = part
        if is_repeated:
            continue
        if part == _ANY_SEGMENTS:
            yield [part]
            continue
        if _ANY_SEGMENTS in part:
            raise PatternFault(
                f"{text!r} has ** next to other text.", "Write **/ for any folders, or one *."
            )
        found = re.split(r"(\*|\{\w+\})", part)
        if "" in found[2:-1:2] and "{" in part:
            raise PatternFault(
                f"{text!r} has a placeholder directly next to another or to *.",
                "Write the text that separates them.",
            )
        yield found


def _joined(segments: Iterable[list[str]]) -> str:
    return "/".join(map(_segment_regex, segments))


def _segment_regex(segment: list[str]) -> str:
    """The expression for one segment, to be followed by `/` or the end of the key."""
    regex = _fixed_regex(segment[0])
    for place in range(1, len(segment), 2):
        is_last = place == len(segment) - 2
        text = "[^/]*" if is_last else "[^/]*?"
        wildcard = f"({text})" if segment[place].startswith("{") else text
        part = wildcard + _fixed_regex(segment[place + 1])
        regex += part if is_last else f"(?>{part})"
    return regex


def _fixed_regex(text: str) -> str:
    return "[^/]".join(map(re.escape, folded(text).split("?")))

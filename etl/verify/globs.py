"""Match object keys with globs, and extract their placeholders, ignoring letter case.

`*` and `?` match within a folder, `**/` any number of folders, and `**` elsewhere everything.
`{a,b}` are alternatives and `{name}` is a placeholder, which matches within a folder. Where a key
can be read in several ways, each of them matches as little as possible, from left to right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

HIVE = "hive"
_HIVE_NULL = "__hive_default_partition__"
_PARTITION = re.compile("([A-Za-z][A-Za-z0-9_]*)=")
_PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled glob; the regular expression matches lowercase keys."""

    form: re.Pattern[str]
    names: tuple[str, ...]

    def matches(self, key: str) -> bool:
        """Whether the whole key matches."""
        return self.form.fullmatch(lowered(key)) is not None

    def values(self, key: str) -> dict[str, str] | None:
        """The placeholders of a key as written in it; None if it does not match."""
        found = self.form.fullmatch(lowered(key))
        if found is None:
            return None
        spans = (found.span(number) for number in range(1, len(self.names) + 1))
        return {name: key[start:end] for name, (start, end) in zip(self.names, spans, strict=True)}


def lowered(text: str) -> str:
    """The text in lowercase, character by character, so that positions stay the same."""
    return "".join(small if len(small := each.lower()) == 1 else each for each in text)


@cache
def glob(written: str) -> Glob:
    """Compile a glob."""
    names: list[str] = []
    return Glob(re.compile(_form(written, names), re.DOTALL), tuple(names))


def _form(written: str, names: list[str]) -> str:
    form = []
    at = 0
    while at < len(written):
        if written.startswith("**/", at) and (at == 0 or written[at - 1] == "/"):
            form.append("(?:.*/)??")
            at += 3
        elif written.startswith("**", at):
            form.append(".*?")
            at += 2
        elif written[at] == "{":
            end = written.index("}", at)
            form.append(_braces(written[at : end + 1], names))
            at = end + 1
        else:
            form.append({"*": "[^/]*?", "?": "[^/]"}.get(written[at]) or _literal(written[at]))
            at += 1
    return "".join(form)


def _braces(written: str, names: list[str]) -> str:
    placeholder = _PLACEHOLDER.fullmatch(written)
    if placeholder is not None:
        names.append(placeholder[1])
        return "([^/]*?)"
    return f"(?:{'|'.join(_form(each, names) for each in written[1:-1].split(','))})"


def _literal(text: str) -> str:
    return re.escape(lowered(text))


def path_names(template: str, include: Iterable[str]) -> tuple[str, ...]:
    """The path columns: the placeholders of a template, or the `name=` folders of the patterns."""
    if template != HIVE:
        return glob(template).names
    folders = (folder for pattern in include for folder in pattern.split("/")[:-1])
    found: dict[str, str] = {}
    for folder in folders:
        named = _PARTITION.match(folder)
        if named is not None:
            found.setdefault(named[1].lower(), named[1])
    return tuple(found.values())


def path_texts(template: str, names: Iterable[str], key: str) -> dict[str, str | None]:
    """The texts of the path columns `names` of an object; None where the key has none."""
    if template == HIVE:
        found = _partitions(key)
        return {name: found.get(name.lower()) for name in names}
    values = glob(template).values(key) or {}
    return {name: values.get(name) or None for name in names}


def _partitions(key: str) -> dict[str, str | None]:
    """The `name=value` folders of a key, decoded, by lowercase name; the last one counts."""
    found: dict[str, str | None] = {}
    for folder in key.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if equals:
            text = _decoded(value)
            is_null = text == "" or text.lower() == _HIVE_NULL
            found[name.lower()] = None if is_null else text
    return found


def _decoded(text: str) -> str:
    """The percent-decoded text; as written if the bytes are not UTF-8, or hold a NUL."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if "\0" in decoded else decoded

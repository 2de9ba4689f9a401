"""The lines of keys in TOML and JSON documents."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from etl.settings.datasets.lines import json_lines, toml_lines


def paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path in parsed TOML or JSON."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield (*path, key)
            yield from paths(one, (*path, key))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield (*path, place)
            yield from paths(one, (*path, place))


EXAMPLE = '''\
version = 1 # [not.a.table]

[datasets."my orders"]
include = [
  "a",   # ] "
  'b]',
]
text = """
[no.table]
key = "1" ""\\"""""
raw = \'\'\'
[no.table]'\'\'\'
dialect = { delimiter = ";", "quote.Char" = '"', deep = { x = [ 1,
  2, { y = 1979-05-27 07:32:00 } ] } }
a.b . "c" = 3
[[datasets.list]]
name = "one"
[[datasets.list.inner]]
[datasets.list.inner.leaf]
x = 1
[[datasets.list.inner]]
[[datasets.list]]
name = "two"
[[datasets.list.inner]]
y = [[], {}, [[1]]]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 1),
        (("datasets",), 3),
        (("datasets", "my orders"), 3),
        (("datasets", "my orders", "include"), 4),
        (("datasets", "my orders", "include", 0), 5),
        (("datasets", "my orders", "include", 1), 6),
        (("datasets", "my orders", "text"), 8),
        (("datasets", "my orders", "raw"), 11),
        (("datasets", "my orders", "dialect", "quote.Char"), 13),
        (("datasets", "my orders", "dialect", "deep", "x", 0), 13),
        (("datasets", "my orders", "dialect", "deep", "x", 1), 14),
        (("datasets", "my orders", "dialect", "deep", "x", 2, "y"), 14),
        (("datasets", "my orders", "a", "b", "c"), 15),
        (("datasets", "list", 0), 16),
        (("datasets", "list", 0, "inner", 0), 18),
        (("datasets", "list", 0, "inner", 0, "leaf", "x"), 20),
        (("datasets", "list", 0, "inner", 1), 21),
        (("datasets", "list", 1), 22),
        (("datasets", "list", 1, "inner", 0, "y", 2, 0, 0), 25),
    ],
)
def test_every_kind_of_key_has_its_line(path: tuple[str | int, ...], line: int):
    assert toml_lines(EXAMPLE)[path] == line


def test_exactly_the_paths_of_the_document_have_lines():
    assert set(toml_lines(EXAMPLE)) == set(paths(tomllib.loads(EXAMPLE)))


def test_a_table_that_is_implied_first_is_found_at_its_header():
    lines = toml_lines("[a.b.c]\n\n[a.b]\n[a]\n")
    assert lines == {("a",): 4, ("a", "b"): 3, ("a", "b", "c"): 1}


KEYS = st.one_of(
    st.text("abc-_0", min_size=1, max_size=3),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=4),
)
TEXTS = st.text("ab\"'\\#[]{}=,\n\t ", max_size=8)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class Writer:
    """Writes a random document, with the line of each leaf, in whatever forms TOML allows."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.leaves: dict[tuple[str | int, ...], int] = {}

    def choose(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def add(self, text: str) -> None:
        self.text += text

    def line(self) -> int:
        return self.text.count("\n") + 1

    def key(self, name: str) -> str:
        is_bare = name != "" and set(name) <= set("abc-_0")
        if is_bare and self.choose("bare", "quoted") == "bare":
            return name
        if "'" not in name and "\x7f" not in name and self.choose("literal", "basic") == "literal":
            return f"'{name}'"
        return quoted(name)

    def names(self) -> list[str]:
        return self.draw(st.lists(KEYS, max_size=3, unique=True))

    def table(self, path: tuple[str | int, ...], depth: int) -> None:
        """Pairs of one table, then its subtables and lists of tables."""
        names = self.names()
        later = []
        for name in names:
            kind = self.choose("pair", "dotted", "table", "tables") if depth else "pair"
            if kind in {"table", "tables"}:
                later.append((kind, name))
                continue
            self.add(self.choose("", "\n", "  ", '# c [x] """\n'))
            keys = (
                [name]
                if kind == "pair"
                else [name, *self.draw(st.lists(KEYS, min_size=1, max_size=2))]
            )
            self.leaves[(*path, *keys)] = self.line()
            self.add(self.choose(".", " . ").join(map(self.key, keys)) + self.choose(" = ", "="))
            self.value((*path, *keys), 2, in_line=False)
            self.add(self.choose("\n", " # = 1\n", "\r\n"))
        for kind, name in later:
            for place in range(1 if kind == "table" else self.draw(st.integers(1, 2))):
                here = (*path, name) if kind == "table" else (*path, name, place)
                self.leaves[here] = self.line()
                written = ".".join(self.key(part) for part in here if isinstance(part, str))
                self.add(f"[{written}]\n" if kind == "table" else f"[[{written}]]\n")
                self.table(here, depth - 1)

    def value(self, path: tuple[str | int, ...], depth: int, *, in_line: bool) -> None:
        kind = self.choose("number", "text", "long", "raw", "list", "inline") if depth else "number"
        text = self.draw(TEXTS)
        if kind == "number":
            self.add(self.choose("1", "-2.5", "true", "1979-05-27 07:32:00", "07:32:00", "inf"))
        elif kind == "text":
            self.add(quoted(text))
        elif kind == "long":
            self.add('"""' + text.replace("\\", "\\\\").replace('"""', '""\\"') + 'x"""')
        elif kind == "raw":
            self.add("'''" + text.replace("'", "") + self.choose("", "'", "''") + "'''")
        elif kind == "list":
            self.items(path, depth, in_line=in_line)
        else:
            names = self.names()
            self.add("{ ")
            for place, name in enumerate(names):
                self.leaves[(*path, name)] = self.line()
                self.add(self.key(name) + " = ")
                self.value((*path, name), depth - 1, in_line=True)
                self.add(", " if place < len(names) - 1 else " ")
            self.add("}")

    def items(self, path: tuple[str | int, ...], depth: int, *, in_line: bool) -> None:
        count = self.draw(st.integers(0, 3))
        self.add("[")
        for place in range(count):
            self.add(self.choose("", " ", "\n", " # ]\n  ", "\n\n"))
            self.leaves[(*path, place)] = self.line()
            self.value((*path, place), depth - 1, in_line=in_line)
            self.add(self.choose("", "\n") + ("," if place < count - 1 else self.choose("", ",\n")))
        self.add("]")


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str | int, ...], int]]:
    writer = Writer(draw)
    writer.table((), 3)
    return writer.text, writer.leaves


@given(documents())
def test_lines_of_any_document_are_exact(document: tuple[str, dict[tuple[str | int, ...], int]]):
    text, expected = document
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # dotted keys may clash with each other
        reject()
    found = toml_lines(text)
    assert set(found) == set(paths(parsed))
    assert {path: found[path] for path in expected} == expected


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(JSON, st.booleans())
def test_lines_of_json_are_those_of_its_keys(value: object, ascii_only: bool):  # noqa: FBT001
    text = json.dumps(value, indent=1, ensure_ascii=ascii_only)
    found = json_lines(text)
    assert set(found) == set(paths(value))
    lines = text.split("\n")
    for path, line in found.items():
        if isinstance(path[-1], str):
            written = json.dumps(path[-1], ensure_ascii=ascii_only)
            assert lines[line - 1].lstrip().startswith(f"{written}:")
    assert sorted(set(found.values())) == sorted(
        number
        for number, one in enumerate(lines, 1)
        if number > 1 and one.strip(" ,") not in {"]", "}"}
    )


def test_a_json_key_may_be_on_another_line_than_its_value():
    assert json_lines('{\n"a"\n:\n1, "b": [\n2]}') == {
        ("a",): 2, ("b",): 4, ("b", 0): 5,
    }  # fmt: skip

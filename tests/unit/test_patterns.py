"""Patterns of object keys: what they match and capture, and how long that takes."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.patterns import (
    PatternFault,
    Patterns,
    Template,
    alternatives,
    folded,
    percent_decoded,
)
from etl.verify.globs import glob


def matches(pattern: str, key: str) -> bool:
    return Patterns([pattern]).matches(folded(key))


def capture(pattern: str, key: str) -> tuple[str, ...] | None:
    return Template(pattern).capture(key, folded(key))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("**", ["", "a", "a/b", "/a", "a\nb"], []),
        ("*", ["", "a", "a.csv"], ["a/b", "/a"]),
        ("*.csv", ["a.csv", ".csv", "A.CSV"], ["a/b.csv", "a.csv.gz", "acsv"]),
        ("**/*.csv", ["a.csv", "a/b.csv", "/a.csv", "a//b.csv", ".csv", "a/.csv"], ["a/csv", "a"]),
        ("a/**", ["a/b", "a/b/c", "a/", "A/b"], ["a", "ab/c", "b/a/c"]),
        ("a/**/b.csv", ["a/b.csv", "a/x/b.csv", "a/x/y/b.csv"], ["ab.csv", "a/xb.csv", "b.csv"]),
        ("**/b.csv", ["b.csv", "a/b.csv"], ["ab.csv", "b.csv/c"]),
        ("**/a/**", ["a/b", "x/a/b", "x/y/a/b/c"], ["a", "ba/b", "x/a"]),
        ("a/**/**/b", ["a/b", "a/x/b"], ["ab"]),
        ("a/*/b", ["a/x/b", "a//b"], ["a/b", "a/x/y/b"]),
        ("**/*a/b", ["a/b", "xa/b", "y/xa/b"], ["a/xb", "b"]),
        ("a?c", ["abc", "a.c"], ["ac", "a/c", "abbc"]),
        ("?", ["a", "\n", "é"], ["", "/", "ab"]),
        ("a.{csv,tsv}", ["a.csv", "a.TSV"], ["a.{csv,tsv}", "a.", "axcsv"]),
        ("a{,.gz}", ["a", "a.gz"], ["agz"]),
        ("a.{csv,nd{json,j}{,.gz}}", ["a.csv", "a.ndjson", "a.ndj.gz"], ["a.csv.gz"]),
        ("{a,b}/**/*.csv", ["a/1.csv", "b/x/1.csv"], ["c/1.csv"]),
        ("[a].(b)+$", ["[a].(b)+$"], ["a.(b)+$"]),
        ("ÄΣ*", ["ä\u03c31", "ä\u03c2", "ÄΣ"], ["a\u03c3"]),
        ("straße", ["STRAßE"], ["strasse"]),
        ("*.gif", ["a.GIF"], ["a.g\u0130f", "a.g\u0131f"]),
        ("a,b", ["a,b"], ["a", "b"]),
    ],
)
def test_globs_match_keys(pattern: str, matching: list[str], others: list[str]):
    assert [key for key in matching if not matches(pattern, key)] == []
    assert [key for key in others if matches(pattern, key)] == []


@pytest.mark.parametrize(
    ("pattern", "key", "captured"),
    [
        ("sensors/{site}/**", "sensors/North/2024/1.csv", ("North",)),
        ("sensors/{site}/**", "SENSORS/North/1.csv", ("North",)),
        ("sensors/{site}/**", "sensors/North", None),
        ("**/{id}.{png,jpg}", "a/Anna.Lee.PNG", ("Anna.Lee",)),
        ("**/{id}.{png,jpg}", ".jpg", ("",)),
        ("**/{id}.{png,jpg}", "a/b.gif", None),
        ("{a}-{b}.csv", "x-y-z.csv", ("x", "y-z")),
        ("**/{year}/{month}/*.csv", "a/2024/05/x.csv", ("2024", "05")),
        ("{year}/**/{month}/*.csv", "2024/a/b/05/x.csv", ("2024", "05")),
        ("**/x{n}/**/{f}.csv", "a/x1/x2/f.csv", ("1", "f")),
        ("{İd,x}/{Name}", "İD/Grüße", ("Grüße",)),
    ],
)
def test_placeholders_capture_text_in_its_case(
    pattern: str, key: str, captured: tuple[str, ...] | None
):
    assert capture(pattern, key) == captured


def test_placeholders_are_named_in_the_order_of_the_pattern():
    assert Template("{Year}/{month}/{a,b}/**").names == ("Year", "month")


@pytest.mark.parametrize(
    "pattern",
    [
        "", "a**", "**.csv", "a/**b/c", "{a,b", "a}", "{}", "{0..9}", "{a b}", "{{a}}", "{a,{b}}",
        "/a", "./a", "a\\*", "s3://bucket/a", "a/", "a" * 1_025, "{a,b}" * 11, "{a," * 60,
        "{" + "x" * 49 + "}",
    ],
)  # fmt: skip
def test_invalid_patterns_are_refused_with_a_remedy(pattern: str):
    with pytest.raises(PatternFault) as caught:
        Template(pattern)
    assert caught.value.fault.endswith(".")
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize("pattern", ["{a}{b}", "*{a}", "{a}*", "{a}/{a}"])
def test_placeholders_that_could_not_be_read_back_are_refused(pattern: str):
    with pytest.raises(PatternFault):
        Template(pattern)


@pytest.mark.parametrize("pattern", ["*.{csv}", "{a}/**"])
def test_a_placeholder_is_refused_where_nothing_is_captured(pattern: str):
    with pytest.raises(PatternFault, match="placeholder"):
        Patterns([pattern])


def reference(pattern: str, key: str) -> bool:
    """Whether a glob without braces matches, by trying everything."""

    @cache
    def here(p: int, k: int) -> bool:
        if p == len(pattern):
            return k == len(key)
        if pattern[p:] == "**":
            return True
        if pattern.startswith("**/", p) and (p == 0 or pattern[p - 1] == "/"):
            starts = [k, *(i + 1 for i in range(k, len(key)) if key[i] == "/")]
            return any(here(p + 3, start) for start in starts)
        if pattern[p] == "*":
            end = key.find("/", k)
            last = len(key) if end < 0 else end
            return any(here(p + 1, start) for start in range(k, last + 1))
        is_same = k < len(key) and (pattern[p] == key[k] or (pattern[p] == "?" and key[k] != "/"))
        return is_same and here(p + 1, k + 1)

    return here(0, 0)


SEGMENTS = st.one_of(
    st.just("**"),
    st.text("ab*?", min_size=1, max_size=5).filter(lambda text: "**" not in text),
)
GLOBS = st.lists(SEGMENTS, min_size=1, max_size=5).map("/".join)
KEYS = st.text("ab/", max_size=14)


@given(GLOBS, KEYS)
@example("**/a*b/**/a?", "aab/bab/ab/aa")
@example("**/*a/**/b", "a/b")
def test_compiled_globs_match_what_the_definition_matches(pattern: str, key: str):
    assert matches(pattern, key) == reference(pattern, key)


@given(st.lists(GLOBS, min_size=1, max_size=4), KEYS)
def test_several_globs_match_what_any_of_them_matches(patterns: list[str], key: str):
    found = Patterns(patterns)
    assert found.matches(key) == any(reference(one, key) for one in patterns)
    if found.first_segments is not None and found.matches(key):
        assert key.partition("/")[0] in found.first_segments


PLACED = st.lists(
    st.one_of(
        st.just("**"),
        st.lists(st.sampled_from(["a", "b-", "*", "?", "{}"]), min_size=1, max_size=4).map("".join),
    ),
    min_size=1,
    max_size=4,
).map("/".join)


@given(PLACED, KEYS.map(lambda text: text.replace("ab", "b-")))
@example("*/{}.*", "a/b-.b-.a")
def test_captured_text_put_back_into_the_pattern_matches(pattern: str, key: str):
    count = pattern.count("{}")
    named = pattern
    for number in range(count):
        named = named.replace("{}", f"{{p{number}}}", 1)
    try:
        template = Template(named)
    except PatternFault:
        return
    found = template.capture(key, key)
    assert (found is not None) == reference(pattern.replace("{}", "*"), key)
    read = glob(named).values(key)
    assert found == (None if read is None else tuple(read.values()))
    if found is not None:
        filled = pattern
        for text in found:
            filled = filled.replace("{}", text, 1)
        assert reference(filled, key)


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("*a" * 200 + "b", "a" * 1_000),
        ("**/" + "*a" * 200 + "b/c", "a" * 1_000 + "/c"),
        ("**/a/" * 100 + "b", "a/" * 500),
        ("**/*a*/" * 60 + "b", "a/" * 500 + "c"),
        ("?*" * 200 + "b", "a" * 1_000),
        ("**/*a*a*a*a*/**/*a*a*a*a*/**/x", ("a" * 30 + "/") * 33),
        ("{" + ",".join("*a" * n + "b" for n in range(1, 20)) + "}", "a" * 1_000),
    ],
)
def test_hostile_patterns_do_not_backtrack(pattern: str, key: str):
    # One that backtracks would not end before the timeout of the tests.
    assert not Patterns([pattern]).matches(key)


@given(st.characters())
def test_folding_keeps_positions(character: str):
    assert len(folded(character)) == 1
    assert folded(folded(character)) == folded(character)


@given(st.text(), st.text())
def test_folding_does_not_depend_on_neighbors(one: str, other: str):
    assert folded(one + other) == folded(one) + folded(other)


def test_alternatives_are_in_the_order_of_the_pattern():
    assert alternatives("{a,b}.{c,d}") == ["a.c", "a.d", "b.c", "b.d"]


@pytest.mark.parametrize(
    ("written", "decoded"),
    [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%ff", "%ff"),
        ("50%", "50%"),
        ("a%00", "a%00"),
        ("%2F", "/"),
    ],
)
def test_percent_encoding_is_decoded_if_it_encodes_text(written: str, decoded: str):
    assert percent_decoded(written) == decoded


def test_other_punctuation_stands_for_itself():
    for character in set(map(chr, range(33, 127))) - set("*?{}\\/"):
        assert matches(f"a{character}", f"A{character}")
        assert not matches(f"a{character}", "a")

"""JSON texts, compared with the standard library's parser."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Field, FieldType
from tests.field_types import Refused, check, judged, plain_json

KINDS = {FieldType.OBJECT: dict, FieldType.ARRAY: list, FieldType.ANY: object}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [*'{}[]:,"\\ 015-.', '"a"', "true", "null", "NaN", "1e5", "\\u0000", "\\ud83d", "\\ude00", "'"]
)
DOCUMENTS = st.one_of(
    VALUES.map(json.dumps),
    VALUES.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.lists(PIECES, max_size=9).map("".join),
    st.lists(st.sampled_from(["\\", "u0000", "\\u0000", "ud800", "\\ud800", "\\udc00"]), max_size=6)
    .map("".join)
    .map('{{"a":"{}"}}'.format),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), max_size=3).map(
        lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    ),
)


@given(st.lists(DOCUMENTS), st.sampled_from(list(KINDS)))
@example([r'["\u0000"]', r'["\\u0000"]', r'["\\\u0000"]', r'["\ud83d\ude00"]'], FieldType.ARRAY)
@example([r'["\ud83d"]', r'["\ude00\ud83d"]', r'["\\ud83d"]', '["\ufeff"]'], FieldType.ARRAY)
@example(['{"a":1,"a":1}', '{"a":{"a":1}}', "{}", " {} ", "{} {}", "\ufeff{}"], FieldType.OBJECT)
@example(["-0", "1.0e5", "01", "1.", ".5", "+1", "Infinity", "-Infinity", '"x"'], FieldType.ANY)
def test_documents_are_judged_as_by_the_plain_rule(texts: list[str], type_: FieldType):
    for text, (value, codes) in zip(texts, judged(texts, Field(name="j", type=type_)), strict=True):
        try:
            if text:
                plain_json(text, KINDS[type_])
            expected: tuple[object, frozenset[str]] = text or None, frozenset()
        except Refused as refused:
            expected = None, frozenset(refused.args)
        assert (value, codes) == expected, text


def nested(depth: int) -> str:
    return '[{"a":' * (depth // 2) + '"[{"' + "}]" * (depth // 2)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        (nested(200), True),
        (nested(202), False),
        ("[" * 100_000, False),
        ("[" + ",".join(["[]"] * 1_000) + "]", True),
        ('["' + "[" * 1_000 + '"]', True),
        ('["' + '\\"[' * 1_000 + '"]', True),
        ("[" + "9" * 5_000 + "]", True),
        ("[" + "9" * 131_072 + "]", True),
        ("[" + "9" * 131_073 + "]", False),
        ("[0." + "0" * 16_382 + "1]", True),
        ("[0." + "0" * 16_383 + "1]", False),
        ("[1e131071, 1e-16383]", True),
        ("[1e131072]", False),
        ("[1.0e-16383]", False),
        ("[0e99999999999999999999]", True),
        ("[0e-99999999999999999999]", False),
    ],
)
def test_limits_of_documents(text: str, is_valid: bool):  # noqa: FBT001
    (found,) = judged([text], Field(name="j", type=FieldType.ARRAY))
    assert found == ((text, frozenset()) if is_valid else (None, {"not-json"}))


def test_lengths_count_items():
    limits = Constraints(min_length=1, max_length=2)
    found = judged(
        ["[]", "[1]", "[1,2,3]"], Field(name="j", type=FieldType.ARRAY, constraints=limits)
    )
    assert [codes for _, codes in found] == [{"too-short"}, frozenset(), {"too-long"}]


@pytest.mark.parametrize(
    ("type_", "text", "words"),
    [
        (FieldType.OBJECT, "{'a': 1}", "double quotes, not single quotes"),
        (FieldType.OBJECT, '{"a": True}', "in lower case"),
        (FieldType.ARRAY, "[1, 2,]", "no comma before a closing bracket"),
        (FieldType.ARRAY, "[1 2]", "at character 4"),
        (FieldType.ARRAY, "{}", "JSON of another type"),
        (FieldType.ANY, "[NaN]", "write null"),
        (FieldType.ANY, '{"a": 1, "a": 2}', 'key "a" occurs twice'),
        (FieldType.ANY, r'"\u0000"', r"the character \u0000"),
        (FieldType.ANY, r'"\ud83d"', "half of a surrogate pair"),
        (FieldType.ANY, "1e999999", "too many digits"),
        (FieldType.ANY, "[" * 300, "nested deeper than 200 levels"),
        (FieldType.ANY, "red", '"red" with its quotes'),
    ],
)
def test_hints_name_what_was_expected(type_: FieldType, text: str, words: str):
    (fault,) = check([text], Field(name="j", type=type_)).faults
    assert words in fault.note(text)

"""Texts of every field type for Hypothesis: valid ones, extremes, and near misses."""

# ruff: noqa: DTZ001, DTZ901 -- local times

from __future__ import annotations

import json
from datetime import datetime, timedelta

from hypothesis import strategies as st

INTEGER_PIECES = st.sampled_from(
    [*"0123456789", "+", "-", ".", ",", "000", "999", "0x1f", "e", " "]
)
DIGITS = st.lists(INTEGER_PIECES, max_size=8).map("".join)
LIMITS = st.sampled_from([2**15, 2**31, 2**63]).flatmap(
    lambda limit: st.one_of(st.integers(-limit - 2, -limit + 2), st.integers(limit - 3, limit + 2))
)
INTEGERS = st.one_of(
    st.integers().map(str),
    LIMITS.map(str),
    LIMITS.map(lambda n: f"{n}.0"),
    LIMITS.map(lambda n: f"{n:,}"),
    DIGITS,
)

NUMBER_PIECES = st.sampled_from(
    [*"0123456789", *"+-.,'e", "00", "000", "999", "e-", "E+2", "nan", "x"]
)
NUMBERS = st.one_of(
    st.lists(NUMBER_PIECES, max_size=9).map("".join),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.decimals(-(10**11), 10**11, places=2).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**12), 10**12).map("{:,}".format),
)
FLOATS = st.one_of(
    NUMBERS,
    st.floats().map(repr),
    st.sampled_from(["NaN", "nan", "INF", "-inf", "+Infinity", "1e400", "1e-400", "-0", "0x1p3"]),
)


SHIFTS = [  # local times next to changes of the clock
    *(datetime(2024, 3, 31, 2, 30), datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 10, 2)),
    *(datetime(2024, 11, 3, 1), datetime(2050, 3, 27, 2, 30), datetime(2050, 10, 30, 2)),
    *(datetime(2011, 12, 30, 12), datetime(2024, 4, 7, 1, 45), datetime(1893, 4, 1)),
]
MOMENTS = st.one_of(
    st.datetimes(),
    st.datetimes(datetime(1880, 1, 1), datetime(2100, 1, 1)),
    st.tuples(st.sampled_from(SHIFTS), st.integers(-7200, 7200)).map(
        lambda pair: pair[0] + timedelta(seconds=pair[1])
    ),
    st.sampled_from([datetime.min, datetime.max, datetime(1, 1, 1, 23), datetime(9999, 12, 31, 1)]),
)
DAYS = st.one_of(
    st.dates().map(str),
    st.sampled_from(["2023-02-29", "2000-02-29", "1900-02-29", "0000-01-01", "2024-13-01"]),
    st.text("0123456789-", min_size=8, max_size=11),
)
CLOCKS = st.one_of(
    st.times().map(str),
    st.times().map(lambda moment: moment.isoformat("minutes")),
    st.sampled_from(["24:00", "23:59:60", "12:60", "1:00", "12:00:00.1230000", "12:00:00.1234567"]),
    st.sampled_from(["12", "12:00:00.", "12:00:00,5", "12:00 ", "\u0661\u0662:00"]),
)
OFFSETS = st.sampled_from(["", "", "Z", "z", "+05:30", "-0530", "-23", "+24:00", "+01:60", "+1"])
DATETIMES = st.one_of(
    st.tuples(DAYS, st.sampled_from("TT t_"), CLOCKS, OFFSETS).map("".join),
    MOMENTS.map(str),
    MOMENTS.map(lambda moment: moment.isoformat(timespec="milliseconds")),
    DAYS,
)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
JSON_PIECES = st.sampled_from(
    [*'{}[]:,"\\ 015-.', '"a"', "true", "null", "NaN", "1e5", "\\u0000", "\\ud83d", "\\ude00", "'"]
)
DOCUMENTS = st.one_of(
    VALUES.map(json.dumps),
    VALUES.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.lists(JSON_PIECES, max_size=9).map("".join),
    st.lists(st.sampled_from(["\\", "u0000", "\\u0000", "ud800", "\\ud800", "\\udc00"]), max_size=6)
    .map("".join)
    .map('{{"a":"{}"}}'.format),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), max_size=3).map(
        lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    ),
)

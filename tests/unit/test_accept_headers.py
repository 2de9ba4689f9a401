"""Accept and Accept-Encoding, whatever else a header holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.http import encodings
from api.http.accept import codings, media_ranges
from api.rows import formats
from api.rows.formats import FORMATS

JUNK = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)


@given(JUNK, st.sampled_from(["*/*", "*", "*/*;q=.2", "application/*;q=0.001"]))
def test_junk_does_not_hide_a_range_that_fits(junk: str, member: str):
    assert formats.choose(None, media_ranges(f"{junk}, {member}")) in FORMATS.values()
    assert formats.choose(None, media_ranges(f"{member}, {junk}")) in FORMATS.values()


@given(JUNK.filter(lambda text: "/" not in text and "*" not in text))
def test_a_header_without_a_valid_range_equals_no_header(junk: str):
    assert formats.choose(None, media_ranges(junk)) is FORMATS["json"]


@given(JUNK.filter(lambda text: "gzip" not in text and "*" not in text))
def test_junk_does_not_hide_a_coding(junk: str):
    assert encodings.choose(codings(f"gzip;q=.5, {junk.replace('zstd', '')}")) == "gzip"


@given(st.integers(0, 1000), st.sampled_from(["text/csv", "*/*", "text/*; a=b"]))
def test_weights_are_read_with_and_without_a_zero(thousandths: int, name: str):
    weight = f"{thousandths / 1000:.3f}"
    for text in {weight, weight.removeprefix("0"), f'"{weight}"', f"{weight}0"}:
        assert media_ranges(f"{name};q={text}")[0][1] == thousandths / 1000

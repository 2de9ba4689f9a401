"""Both readers get the same result from any file of any format, dataset and compression."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from etl.model.dataset import Dataset, Dialect, Field, UnknownColumns
from etl.verify.compare import as_met_first
from tests.any_files import (
    TYPED,
    csv_files,
    datasets,
    json_files,
    ndjson_files,
    parquet_files,
    xlsx_files,
)
from tests.dataset_outcomes import DatasetOutcome, expected_of, found_in_parts, found_of
from tests.described_files import workbook

FILES = {
    "csv": csv_files,
    "ndjson": ndjson_files,
    "json": json_files,
    "parquet": parquet_files,
    "xlsx": xlsx_files,
}
CUTS = st.lists(st.integers(1, 300), max_size=4)


def zipped(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("data", content)
    return sink.getvalue()


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "zip": zipped,
}
KEYS = st.sampled_from(["in/Ulm/a", "in/7/a", "a"])


def added_to(dataset: Dataset, data: st.DataObject) -> tuple[str, ...]:
    """The columns that earlier files added."""
    if dataset.unknown_columns is not UnknownColumns.ADD:
        return ()
    return data.draw(st.sampled_from([(), ("city",), tuple(f"c{n}" for n in range(200))]))


@pytest.mark.parametrize("extension", [name for name in FILES if name != "csv"])
@given(st.data())
def test_readers_agree_on_any_file_of_any_dataset(extension: str, data: st.DataObject):
    dataset = data.draw(datasets())
    content = data.draw(FILES[extension](dataset))
    key = f"{data.draw(KEYS)}.{extension}"
    added = added_to(dataset, data)
    expected = expected_of(dataset, key, content, added)
    assert found_of(dataset, key, content, added) == expected
    assert found_in_parts(dataset, key, content, data.draw(CUTS), added) == expected


EXTREME = [
    f"{mantissa}e{sign}{exponent}"
    for mantissa in ("1", "0", "-1.5")
    for sign in ("", "-")
    for exponent in ("19", "400", "131072", "9" * 20, "1" * 400)
] + ["1" * 2_000, f"0.{'1' * 2_000}"]


@pytest.mark.parametrize("field", TYPED, ids=lambda one: f"{one.type} {one.sql or one.format}")
@pytest.mark.parametrize("extension", ["csv", "ndjson", "json"])
def test_readers_agree_on_extreme_numbers(extension: str, field: Field):
    dataset = Dataset(name="o", table="o", fields=(replace(field, name="f"),), include=("**",))
    rows = [f'{{"f": {value}, "x": {value}}}' for value in EXTREME]
    content = {
        "csv": "".join(f"{line}\n" for line in ["f,x", *(f"{one},{one}" for one in EXTREME)]),
        "ndjson": "\n".join(rows),
        "json": f"[{','.join(rows)}]",
    }[extension].encode()
    key = f"a.{extension}"
    assert found_of(dataset, key, content) == expected_of(dataset, key, content)


NULLS = {
    "1": 1,
    "1000": 1e3,
    "1.5": 1.5,
    "1,5": 1.5,
    "true": True,
    "ja": True,
    "[]": [],
    '{"a": 1}': {"a": 1},
}
DAYS = {"2024-01-02": date(2024, 1, 2), "02.01.2024": date(2024, 1, 2), "2024": date(2024, 1, 2)}


@pytest.mark.parametrize("field", TYPED, ids=lambda one: f"{one.type} {one.sql or one.format}")
@pytest.mark.parametrize(("missing", "value"), [*NULLS.items(), *DAYS.items()])
def test_readers_agree_on_values_whose_text_is_missing(field: Field, missing: str, value: object):
    fields = (replace(field, name="f", missing_values=("", missing)), Field(name="g"))
    dataset = Dataset(name="o", table="o", fields=fields, include=("**",))
    sink = io.BytesIO()
    parquet.write_table(pa.table({"f": [value], "g": ["x"]}), sink)
    files = {"a.parquet": sink.getvalue()}
    if not isinstance(value, date):
        files["a.ndjson"] = json.dumps({"f": value, "g": "x"}).encode()
    if not isinstance(value, dict | list):
        files["a.xlsx"] = workbook([["f", "g"], [value, "x"]])
    for key, content in files.items():
        assert found_of(dataset, key, content) == expected_of(dataset, key, content), key


@pytest.mark.parametrize("extension", FILES)
@pytest.mark.parametrize("content", [b"", b" \t\r\n", b"\t\x0b", b"\x0c", b"\xef\xbb\xbf\x1c"])
def test_readers_agree_on_files_of_white_space(extension: str, content: bytes):
    dataset = Dataset(name="o", table="o", fields=(Field(name="f"),), include=("**",))
    key = f"a.{extension}"
    assert found_of(dataset, key, content) == expected_of(dataset, key, content)


def test_of_two_faults_of_a_json_file_the_one_that_a_run_meets_first_is_expected():
    dataset = Dataset(name="o", table="o", fields=(Field(name="f"),), include=("**",))
    content = ("\ufeff" + "no JSON" * 50).encode("utf-16-le") + b"\x00\xd8"  # half of a pair

    def problems(outcome: DatasetOutcome) -> Counter[tuple[str, str, str]]:
        return Counter({("b", "a.json", str(code)): n for (_, code), n in outcome.problems.items()})

    of_run = problems(found_in_parts(dataset, "a.json", content, [300]))
    of_verify = problems(expected_of(dataset, "a.json", content))
    assert of_run == {("b", "a.json", "not-json"): 1}
    assert of_verify == {("b", "a.json", "undecodable"): 1}
    assert as_met_first(of_verify, of_run) == of_run
    assert as_met_first(of_verify, of_verify) == of_verify
    assert as_met_first(of_verify, Counter()) == of_verify


@given(st.data())
def test_readers_agree_on_any_compressed_file(data: st.DataObject):
    """Some are cut short, have other bytes at the end, or are compressed in another way."""
    extension = data.draw(st.sampled_from(["csv", "ndjson", "parquet"]))
    compression = data.draw(st.sampled_from(list(PACKERS)))
    dataset = data.draw(datasets())
    content = data.draw(FILES[extension](dataset))
    packed = PACKERS[data.draw(st.sampled_from([compression] * 8 + list(PACKERS)))](content)
    packed = data.draw(
        st.sampled_from([packed] * 4 + [packed[:-1], packed[:20], packed + b"x", packed * 2])
    )
    key = f"a.{extension}.{compression}"
    added = added_to(dataset, data)
    expected = expected_of(dataset, key, packed, added)
    assert found_of(dataset, key, packed, added) == expected
    assert found_in_parts(dataset, key, packed, data.draw(CUTS), added) == expected


@given(st.data())
def test_readers_agree_on_headers_below_a_title(data: st.DataObject):
    extension = data.draw(st.sampled_from(["csv", "xlsx"]))
    row = data.draw(st.integers(1, 3))
    plain = data.draw(datasets())
    dataset = replace(plain, dialect=replace(plain.dialect, header_row=row))
    content = data.draw(FILES[extension](dataset))
    if extension == "csv":
        content = data.draw(st.sampled_from([b"", b"Title\n", b"\n\n", b"A\nB\n"])) + content
    key = f"a.{extension}"
    expected = expected_of(dataset, key, content)
    assert found_of(dataset, key, content) == expected
    assert found_in_parts(dataset, key, content, data.draw(CUTS)) == expected


@given(st.data())
def test_readers_agree_on_content_of_another_format(data: st.DataObject):
    extension, wrong = data.draw(st.permutations(list(FILES)))[:2]
    dataset = replace(data.draw(datasets()), dialect=Dialect())
    content = data.draw(FILES[wrong](dataset))
    key = f"a.{extension}"
    assert found_of(dataset, key, content) == expected_of(dataset, key, content)

"""Compressed contents are expanded exactly, or refused; never read to a false end."""

from __future__ import annotations

import bz2
import gzip
import io
import resource
import struct
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.errors import ObjectChanged, RefusedObject
from etl.model.formats import Compression
from etl.model.values import ProblemCode, SourceFile
from etl.read.check import check_object
from etl.read.compression import expanded
from etl.read.formats import expanded_parts, read_files, read_object
from etl.read.limits import FREE_BYTES, ExpansionLimits
from etl.verify.faults import FileError
from etl.verify.unpack import unpack
from tests.compressed import compressed, zipped
from tests.fuzz.containers import zip_of
from tests.reader_outcomes import source_of
from tests.sample_datasets import READINGS

ALL = list(Compression)
CSV = b"sensor,celsius\n" + b"".join(b"t%d,%d.5\n" % (n, n % 40) for n in range(500))
READ = replace(READINGS, include=("**",), path_columns=None)
CONTENTS = st.binary(max_size=300) | st.binary(max_size=20).map(lambda some: some * 5_000)


def expand(content: bytes, compression: Compression, sizes: list[int] | None = None) -> bytes:
    return b"".join(expanded(cut(content, sizes or [1 << 20]), compression))


def cut(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    at, turn = 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        yield content[at : at + size]
        at, turn = at + size, turn + 1


def refusal(content: bytes, compression: Compression) -> RefusedObject:
    with pytest.raises(RefusedObject) as caught:
        expand(content, compression)
    return caught.value


@pytest.mark.parametrize("compression", ALL)
@given(CONTENTS, st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_content_survives_compression_however_it_arrives(
    compression: Compression, content: bytes, sizes: list[int]
):
    assert expand(compressed(content, compression), compression, sizes) == content


@pytest.mark.parametrize("compression", ALL)
def test_every_cut_is_refused(compression: Compression):
    packed = compressed(CSV[:200], compression)
    for end in range(len(packed)):
        found = refusal(packed[:end], compression)
        assert found.problem_code in {ProblemCode.CORRUPT_ARCHIVE, ProblemCode.WRONG_FORMAT}


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.BZIP2, Compression.ZSTD])
def test_members_follow_each_other(compression: Compression):
    packed = compressed(CSV, compression)
    assert expand(packed + packed, compression, [7]) == CSV + CSV


def test_zeros_after_the_end_are_padding_and_other_bytes_are_a_fault():
    for compression in (Compression.GZIP, Compression.BZIP2):
        packed = compressed(CSV, compression)
        assert expand(packed + bytes(700), compression, [11]) == CSV
        for more in (b"x", b"\0x", b"\0" * 600 + packed, CSV):
            assert refusal(packed + more, compression).problem_code == "corrupt-archive"
    packed = compressed(CSV, Compression.ZSTD)
    assert refusal(packed + b"more", Compression.ZSTD).problem_code == "corrupt-archive"


@pytest.mark.parametrize("compression", ALL)
def test_an_empty_file_is_not_an_archive_without_rows(compression: Compression):
    assert refusal(b"", compression).problem_code == "corrupt-archive"
    assert "is empty" in refusal(b"", compression).message


def test_a_checksum_that_does_not_match_is_refused():
    packed = bytearray(gzip.compress(CSV))
    packed[-8] ^= 1
    assert refusal(bytes(packed), Compression.GZIP).problem_code == "corrupt-archive"
    archive = bytearray(zipped({"a.csv": CSV}, zipfile.ZIP_STORED))
    archive[60] ^= 1
    assert refusal(bytes(archive), Compression.ZIP).problem_code == "corrupt-archive"


@pytest.mark.parametrize("compression", ALL)
def test_the_store_s_errors_pass_through(compression: Compression):
    packed = compressed(bytes(range(256)) * 40, compression)

    def parts() -> Iterator[bytes]:
        yield packed[: len(packed) // 2]
        raise ObjectChanged("replaced")

    with pytest.raises(ObjectChanged):
        list(expanded(parts(), compression))


def test_other_contents_are_named():
    wrong = {
        "plain": (CSV, Compression.GZIP, "Remove .gz"),
        "zip as gz": (zipped({"a": CSV}), Compression.GZIP, "a zip archive. Rename it to .zip"),
        "gz as zst": (gzip.compress(CSV), Compression.ZSTD, "gzip data. Rename it to .gz"),
        "xlsx as zip": (
            zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}),
            Compression.ZIP,
            "an Excel workbook (.xlsx). Rename it to .xlsx",
        ),
    }
    for content, compression, hint in wrong.values():
        found = refusal(content, compression)
        assert found.problem_code == "wrong-format"
        assert hint in found.message


# -- zip


def test_system_files_and_folders_of_an_archive_are_ignored():
    archive = zipped(
        {"a/": b"", "a/rows.csv": CSV, "__MACOSX/a/._rows.csv": b"x", "a/.DS_Store": b"x"}
    )
    assert expand(archive, Compression.ZIP) == CSV


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a.csv": CSV, "b.csv": CSV}, "2: a.csv, b.csv."),
        ({"a/": b""}, "contains none"),
        ({f"{n}.csv": b"" for n in range(9)}, "9: 0.csv, 1.csv, 2.csv and 6 more"),
    ],
)
def test_an_archive_must_contain_one_file(files: dict[str, bytes], found: str):
    refused = refusal(zipped(files), Compression.ZIP)
    assert refused.problem_code == "unsupported-archive"
    assert found in refused.message


def test_a_file_without_a_name_does_not_count():
    refused = refusal(zip_of({"": CSV}, Random(0)), Compression.ZIP)  # noqa: S311
    assert "contains none" in refused.message
    assert expand(zip_of({"": b"x", "a.csv": CSV}, Random(0)), Compression.ZIP) == CSV  # noqa: S311


def test_a_protected_archive_is_refused():
    packed = bytearray(zipped({"a.csv": CSV}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + offset] |= 1
    refused = refusal(bytes(packed), Compression.ZIP)
    assert refused.problem_code == "encrypted-archive"
    assert "password" in refused.message


def test_other_compression_methods_in_an_archive_are_refused():
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused = refusal(zipped({"a.csv": CSV}, method), Compression.ZIP)
        assert refused.problem_code == "unsupported-archive"
        assert "deflate" in refused.message
        with pytest.raises(FileError, match="unsupported-archive"):
            unpack(zipped({"a.csv": CSV}, method), "zip")


def test_an_archive_in_the_large_format_is_read():
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w", force_zip64=True) as member,
    ):
        member.write(CSV)
    assert expand(buffer.getvalue(), Compression.ZIP) == CSV


def test_an_index_of_many_files_is_not_read():
    name = b"n" * 20
    entry = struct.pack("<4s42x", b"PK\x01\x02")[:28] + struct.pack("<H16x", len(name)) + name
    index = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(index), 30, 0)
    refused = refusal(b"PK\x03\x04" + bytes(26) + index + end, Compression.ZIP)
    assert refused.problem_code == "unsupported-archive"
    assert "10,000 files" in refused.message


def test_data_that_the_index_does_not_name_is_refused():
    refused = refusal(zipped({"a.csv": CSV}) + zipped({"b.csv": CSV}), Compression.ZIP)
    assert refused.problem_code == "corrupt-archive"


# -- limits


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.BZIP2, Compression.ZSTD])
def test_content_that_expands_too_much_is_refused(compression: Compression):
    packed = compressed(bytes(1 << 20), compression) * 200
    refused = refusal(packed, compression)
    assert refused.problem_code == "archive-too-large"
    assert "expand to more than 500 times" in refused.message
    assert len(expand(packed[: len(packed) // 200] * 60, compression)) == 60 << 20 < FREE_BYTES


def address_bytes() -> int:
    """The size of the address space of this process."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("compression", ALL)
def test_damaged_files_leave_no_memory_behind(compression: Compression):
    packed = compressed(CSV, compression)[:-3]
    before = 0
    for turn in range(200):
        before = address_bytes() if turn == 1 else before
        with suppress(RefusedObject):
            expand(packed, compression)
    assert address_bytes() - before < 50 << 20


def test_content_is_limited_by_the_setting():
    packed = gzip.compress(CSV)
    assert b"".join(expanded([packed], Compression.GZIP, ExpansionLimits(len(CSV)))) == CSV
    with pytest.raises(RefusedObject, match="EXPANDED_MAX_SIZE") as caught:
        list(expanded([packed], Compression.GZIP, ExpansionLimits(len(CSV) - 1)))
    assert caught.value.problem_code == "archive-too-large"


# -- rows


@pytest.mark.parametrize("compression", ALL)
def test_rows_of_a_compressed_file_are_those_of_the_file(compression: Compression):
    packed = compressed(CSV, compression)
    source = source_of(f"a.csv.{compression}", packed)
    parts = expanded_parts(source, READ, cut(packed, [100]))
    (extract, *more) = [one for one in read_object(source, READ, None, parts) if len(one.rows)]
    assert not more
    assert extract.rows_read == {source.key: 500}
    assert extract.rows["_source_line"].to_pylist() == list(range(2, 502))


def test_utf16_without_a_mark_is_found_in_compressed_files():
    text = CSV.decode().encode("utf-16-le")
    packed = gzip.compress(text)[:-1] + gzip.compress(text)[-1:]
    source = source_of("a.csv.gz", packed)
    checked = check_object(source, READ, lambda: iter([packed]), date(2026, 1, 1))
    assert (checked.rows_read, checked.problems) == (500, [])


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (gzip.compress(gzip.compress(CSV)), "Compress the file once only."),
        (gzip.compress(zipped({"a.csv": CSV})), "Compress the file once only."),
        (gzip.compress(b"PAR1\x15\x04\x15"), "seems to be a Parquet file"),
    ],
    ids=["gz in gz", "zip in gz", "Parquet in gz"],
)
def test_the_content_of_a_compressed_file_must_be_of_its_format(content: bytes, hint: str):
    source = source_of("a.csv.gz", content)
    checked = check_object(source, READ, lambda: iter([content]), date(2026, 1, 1))
    (problem,) = checked.problems
    assert problem.code == "wrong-format"
    assert hint in problem.note


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (gzip.compress(CSV), "Add .gz to its name, or expand it."),
        (bz2.compress(CSV), "Add .bz2 to its name, or expand it."),
        (compressed(CSV, Compression.ZSTD), "Add .zst to its name, or expand it."),
        (zipped({"a.csv": CSV}), "Add .zip to its name, or expand it."),
        (zipped({"[Content_Types].xml": b""}), "Rename it to .xlsx, or export it as csv."),
        (b"PAR1\x15\x04\x15\x10", "seems to be a Parquet file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "save it as .xlsx"),
        (b'\n [ {"sensor": 1}]', "seems to be a JSON array"),
        (b'\xef\xbb\xbf{"sensor": "a"}\n', "seems to be JSON"),
        (b"<!DOCTYPE html><html><body>Sign in", "may be a login page"),
        (b"<?xml version='1.0'?><rows/>", "seems to be XML"),
    ],
)
def test_a_csv_that_is_something_else_is_named(content: bytes, hint: str):
    source = source_of("a.csv", content)
    checked = check_object(source, READ, lambda: cut(content, [3]), date(2026, 1, 1))
    (together,) = read_files([file_of("a.csv", content)], READ)
    for (problem,) in (checked.problems, together.problems):
        assert problem.code == "wrong-format"
        assert hint in problem.note


@pytest.mark.parametrize(
    "content", [b"PAR1,sensor\n1,t\n", b"[x],sensor\n1,t\n", b"BZh9,sensor\n1,t\n", b"{x},sensor\n"]
)
def test_a_header_that_only_looks_like_a_signature_is_read(content: bytes):
    (extract,) = read_files([file_of("a.csv", content)], READ)
    assert "wrong-format" not in [problem.code for problem in extract.problems]


def file_of(key: str, content: bytes) -> SourceFile:
    return SourceFile(source_of(key, content), content)

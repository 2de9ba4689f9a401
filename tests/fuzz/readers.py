"""A fuzzer of each reader: from a seed and a number to the same files each time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from tests.fuzz import corpus, tokens
from tests.fuzz.columns import ColumnFuzzer
from tests.fuzz.containers import packed, with_attribute, with_zip_fields, zip_of
from tests.fuzz.describing import check_described
from tests.fuzz.lake import LAKE, lake_files
from tests.fuzz.laws import check_alone, check_together
from tests.fuzz.mutations import Mutator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etl.model.dataset import Dataset
    from tests.fuzz.corpus import Sample

_SAMPLES = 60
_TOGETHER = 64
_KEYS = ("in/Ulm/a", "in/7/a", "a", "in/\u00fc/'a")
_ALONE = 0.03  # of the files of text


class Case(Protocol):
    """Files to read, and how."""

    @property
    def files(self) -> Sequence[tuple[str, bytes]]:
        """Keys and contents."""

    def check(self) -> None:
        """Raise unless the result is as it must be."""


class Fuzzer(Protocol):
    """Makes cases."""

    def case(self, rnd: Random) -> Case:
        """The case that the numbers choose."""


@dataclass(frozen=True)
class AloneCase:
    """One file, in parts."""

    dataset: Dataset
    files: Sequence[tuple[str, bytes]]
    cuts: Sequence[int]
    is_verified: bool

    def check(self) -> None:
        for key, content in self.files:
            check_alone(self.dataset, key, content, self.cuts, is_verified=self.is_verified)


@dataclass(frozen=True)
class TogetherCase:
    """Small files that are read together."""

    dataset: Dataset
    files: Sequence[tuple[str, bytes]]

    def check(self) -> None:
        check_together(self.dataset, self.files)


@dataclass(frozen=True)
class DescribedCase:
    """Files that are described."""

    files: Sequence[tuple[str, bytes]]

    def check(self) -> None:
        check_described(dict(self.files))


class FileFuzzer(ABC):
    """Damages samples of one format; `extension` is that of their keys."""

    verified = 1.0  # of the files that are read alone

    def __init__(self, extension: str) -> None:
        self._extension = extension
        self._samples: list[Sample] = []

    def case(self, rnd: Random) -> Case:
        """One file."""
        return self._alone(self._chosen(rnd), rnd)

    @abstractmethod
    def content(self, sample: Sample, rnd: Random) -> bytes:
        """The content of a damaged file."""

    def key(self, rnd: Random) -> str:
        """The key of a file."""
        return f"{rnd.choice(_KEYS)}.{self._extension}"

    def _chosen(self, rnd: Random) -> Sample:
        return rnd.choice(self._samples)

    def _alone(self, sample: Sample, rnd: Random) -> Case:
        content = self.content(sample, rnd)
        cuts = []
        if rnd.random() < 0.4:
            cuts = [rnd.randrange(len(content) + 1) for _ in range(rnd.choice((1, 1, 2, 6)))]
        is_verified = rnd.random() < self.verified
        return AloneCase(sample.dataset, [(self.key(rnd), content)], cuts, is_verified)


class TextFuzzer(FileFuzzer):
    """Damages texts; most are read together with others of their dataset."""

    def __init__(
        self,
        extension: str,
        of: Callable[[Dataset, Random], bytes],
        pieces: Sequence[bytes],
        seed: Random,
        member: str | None = None,
    ) -> None:
        super().__init__(extension)
        self._datasets = corpus.datasets(seed, 12, member)
        if extension not in {"csv", "tsv"}:
            del self._datasets[0]  # users are CSV
        self._samples = corpus.samples(of, self._datasets, seed, _SAMPLES)
        self._pieces = pieces
        self._contents = [one.content for one in self._samples]

    def case(self, rnd: Random) -> Case:
        if rnd.random() < _ALONE * _TOGETHER / (1 + _ALONE * (_TOGETHER - 1)):
            return self._alone(self._chosen(rnd), rnd)
        sample = self._chosen(rnd)
        alike = [one for one in self._samples if one.dataset is sample.dataset]
        files = []
        for place in range(_TOGETHER):
            stem, _, extension = self.key(rnd).partition(".")
            files.append((f"{stem}{place}.{extension}", self.content(rnd.choice(alike), rnd)))
        return TogetherCase(sample.dataset, files)

    def content(self, sample: Sample, rnd: Random) -> bytes:
        if rnd.random() < 0.04:
            return sample.content
        mutator = Mutator(rnd, self._pieces, self._contents)
        found = mutator.mutated(sample.content)
        return mutator.encoded(found) if rnd.random() < 0.04 else found


class PackedFuzzer(TextFuzzer):
    """Damages texts, what they are compressed to, or both."""

    def __init__(self, compression: str, seed: Random) -> None:
        super().__init__(f"csv.{compression}", corpus.csv_of, tokens.CSV, seed)
        self._compression = compression

    def content(self, sample: Sample, rnd: Random) -> bytes:
        plain = super().content(sample, rnd) if rnd.random() < 0.3 else sample.content
        found = packed(plain, self._compression, rnd)
        kind = rnd.random()
        if kind < 0.15:
            return found
        if self._compression == "zip" and kind < 0.6:
            return with_zip_fields(found, rnd)
        return Mutator(rnd, tokens.BYTES, [sample.content]).mutated(found)


class ParquetFuzzer(FileFuzzer):
    """Damages footers, headers of pages and pages."""

    verified = 0.1

    def __init__(self, seed: Random) -> None:
        super().__init__("parquet")
        known = corpus.datasets(seed, 12)[1:]
        found = corpus.samples(corpus.parquet_of, known, seed, _SAMPLES)
        found += [corpus.Sample(LAKE, content) for content in lake_files()]
        self._samples = list(map(corpus.with_structure, found))
        self._contents = [one.content for one in self._samples]

    def content(self, sample: Sample, rnd: Random) -> bytes:
        assert sample.parquet is not None
        return sample.parquet.mutated(Mutator(rnd, tokens.BYTES, self._contents), rnd)


class XlsxFuzzer(FileFuzzer):
    """Damages the XML in workbooks, records of their archives, or anything."""

    verified = 0.02  # which takes its time

    def __init__(self, seed: Random) -> None:
        super().__init__("xlsx")
        known = corpus.datasets(seed, 10)[1:]
        found = corpus.samples(corpus.xlsx_of, known, seed, _SAMPLES // 3)
        self._samples = list(map(corpus.with_structure, found))

    def content(self, sample: Sample, rnd: Random) -> bytes:
        assert sample.parts is not None
        kind = rnd.random()
        if kind < 0.1:
            return with_zip_fields(zip_of(sample.parts, rnd), rnd)
        if kind < 0.15:
            return Mutator(rnd, tokens.BYTES).mutated(sample.content)
        parts = dict(sample.parts)
        for _ in range(rnd.choice((1, 1, 1, 2))):
            sheets = [name for name in parts if "sheet" in name.lower()]
            name = rnd.choice(sheets if sheets and rnd.random() < 0.7 else [*parts])
            if rnd.random() < 0.4:
                parts[name] = with_attribute(parts[name], rnd)
            else:
                parts[name] = Mutator(rnd, tokens.XML, [*parts.values()]).mutated(parts[name])
        if rnd.random() < 0.05:
            name = rnd.choice([*parts])
            part = parts.pop(name)
            parts |= {rnd.choice((name.upper(), f"/{name}", "x.xml")): part}
        return zip_of(parts, rnd)


class DescribeFuzzer:
    """Describes files of each format, damaged or not."""

    def __init__(self, seed: Random) -> None:
        self._fuzzers: list[FileFuzzer] = [
            TextFuzzer("csv", corpus.csv_of, tokens.CSV, seed),
            TextFuzzer("tsv", _tsv_of, tokens.CSV, seed),
            TextFuzzer("ndjson", corpus.ndjson_of, tokens.JSON, seed),
            TextFuzzer("json", corpus.json_of, tokens.JSON, seed),
            TextFuzzer("json", corpus.json_of, tokens.JSON, seed, "data"),
            PackedFuzzer("gz", seed),
            ParquetFuzzer(seed),
            XlsxFuzzer(seed),
        ]

    def case(self, rnd: Random) -> Case:
        fuzzer = rnd.choice(self._fuzzers)
        count = rnd.choice((1, 2, 4, 8))
        files = []
        for place in range(count):
            (key, content), *_ = FileFuzzer.case(fuzzer, rnd).files
            stem, _, extension = key.partition(".")
            files.append((f"{stem}{place}.{extension}", content))
        return DescribedCase(files)


def _tsv_of(dataset: Dataset, rnd: Random) -> bytes:
    return corpus.csv_of(dataset, rnd, "\t")


FUZZERS: dict[str, Callable[[Random], Fuzzer]] = {
    "csv": lambda seed: TextFuzzer("csv", corpus.csv_of, tokens.CSV, seed),
    "tsv": lambda seed: TextFuzzer("tsv", _tsv_of, tokens.CSV, seed),
    "ndjson": lambda seed: TextFuzzer("ndjson", corpus.ndjson_of, tokens.JSON, seed),
    "json": lambda seed: TextFuzzer("json", corpus.json_of, tokens.JSON, seed),
    "json-member": lambda seed: TextFuzzer("json", corpus.json_of, tokens.JSON, seed, "data"),
    "parquet": ParquetFuzzer,
    "xlsx": XlsxFuzzer,
    "gz": lambda seed: PackedFuzzer("gz", seed),
    "zst": lambda seed: PackedFuzzer("zst", seed),
    "bz2": lambda seed: PackedFuzzer("bz2", seed),
    "zip": lambda seed: PackedFuzzer("zip", seed),
    "describe": DescribeFuzzer,
    "types": ColumnFuzzer,
}

"""No input makes a reader fail, hang or lose a row, and the fuzzers notice one that does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fuzz import supervision
from tests.fuzz.readers import FUZZERS
from tests.fuzz.supervision import Report, case_of, fuzz, fuzzer_of

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    """Run the fuzzers in their own process, and return what they print about their findings."""
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)  # noqa: T201 - inputs and times, for those who run the long form
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def test_readers_survive_some_damaged_files():
    assert not run("--inputs", "300")


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("reader", FUZZERS)
def test_readers_survive_many_damaged_files(reader: str):
    assert not run(reader, "--inputs", "200000", "--seed", "2")


@pytest.mark.parametrize("reader", FUZZERS)
def test_a_case_is_the_same_each_time(reader: str):
    cases = [case_of(reader, 5, number, fuzzer_of(reader, 5)) for number in (0, 1, 1)]
    assert cases[1].files == cases[2].files
    assert cases[0].files != cases[1].files


@dataclass(frozen=True)
class BadCase:
    """A case that does what no reader may do."""

    number: int
    files: list[tuple[str, bytes]] = field(default_factory=lambda: [("a", b"")])

    def check(self) -> None:
        match self.number:
            case 2:
                raise ValueError("wrong")
            case 4:
                os.kill(os.getpid(), signal.SIGKILL)
            case 6:
                while True:
                    pass
            case 8:
                b"x" * (64 << 20)
            case 10:
                sum(range(5_000_000))


def test_fuzzers_find_exceptions_crashes_hangs_memory_and_slowness(
    monkeypatch: pytest.MonkeyPatch,
):
    def numbered(reader: str, seed: int, number: int, fuzzer: object = None) -> BadCase:
        del reader, seed, fuzzer
        return BadCase(number)

    monkeypatch.setattr(supervision, "fuzzer_of", lambda *_: None)
    monkeypatch.setattr(supervision, "case_of", numbered)
    monkeypatch.setattr(supervision, "MOST_SECONDS", 0.02)
    monkeypatch.setattr(supervision, "MOST_GROWTH", 16 << 20)
    monkeypatch.setattr(supervision, "KILL_SECONDS", 0.5)
    report: Report = fuzz("bad", 1, 12)
    found = {one.number: one.what for one in report.findings}
    assert report.cases == 12
    assert found.pop(2).startswith("ValueError at ")
    assert {number: what for number, what in found.items() if number != 8} == {
        4: "the process ended: SIGKILL",
        6: "the process ended: no end after 0.5 s",
        10: "slow",
    }
    assert "memory" in {one.what for one in report.findings if one.number == 8}

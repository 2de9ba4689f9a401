"""Run cases in a forked process, so that one that ends or stops it is found, and the rest run."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import pickle
import resource
import signal
import struct
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, BinaryIO

from tests.fuzz.readers import FUZZERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fuzz.readers import Case, Fuzzer

MOST_SECONDS = 1.0  # of CPU time, for one case
MOST_GROWTH = 200 << 20  # bytes of memory that one case needs
KILL_SECONDS = 10.0  # after which a case that runs on is ended
_ADDRESS_BYTES = 6 << 30
_TRIES = 3  # for a slow case, because other processes make caches cold
_PROGRESS = struct.Struct("<QQd")  # cases, inputs, CPU seconds


@dataclass(frozen=True)
class Finding:
    """A case that broke a law: its number, what happened, and where."""

    number: int
    what: str
    details: str = ""


@dataclass
class Report:
    """The cases and inputs that one fuzzer made, how long they took, and what they found."""

    reader: str
    seed: int
    cases: int = 0
    inputs: int = 0
    cpu_seconds: float = 0.0
    slowest_seconds: float = 0.0
    slowest_case: int = 0
    peak_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """The report in one line."""
        return (
            f"{self.reader:12} {self.inputs:8,} inputs  {self.cpu_seconds:7.1f} s CPU  "
            f"slowest {self.slowest_seconds * 1000:6.1f} ms (case {self.slowest_case})  "
            f"peak {self.peak_bytes >> 20:4} MB  {self.kinds.total()} findings"
        )


def case_of(reader: str, seed: int, number: int, fuzzer: Fuzzer | None = None) -> Case:
    """The case with this number; the same each time."""
    made = fuzzer_of(reader, seed) if fuzzer is None else fuzzer
    return made.case(Random(f"{reader} {seed} {number}"))


def fuzzer_of(reader: str, seed: int) -> Fuzzer:
    """The fuzzer of the reader, with its samples."""
    return FUZZERS[reader](Random(f"{reader} {seed}"))


def fuzz(reader: str, seed: int, inputs: int) -> Report:
    """Check cases until there are so many inputs."""
    report = Report(reader, seed)
    current = mmap.mmap(-1, _PROGRESS.size)
    while report.inputs < inputs:
        read_end, write_end = os.pipe()
        supervisor, worker = os.getpid(), os.fork()
        if worker == 0:
            os.close(read_end)
            _work(report, inputs, current, write_end, supervisor)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            report = _received(pipe, report)
        _, status = os.waitpid(worker, 0)
        if status:
            number, report.inputs, report.cpu_seconds = _PROGRESS.unpack(current[:])
            _add(report, Finding(number, f"the process ended: {_end_of(status)}"))
            report.cases = number + 1
            report.inputs += 1
    return report


def _received(pipe: BinaryIO, report: Report) -> Report:
    """The last report that the worker sent before its end."""
    while True:
        try:
            report = pickle.load(pipe)  # noqa: S301 - of our own process
        except (EOFError, pickle.UnpicklingError):
            return report


def _end_of(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exit code {os.WEXITSTATUS(status)}"
    end = signal.Signals(os.WTERMSIG(status))
    return f"no end after {KILL_SECONDS:g} s" if end is signal.SIGPROF else end.name


def _work(report: Report, inputs: int, current: mmap.mmap, pipe: int, supervisor: int) -> None:
    """Check cases, and end this process, also when the supervisor has ended."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_BYTES, _ADDRESS_BYTES))
    warnings.simplefilter("error")
    code = 1
    try:
        fuzzer = fuzzer_of(report.reader, report.seed)
        gc.collect()
        gc.freeze()
        _return_free_memory()
        began = time.process_time() - report.cpu_seconds
        with os.fdopen(pipe, "wb") as to:
            while report.inputs < inputs and os.getppid() == supervisor:
                current[:] = _PROGRESS.pack(report.cases, report.inputs, report.cpu_seconds)
                known = report.kinds.total()
                _check_next(report, fuzzer)
                report.cpu_seconds = time.process_time() - began
                if report.kinds.total() > known or report.inputs >= inputs:
                    pickle.dump(report, to)
                    to.flush()
        code = 0
    except BaseException:  # noqa: BLE001 - of the fuzzer itself
        traceback.print_exc()
    finally:
        os._exit(code)


def _check_next(report: Report, fuzzer: Fuzzer) -> None:
    number = report.cases
    case = case_of(report.reader, report.seed, number, fuzzer)
    _forget_peak()
    before = _peak()
    signal.setitimer(signal.ITIMER_PROF, KILL_SECONDS)
    seconds = _seconds(case, number, report)
    if seconds > MOST_SECONDS:
        seconds = min([seconds, *(_seconds(case, number, Report("", 0)) for _ in range(_TRIES))])
        if seconds > MOST_SECONDS:
            _add(report, Finding(number, "slow", f"{seconds:.1f} s"))
    signal.setitimer(signal.ITIMER_PROF, 0)
    peak = _peak()
    report.peak_bytes = max(report.peak_bytes, peak)
    if peak - before > MOST_GROWTH:
        _add(report, Finding(number, "memory", f"{peak - before >> 20} MB more"))
    if seconds > report.slowest_seconds:
        report.slowest_seconds, report.slowest_case = seconds, number
    report.cases += 1
    report.inputs += len(case.files)


def _seconds(case: Case, number: int, report: Report) -> float:
    """How long the check takes; what it raises is a finding."""
    began = time.process_time()
    try:
        case.check()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a Rust extension's panic is no Exception
        _add(report, Finding(number, _kind(error), traceback.format_exc()))
    return time.process_time() - began


def _kind(error: BaseException) -> str:
    """The exception, and the last of our lines that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if "/etl/" in one.filename] or frames
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].name}: {text}"


def _add(report: Report, finding: Finding) -> None:
    """Keep the first findings of each kind."""
    kind = finding.what.partition(": ")[0]
    report.kinds[kind] += 1
    if report.kinds[kind] <= _TRIES:
        report.findings.append(finding)


def _return_free_memory() -> None:
    """Let a case that fills memory which its parent has freed raise the peak as well."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def _forget_peak() -> None:
    """Let the peak be the memory of now: a fork begins with all that its parent had in use."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def save(reader: str, seed: int, findings: Sequence[Finding], folder: Path) -> None:
    """Write the files of the findings into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    fuzzer = fuzzer_of(reader, seed)
    for finding in findings:
        case = case_of(reader, seed, finding.number, fuzzer)
        for place, (key, content) in enumerate(case.files):
            _, _, extension = key.rpartition("/")[2].partition(".")
            name = f"{reader}-{seed}-{finding.number}-{place}.{extension[:20]}"
            (folder / name).write_bytes(content)

"""Fuzz the readers: `python -m tests.fuzz parquet xlsx --inputs 200000 --seed 1`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.readers import FUZZERS
from tests.fuzz.supervision import case_of, fuzz, save


def main() -> int:
    """Print a line for each reader and its findings; the exit code is 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", default=list(FUZZERS), metavar="READER")
    parser.add_argument("--inputs", type=int, default=10_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="check this case only, in this process")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="for the files of findings")
    given = parser.parse_args()
    is_good = True
    for reader in given.readers:
        if given.case is not None:
            case = case_of(reader, given.seed, given.case)
            for key, content in case.files:
                print(key, content[:2_000])
            case.check()
            continue
        report = fuzz(reader, given.seed, given.inputs)
        print(report.line(), flush=True)
        for kind, count in report.kinds.most_common():
            print(f"  {count:6} of {kind}", flush=True)
        for finding in report.findings:
            print(f"--- case {finding.number}: {finding.what}\n{finding.details}", flush=True)
        if report.findings and given.save is not None:
            save(reader, given.seed, report.findings, given.save)
        is_good &= not report.findings
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

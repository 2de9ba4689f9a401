"""Parse the CSVs of a dataset into text cells with line numbers.

header    header line -> columns, delimiter  encoding  bytes -> lines of text
quoting   the grammar of one record          records   full parser: one record at a time
plain     fast path: files joined as one     parse     chooses the path for each file
chunks    a huge file, chunk by chunk         ranges    a huge file, in parts on several machines
"""

from __future__ import annotations

from etl.read.csv.chunks import ChunkReader
from etl.read.csv.parse import parse, parse_fully

__all__ = ["ChunkReader", "parse", "parse_fully"]

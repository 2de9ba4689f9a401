"""Parse user CSVs into text cells with line numbers.

encoding  bytes -> lines of text             dialect    header line -> columns, delimiter
plain     fast path: files joined as one     records    full parser: one record at a time
quoting   the grammar of one record          collect    rows and problems as they are found
parse     chooses the path for each file     chunks     a huge file, chunk by chunk
notices   warnings, one per code and file
"""

from __future__ import annotations

from etl.read.csv.chunks import ChunkReader, undecodable
from etl.read.csv.collect import MOST_PROBLEMS, first_of_each
from etl.read.csv.parse import Extract, parse, parse_fully, sort_problems

__all__ = [
    "MOST_PROBLEMS",
    "ChunkReader",
    "Extract",
    "first_of_each",
    "parse",
    "parse_fully",
    "sort_problems",
    "undecodable",
]

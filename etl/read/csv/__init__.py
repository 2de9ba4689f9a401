"""Parse the CSVs of a dataset into text cells with line numbers.

layout    columns and limits of a dataset    header     header line -> columns, delimiter
encoding  bytes -> lines of text             quoting    the grammar of one record
plain     fast path: files joined as one     records    full parser: one record at a time
collect   rows and problems as they are      repeated   headers within the rows
          found                              notices    warnings, one per code and file
storable  cells that PostgreSQL rejects      table      blocks of cells -> columns of the dataset
parse     chooses the path for each file     chunks     a huge file, chunk by chunk
"""

from __future__ import annotations

from etl.read.csv.chunks import ChunkReader, undecodable
from etl.read.csv.collect import MOST_PROBLEMS, first_of_each
from etl.read.csv.layout import AddedColumns
from etl.read.csv.parse import Extract, parse, parse_fully, sort_problems

__all__ = [
    "MOST_PROBLEMS",
    "AddedColumns",
    "ChunkReader",
    "Extract",
    "first_of_each",
    "parse",
    "parse_fully",
    "sort_problems",
    "undecodable",
]

"""Bytes of user CSVs to text cells with line numbers: encoding, dialect, quotes, ragged rows.

encoding  bytes -> lines of text             dialect  the header line -> columns, delimiter
plain     many plain files, read as one      records  any file, one record at a time
quoting   the grammar of one record          collect  rows and problems as they are found
parse     which way each file goes           pieces   a huge file, piece by piece
notices   oddities, one warning each         safe_text  values fit to be shown
"""

from __future__ import annotations

from etl.read.csv.collect import MOST_PROBLEMS, first_of_each
from etl.read.csv.parse import Extract, parse, parse_carefully, sort_problems
from etl.read.csv.pieces import PieceReader, undecodable

__all__ = [
    "MOST_PROBLEMS",
    "Extract",
    "PieceReader",
    "first_of_each",
    "parse",
    "parse_carefully",
    "sort_problems",
    "undecodable",
]

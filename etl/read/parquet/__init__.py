"""Parquet files to rows, in batches of bounded size.

reader   one file, from its parts to its rows    opening  the file, its faults, its columns
plan     how many rows to read at once           pages    sizes of pages, from their headers
thrift   structs of the footer and the headers   columns  Arrow columns -> cells of a block
row_groups  a huge file, in parts on several machines
"""

from __future__ import annotations

from etl.read.parquet.reader import read

__all__ = ["read"]

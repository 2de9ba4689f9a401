"""Parquet files to rows, in batches of bounded size.

reader   one file, from its parts to its rows       opening  the file, its faults, its columns
columns  Arrow columns -> cells of a block
"""

from __future__ import annotations

from etl.read.parquet.reader import read

__all__ = ["read"]

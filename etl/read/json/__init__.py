"""Read NDJSON, JSON arrays of objects, and single JSON objects.

lines    NDJSON in parts -> lines             elements  an array in parts -> its elements
members  the array in a member of an object, also in parts -> its elements
objects  the text of a row -> its members     cells     a value -> the cell of its field
rows     members -> rows of the dataset       reader    reads whole files
"""

from __future__ import annotations

from etl.read.json.reader import parse, read

__all__ = ["parse", "read"]

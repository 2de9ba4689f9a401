"""Verify: recompute the expected state from the bucket, and report every difference from it.

The independent verifier shares no parsing, validation or merge code with runs. It processes one
character and one row at a time, which is slow but easy to review.

globs       patterns of keys, and their values     routes    object key -> dataset
formats     object key -> format and compression   unpack    compressed file -> its content
file        a file and its columns                 rows      cells -> rows and faults
delimited   CSVs; `text`, `header` and `records`   ndjson    JSON; `json_rows`
parquet     Parquet; `arrow_values`                workbook  xlsx
layout      the columns of a dataset               typed     typed values -> texts
cells       cell -> value or faults                reader    file -> rows and faults
expected    files -> expected state                buckets   the source buckets, file by file
tables      current state of the tables            compare   expected and current state
output      published output files                 images    image metadata and thumbnails

`numbers`, `moments`, `birthts`, `documents`, `limits` and `patterns` are the rules of the types.
"""

from __future__ import annotations

from etl.verify.check import verify
from etl.verify.difference import Difference

__all__ = ["Difference", "verify"]

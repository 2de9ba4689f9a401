"""Verify: recompute the expected state from the bucket, and report every difference from it.

The independent verifier shares no parsing, validation or merge code with runs. It processes one
character and one row at a time, which is slow but easy to review.

names     object key -> kind and user_id      text      bytes -> text, line by line
records   text -> cells                       header    column names and delimiter
birthts   cell -> milliseconds                reader    file -> rows and faults
expected  files -> expected state             store     current state of the buckets
tables    current state of the tables         compare   expected and current state
images    image metadata and thumbnails       check     verify(): all of these steps
"""

from __future__ import annotations

from etl.verify.check import verify
from etl.verify.compare import Difference
from etl.verify.expected import Expected, ExpectedUser, expect

__all__ = ["Difference", "Expected", "ExpectedUser", "expect", "verify"]

"""Verify: recompute the expected state from the bucket, and report every difference from it.

An independent verifier that shares no parsing, checking or merging code with runs. It goes one
character and one row at a time, so that it can be checked by eye. It is slow on purpose.

names     what a key says                     text      bytes -> text, line by line
records   text -> cells                       header    columns, and what cuts them
birthts   a cell -> milliseconds              reader    a file -> rows and faults
expected  files -> what ought to be there     store     the buckets, as they are now
found     the tables, as they are now         compare   expected against found
pictures  what is known of images, and thumbnails
check     all of it: verify()
"""

from __future__ import annotations

from etl.verify.check import verify
from etl.verify.compare import Difference
from etl.verify.expected import Expected, ExpectedUser, expect

__all__ = ["Difference", "Expected", "ExpectedUser", "expect", "verify"]

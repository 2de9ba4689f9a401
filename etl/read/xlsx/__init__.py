"""Read the rows of one sheet of a workbook.

workbook  the parts of a workbook: its sheets, checked sizes   scan    cells without a value, errors
cells     typed cells -> texts of a field                       reader  rows and problems

calamine reads the values of a sheet, which it holds in memory as a whole, so the sizes are limited.
It returns nothing for an error or for a formula without a stored value, not even a row or column of
the latter at the margin; `scan` finds these.
"""

from __future__ import annotations

from etl.read.xlsx.reader import read

__all__ = ["read"]

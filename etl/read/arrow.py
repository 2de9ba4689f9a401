"""Operations on Arrow columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The characters that str.strip() removes; a test compares the two.
WHITESPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def is_text(cells: pa.ChunkedArray) -> bool:
    """Whether the cells are texts, not values of a type."""
    return bool(cells.type == pa.large_string())


def to_mask(condition: pa.ChunkedArray) -> NDArray[np.bool_]:
    """A column of booleans without nulls as a mask for `numpy` arrays."""
    mask: NDArray[np.bool_] = condition.to_numpy(zero_copy_only=False)
    return mask


def strip(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts, stripped like str.strip()."""
    return pc.utf8_trim(texts, characters=WHITESPACE)

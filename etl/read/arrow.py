"""Conversions from Arrow to NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def to_mask(condition: pa.ChunkedArray) -> NDArray[np.bool_]:
    """A column of booleans without nulls as a mask for `numpy` arrays."""
    mask: NDArray[np.bool_] = condition.to_numpy(zero_copy_only=False)
    return mask

"""How large the content of one object may be when it is expanded."""

from __future__ import annotations

from dataclasses import dataclass

from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode

EXPANDED_MAX_SIZE = 100_000_000_000
MOST_RATIO = 500  # of expanded to compressed bytes; gzip reaches 1,032 with one repeated byte
FREE_BYTES = 64 << 20  # of expanded content, for which the ratio does not matter


@dataclass(frozen=True)
class ExpansionLimits:
    """The limits of one object: bytes of the expanded content of a compressed file or workbook."""

    expanded_bytes: int = EXPANDED_MAX_SIZE

    def allow(self, expanded: int, compressed: int) -> bool:
        """Whether content may have expanded to that many bytes from `compressed` ones."""
        if expanded > self.expanded_bytes:
            return False
        return expanded <= FREE_BYTES or expanded <= MOST_RATIO * compressed


DEFAULT_LIMITS = ExpansionLimits()


def too_large(expanded: int, compressed: int, limits: ExpansionLimits) -> RefusedObject:
    """The refusal of content that expands to more than the limits allow."""
    if expanded > limits.expanded_bytes:
        hint = (
            f"The content is larger than the {limits.expanded_bytes:,} bytes that EXPANDED_MAX_SIZE"
            " allows. Split the file, or raise the setting."
        )
    else:
        hint = (
            f"The first {compressed:,} bytes of the file expand to more than {MOST_RATIO} times as "
            "many, as archives do that are made to fill memory and disks. If the data are genuine, "
            "upload the file without compression."
        )
    return RefusedObject(ProblemCode.ARCHIVE_TOO_LARGE, hint)

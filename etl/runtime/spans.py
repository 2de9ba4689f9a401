"""What a trace consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Attributes: TypeAlias = "Mapping[str, str | int | float | bool]"


class TraceSpan(NamedTuple):
    """What has ended: times in nanoseconds since 1970. `error` is why it failed, if it did."""

    name: str
    began_at: int
    ended_at: int
    attributes: Attributes
    error: str | None = None

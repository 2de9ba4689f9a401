"""Where work runs: threads here, and the one place to change when it should run elsewhere."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> list[Result]:
    """Do the work on every item, `threads` at a time; results in the items' order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def map_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Results in the items' order, up to `ahead` of them worked on before they are asked for.

    What is done ahead bounds memory: no more than `ahead` results wait at any time.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

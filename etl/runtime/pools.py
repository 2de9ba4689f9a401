"""Thread pools that work on many items. To run work elsewhere, change only this module."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import TypeAlias

Item = TypeVar("Item")
Result = TypeVar("Result")
if TYPE_CHECKING:
    _Step: TypeAlias = tuple[Result, Iterator[Result]] | None


def map_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int | Callable[[], int]
) -> list[Result]:
    """Call `work` with every item, `threads` at a time; results in the items' order.

    A function `threads` is called again after each item, and may return more than before. The
    threads share one iterator, because a future per item would cost as much as a tiny fetch. After
    a failure no more items are started.
    """
    given = list(items)
    results: list[Any] = [None] * len(given)
    waiting = iter(enumerate(given))
    workers: list[Future[None]] = []
    adding = Lock()

    def wanted() -> int:
        return min(threads() if callable(threads) else threads, len(given))

    def add_workers() -> None:
        with adding:
            workers.extend(pool.submit(work_on) for _ in range(wanted() - len(workers)))

    def work_on() -> None:
        try:
            for position, item in waiting:
                results[position] = work(item)
                if len(workers) < wanted():
                    add_workers()
        except BaseException:
            deque(waiting, maxlen=0)
            raise

    with ThreadPoolExecutor(max(1, len(given))) as pool:
        add_workers()
        for worker in workers:  # which grows until the last of them has ended
            worker.result()
    return results


def map_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
    """Results in the items' order, up to `ahead` of them computed before the caller needs them.

    At most `ahead` results wait while the caller uses one, which bounds memory.
    """
    return flat_map_ahead(lambda item: iter((work(item),)), items, ahead)


def flat_map_ahead(
    work: Callable[[Item], Iterator[Result]], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
    """Like `map_ahead`, for work that returns an iterator of results.

    The next result of an item is computed while the caller uses the previous one. At most that
    result and the first results of `ahead` items wait.
    """
    coming = iter(items)
    waiting: deque[Future[_Step[Result]]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        try:
            while True:
                for item in islice(coming, ahead + 1 - len(waiting)):
                    waiting.append(pool.submit(_first_step, work, item))
                if not waiting:
                    return
                step = waiting.popleft().result()
                if step is None:
                    continue
                result, results = step
                waiting.appendleft(pool.submit(_next_step, results))
                del step
                yield result
                del result
        finally:
            for future in waiting:
                future.cancel()


def _first_step(work: Callable[[Item], Iterator[Result]], item: Item) -> _Step[Result]:
    return _next_step(work(item))


def _next_step(results: Iterator[Result]) -> _Step[Result]:
    """The next result and the iterator of those after it; None at the end."""
    for result in results:
        return result, results
    return None

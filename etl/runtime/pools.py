"""Where work runs: threads here, and the one place to change when it should run elsewhere."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import TypeAlias

Item = TypeVar("Item")
Result = TypeVar("Result")
if TYPE_CHECKING:
    _Step: TypeAlias = tuple[Result, Iterator[Result]] | None


def map_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> list[Result]:
    """Do the work on every item, `threads` at a time; results in the items' order.

    The threads help themselves: a future for each item would cost as much as a tiny fetch.
    After a failure no more items are begun.
    """
    wanted = list(items)
    results: list[Any] = [None] * len(wanted)
    waiting = iter(enumerate(wanted))

    def work_on() -> None:
        try:
            for place, item in waiting:
                results[place] = work(item)
        except BaseException:
            deque(waiting, maxlen=0)
            raise

    with ThreadPoolExecutor(threads) as pool:
        for worker in [pool.submit(work_on) for _ in range(min(threads, len(wanted)))]:
            worker.result()
    return results


def map_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
    """Results in the items' order, up to `ahead` of them worked on before they are asked for.

    What is done ahead bounds memory: no more than `ahead` results wait while one is looked at.
    """
    return flat_map_ahead(lambda item: iter((work(item),)), items, ahead)


def flat_map_ahead(
    work: Callable[[Item], Iterator[Result]], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
    """As `map_ahead`, for work that gives any number of results, one after the other.

    The next result of an item is worked on while the caller looks at the last one, and no more
    than that one and the first results of `ahead` items wait.
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
    """The next result and what gives those after it; None when there is none."""
    for result in results:
        return result, results
    return None

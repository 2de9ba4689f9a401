"""Mark bucket events as handled, in the transaction of the run that synced their objects.

Events of objects that the run could not sync stay pending, and are retried with back-off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from etl.db import events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    from etl.db.events import PendingEvents
    from etl.model.routing import ObjectRoute
    from etl.sync.run import CurrentRun

RouteOf: TypeAlias = "Callable[[str], Callable[[str], ObjectRoute]]"  # by bucket, then by key


def handle_checked(
    run: CurrentRun,
    pending: Mapping[str, PendingEvents],
    route_of: RouteOf,
    failed: Collection[str],
) -> None:
    """Mark the events of an event run, by bucket. It did not commit the `failed` datasets."""
    for bucket, one in pending.items():
        refused = run.stats.unreadable | _keys_of(failed, one.keys, route_of(bucket))
        events.handle(run.connection, one, run.id, refused=refused)


def handle_listed(
    run: CurrentRun, began: Mapping[str, datetime], route_of: RouteOf, failed: Collection[str]
) -> None:
    """Mark the events that a full run covers; `began` is when the listing of each bucket began.

    A run that is limited to some datasets handles none.
    """
    if run.only is not None:
        return
    for bucket, at in began.items():
        if bucket in run.skipped_buckets:
            continue
        if failed:
            covered = events.listed(run.connection, bucket=bucket, began=at)
            refused = _keys_of(failed, covered.keys, route_of(bucket))
            events.handle(run.connection, covered, run.id, refused=refused)
        else:
            events.handle_listed(run.connection, bucket=bucket, began=at, run_id=run.id)


def _keys_of(
    failed: Collection[str], keys: Iterable[str], route: Callable[[str], ObjectRoute]
) -> set[str]:
    """The keys among them of objects that belong to the failed datasets."""
    if not failed:
        return set()
    datasets = ((key, route(key).dataset) for key in keys)
    return {key for key, one in datasets if one is not None and one.name in failed}

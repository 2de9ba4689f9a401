"""The buckets of a run: those that cannot be reached, and those that are no longer sources."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db import events
from etl.db.sql import statements
from etl.model.errors import ConfigurationError, ObjectStoreUnavailable
from etl.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from etl.model.errors import EtlError
    from etl.model.values import Change, SourceObject
    from etl.sync.declared import Declared
    from etl.sync.find import Finder
    from etl.sync.run import CurrentRun

log = get_logger("etl.run")


def check_source(
    connection: Connection, known: Declared, source_bucket: str, stored: Sequence[str]
) -> None:
    """Refuse a SOURCE_BUCKET that is not the one whose objects the tables contain.

    `stored` are the buckets of the manifest. The caller ends the transaction.

    Raises:  ConfigurationError.
    """
    named = {one.bucket for one in known.values}
    for other in (one for one in stored if one not in {source_bucket, *named}):
        found = connection.scalars(
            text(statements("buckets")["datasets_of"]), {"bucket": other}
        ).all()
        of_source = {one.name for one in known.values if not one.bucket}
        wrong = sorted(of_source.intersection(found))
        if wrong:
            raise ConfigurationError(
                f"The tables contain the {wrong[0]} of bucket {other!r},"
                f" but SOURCE_BUCKET is {source_bucket!r}.",
                hint="Set SOURCE_BUCKET back, or use a separate database for the other bucket.",
            )


def wanted(run: CurrentRun, known: Declared, found: Sequence[str], source_bucket: str) -> list[str]:
    """Of the buckets found, those that the run lists: the ones of its datasets."""
    if run.only is None:
        return list(found)
    own = {one.bucket or source_bucket for one in known.values if one.name in run.only}
    return [bucket for bucket in found if bucket in own]


@contextmanager
def skipping(
    run: CurrentRun, known: Declared, bucket: str, listed: Sequence[str]
) -> Iterator[None]:
    """Leave out the datasets of this bucket if it is missing, or cannot be listed or read now.

    An outage of the only bucket fails the run.
    """
    before = run.stats.snapshot()
    try:
        yield
    except (ObjectStoreUnavailable, ConfigurationError) as found:
        error = _naming_datasets(found, known, bucket)
        if len(listed) == 1:
            raise error from found
        log.warning("skipped a bucket", bucket=bucket, reason=error.message, hint=error.hint)
        run.connection.rollback()
        run.stats.restore(before)
        run.skipped_buckets.add(bucket)
        names = [one for one in known.datasets if _is_in(one.dataset.bucket, bucket, known, listed)]
        run.failures.update(dict.fromkeys((one.dataset.name for one in names), error))
        for table in ("staging_object", "staging_problem"):
            run.connection.execute(
                text(f"DELETE FROM {table} WHERE bucket = :bucket"), {"bucket": bucket}
            )
        for one in names:
            run.connection.execute(text(f"TRUNCATE {one.own_staging}"))
            run.successors.leave_out(run.connection, one.dataset.name)
        run.connection.commit()


def look(
    connection: Connection,
    pending: dict[str, events.PendingEvents],
    entries: Mapping[str, Sequence[SourceObject]],
    finder: Callable[[str], Finder],
) -> dict[str, list[Change]]:
    """The changes that the pending events name, by bucket; `entries` are those of the manifest.

    If one of several buckets cannot be read now, it is removed from `pending`. Its events are
    marked as refused, so that they delay no others.

    Raises:  the error of that bucket if no other has pending events.
    """
    changed = {}
    is_only = len(pending) == 1
    for bucket, one in list(pending.items()):
        try:
            known = entries.get(bucket, ())
            changed[bucket] = finder(bucket).named(connection, one.keys, known)
        except (ObjectStoreUnavailable, ConfigurationError) as error:
            connection.rollback()
            if is_only:
                raise
            events.refuse(connection, one)
            connection.commit()
            del pending[bucket]
            if not any(other.ids for other in pending.values()):
                raise
            log.warning("skipped a bucket", bucket=bucket, reason=error.message, hint=error.hint)
    return changed


def _naming_datasets(error: EtlError, known: Declared, bucket: str) -> EtlError:
    """The error; one of a bucket that datasets declare names them."""
    found = [one.name for one in known.values if one.bucket == bucket]
    names = f"dataset{'s' if len(found) > 1 else ''} {', '.join(found)}"
    if not found or not isinstance(error, ConfigurationError):
        return error
    return ConfigurationError(
        f"{error.message} It is the bucket of {names}.",
        hint="Create the bucket, allow access to it, or correct `bucket` in the datasets file.",
        public_message=f"The bucket {bucket!r} of {names} cannot be read.",
    )


def _is_in(own: str, bucket: str, known: Declared, listed: Sequence[str]) -> bool:
    """Whether a dataset with this `bucket` is read from this bucket."""
    named = {one.bucket for one in known.values if one.bucket}
    return own == bucket or (not own and bucket not in named and bucket in listed)


def stage_former(
    run: CurrentRun, known: Declared, stored: Sequence[str], listed: Sequence[str]
) -> None:
    """Stage the `stored` objects of buckets that are no longer sources as removed."""
    former = [one for one in stored if one not in listed]
    if former:
        staged = run.connection.execute(
            text(statements("buckets")["stage_former"]),
            {"buckets": former, "datasets": [one.name for one in known.values]},
        )
        run.stats.staged += staged.rowcount
    run.connection.commit()

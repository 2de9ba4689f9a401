"""verify(): the bucket read afresh, held against the tables and the published output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from etl.model.errors import UnreadableObject
from etl.model.values import ObjectKind, SourceObject
from etl.verify import names, store
from etl.verify.compare import Difference, compare_output, compare_parquet, compare_tables
from etl.verify.expected import Expected, expect, refuse
from etl.verify.found import ManifestEntry, read_tables, to_millisecond
from etl.verify.pictures import compare_pictures

if TYPE_CHECKING:
    from minio import Minio
    from sqlalchemy import Engine

    from etl.settings import Settings

OUTPUT_NAME = "output.csv"
PARQUET_NAME = "output.parquet"

Progress = Callable[[int, int], None]


def verify(
    settings: Settings,
    engine: Engine,
    *,
    today: date | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[Difference]:
    """Tell every difference between the source bucket and the tables or what we make of it.

    `today` is the last birthdate allowed, by default today in UTC. `progress` is told how many
    of the CSVs are read, and of how many. Only one CSV's bytes are in memory at a time. A run
    that commits meanwhile shows as differences. An output that waits to be published behind
    event runs is not compared, which `notice` is told.

    Raises:  ObjectStoreUnavailable, DatabaseUnavailable, ConfigurationError; UnreadableObject
             when what is published may not be read.
    """
    client = store.connect(settings)
    truth = _Bucket(client, settings.source_bucket, progress or _tell_nobody)
    expected = truth.expect(today or datetime.now(UTC).date())
    found = read_tables(engine, settings.source_bucket)
    differences = compare_tables(expected, _expected_manifest(truth.listing, expected), found)
    if not found.output_waits:
        differences += _compare_outputs(settings, client, expected)
    elif notice is not None:
        notice(f"{OUTPUT_NAME} waits to be published and was not compared.")
    if PARQUET_NAME in found.published and not settings.output_parquet:
        differences += _find_left_over(client, settings.processed_bucket, PARQUET_NAME)
    return [*differences, *compare_pictures(settings, engine, client)]


def _compare_outputs(settings: Settings, client: Minio, expected: Expected) -> list[Difference]:
    outputs = {OUTPUT_NAME: compare_output}
    if settings.output_parquet:
        outputs[PARQUET_NAME] = compare_parquet
    differences = []
    for name, compare in outputs.items():
        output = store.fetch(client, settings.processed_bucket, name)
        content = None if output is None else output.content
        differences += compare(expected.users, content, f"{settings.processed_bucket}/{name}")
    return differences


def _find_left_over(client: Minio, bucket: str, name: str) -> list[Difference]:
    """What we published while we were asked to, and keep level no more."""
    if store.fetch(client, bucket, name) is None:
        return []
    note = "It is not asked for any more; the next publication removes it."
    return [Difference("output-surplus", f"{bucket}/{name}", None, None, note)]


class _Bucket:
    """The source bucket while it is read: `listing` follows what changes meanwhile."""

    def __init__(self, client: Minio, bucket: str, progress: Progress) -> None:
        self._client = client
        self._bucket = bucket
        self._progress = progress
        self._refused: set[str] = set()
        self.listing = {
            source.key: source
            for source in store.list_objects(client, bucket)
            if not names.is_ignored(source)
        }

    def expect(self, today: date) -> Expected:
        images = [source for source in self.listing.values() if not _is_csv(source)]
        expected = expect(self._files(), images, self._bucket, today)
        return refuse(expected, self._refused)

    def _files(self) -> Iterator[tuple[SourceObject, bytes]]:
        files = [source for source in self.listing.values() if _is_csv(source)]
        self._progress(0, len(files))
        for done, source in enumerate(files, start=1):
            read = self._read(source)
            if read is not None:
                yield read
            self._progress(done, len(files))

    def _read(self, source: SourceObject) -> tuple[SourceObject, bytes] | None:
        """Read the object as it is now; None when it is gone or refused."""
        try:
            read = store.read_object(self._client, self._bucket, source)
        except UnreadableObject:
            self._refused.add(source.key)
            return None
        if read is None:
            del self.listing[source.key]
        else:
            self.listing[source.key] = read[0]
        return read


def _expected_manifest(
    listing: dict[str, SourceObject], expected: Expected
) -> dict[str, ManifestEntry]:
    """Say what the manifest ought to hold; rows add up, read = good + rejected."""
    good = Counter(user.source_key for user in expected.users.values())
    good.update(key for key, _, _ in expected.shadowed)
    rejected = expected.rows_rejected
    quarantined = expected.quarantined()
    return {
        key: ManifestEntry(
            etag=source.etag,
            size=source.size,
            last_modified=to_millisecond(source.last_modified),
            kind=names.kind(key).value,
            user_id=names.owner(key),
            state="quarantined" if key in quarantined else "loaded",
            rows_read=good[key] + rejected.get(key, 0),
            rows_rejected=rejected.get(key, 0),
        )
        for key, source in listing.items()
    }


def _is_csv(source: SourceObject) -> bool:
    return names.kind(source.key) is ObjectKind.CSV


def _tell_nobody(_done: int, _total: int) -> None:
    """Progress for callers that want none."""

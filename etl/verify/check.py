"""verify(): compare the bucket with the tables and the published output files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from etl.model.errors import UnreadableObject
from etl.model.values import ObjectKind, SourceObject
from etl.verify import names, store
from etl.verify.compare import Difference, compare_output, compare_parquet, compare_tables
from etl.verify.expected import Expected, add_refused, expect
from etl.verify.images import compare_images
from etl.verify.tables import ManifestEntry, read_tables, to_millisecond

if TYPE_CHECKING:
    from minio import Minio
    from sqlalchemy import Engine

    from etl.settings import Settings

OUTPUT_NAME = "output.csv"
PARQUET_NAME = "output.parquet"

ProgressCallback = Callable[[int, int], None]


def verify(
    settings: Settings,
    engine: Engine,
    *,
    today: date | None = None,
    progress: ProgressCallback | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[Difference]:
    """Return every difference between the source bucket and the tables, outputs and thumbnails.

    `today` is the last birthdate allowed, by default today in UTC. `progress` receives the number
    of CSVs read and their total. Only one CSV is in memory at a time. A run that commits meanwhile
    causes differences. Output files with a pending publication after event runs are not compared;
    `notice` then receives a message.

    Raises:  ObjectStoreUnavailable, DatabaseUnavailable, ConfigurationError; UnreadableObject
             if access to an output file is denied.
    """
    client = store.connect(settings)
    reader = _BucketReader(client, settings.source_bucket, progress or _ignore_progress)
    expected = reader.expect(today or datetime.now(UTC).date())
    found = read_tables(engine, settings.source_bucket)
    differences = compare_tables(expected, _expected_manifest(reader.listing, expected), found)
    if not found.is_publish_pending:
        differences += _compare_outputs(settings, client, expected)
    elif notice is not None:
        notice(f"{OUTPUT_NAME} was not compared, because its publication is pending.")
    if PARQUET_NAME in found.published and not settings.output_parquet:
        differences += _find_obsolete_output(client, settings.processed_bucket, PARQUET_NAME)
    return [*differences, *compare_images(settings, engine, client)]


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


def _find_obsolete_output(client: Minio, bucket: str, name: str) -> list[Difference]:
    """Report an output file that is no longer published, but still in the bucket."""
    if store.fetch(client, bucket, name) is None:
        return []
    note = "OUTPUT_PARQUET is off, but the file still exists; the next publication removes it."
    return [Difference("output-surplus", f"{bucket}/{name}", None, None, note)]


class _BucketReader:
    """Reads the source bucket; `listing` is updated for objects that change meanwhile."""

    def __init__(self, client: Minio, bucket: str, progress: ProgressCallback) -> None:
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
        return add_refused(expected, self._refused)

    def _files(self) -> Iterator[tuple[SourceObject, bytes]]:
        files = [source for source in self.listing.values() if _is_csv(source)]
        self._progress(0, len(files))
        for done, source in enumerate(files, start=1):
            read = self._read(source)
            if read is not None:
                yield read
            self._progress(done, len(files))

    def _read(self, source: SourceObject) -> tuple[SourceObject, bytes] | None:
        """Read the current object; None if it no longer exists or access is denied."""
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
    """Compute the expected manifest; for each object, rows read = valid + rejected."""
    valid = Counter(user.source_key for user in expected.users.values())
    valid.update(key for key, _, _ in expected.shadowed)
    rejected = expected.rows_rejected
    quarantined = expected.quarantined()
    return {
        key: ManifestEntry(
            etag=source.etag,
            size=source.size,
            last_modified=to_millisecond(source.last_modified),
            kind=names.kind(key).value,
            dataset=names.dataset(key),
            attachment="img_path" if names.is_image(key) else None,
            attachment_id=names.join_name(names.user_id(key)) if names.is_image(key) else None,
            state="quarantined" if key in quarantined else "loaded",
            rows_read=valid[key] + rejected.get(key, 0),
            rows_rejected=rejected.get(key, 0),
        )
        for key, source in listing.items()
    }


def _is_csv(source: SourceObject) -> bool:
    return names.kind(source.key) is ObjectKind.CSV


def _ignore_progress(_done: int, _total: int) -> None:
    """The default progress callback."""

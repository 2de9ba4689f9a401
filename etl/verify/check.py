"""verify(): compare the buckets with the tables and the published output files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeVar

from etl.model.dataset import USERS
from etl.verify import store
from etl.verify.buckets import BucketReader
from etl.verify.compare import DatasetComparison, compare_tables
from etl.verify.difference import Difference
from etl.verify.images import compare_images
from etl.verify.layout import ObjectColumns
from etl.verify.output import compare_output, compare_parquet, take_output_rows
from etl.verify.tables import ManifestEntry, read_added_columns, read_tables, to_millisecond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from minio import Minio
    from sqlalchemy import Engine

    from etl.model.dataset import Dataset
    from etl.settings import Settings
    from etl.verify.expected import Expected, ObjectPlace
    from etl.verify.tables import TableState

# The files that the dataset users may publish, and how each is compared.
_OUTPUTS = {"output.csv": compare_output, "output.parquet": compare_parquet}

_Problem = TypeVar("_Problem", tuple[str, str, str], tuple[str, str, int, str])


def verify(  # noqa: PLR0913  # the optional parts are named
    settings: Settings,
    engine: Engine,
    *,
    datasets: Sequence[Dataset] = (USERS,),
    today: date | None = None,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[Difference]:
    """Return every difference between the source buckets and the tables, outputs and thumbnails.

    `datasets` are those that runs load; paused ones are not compared. `today` is the last
    birthdate allowed, by default today in UTC. `progress` receives the number of files read and
    their total. Only one file is in memory at a time. A run that commits meanwhile causes
    differences. The datasets of a bucket that does not exist or may not be listed are not compared;
    the bucket is a difference, or an error if it is the only one. Output files with a pending
    publication after event runs are not compared; `notice` then receives a message.

    Raises:  ObjectStoreUnavailable, DatabaseUnavailable, ConfigurationError; UnreadableObject
             if access to an output file is denied.
    """
    client = store.connect(settings)
    added = read_added_columns(engine)
    layouts = [ObjectColumns(dataset, added.get(dataset.name, ())) for dataset in datasets]
    reader = BucketReader(client, layouts, settings.source_bucket)
    expected = reader.expect(
        today or datetime.now(UTC).date(),
        progress or _ignore_progress,
        settings.expanded_max_size,
    )
    unread = {
        layout.dataset.name
        for layout in layouts
        if (layout.dataset.bucket or settings.source_bucket) in reader.unreadable
    }
    active = [
        layout
        for layout in layouts
        if not layout.dataset.is_paused and layout.dataset.name not in unread
    ]
    found = _compared(
        read_tables(engine, active, reader.buckets, expected.datasets), reader, datasets
    )
    manifest = _expected_manifest(reader, expected)
    differences = compare_tables(expected, manifest, found, active, settings.source_bucket)
    users = next((layout for layout in active if layout.dataset.name == USERS.name), None)
    if users is not None:
        differences += _compare_outputs(settings, client, users, expected, found, notice)
    return [
        *_unreadable(reader, datasets, settings.source_bucket),
        *differences,
        *compare_images(settings, engine, client, reader.buckets),
    ]


def _unreadable(
    reader: BucketReader, datasets: Sequence[Dataset], source_bucket: str
) -> Iterator[Difference]:
    """One difference for each bucket that cannot be listed, naming its datasets."""
    for bucket, error in reader.unreadable.items():
        names = [one.name for one in datasets if (one.bucket or source_bucket) == bucket]
        note = f"{error.message} Not compared: {', '.join(names)}. {error.hint}"
        yield Difference("bucket-unreadable", bucket, None, None, note)


def _compared(found: TableState, reader: BucketReader, datasets: Iterable[Dataset]) -> TableState:
    """Leave out what is not compared: objects of paused datasets, and of unknown ones."""
    names = {dataset.name for dataset in datasets if not dataset.is_paused} | {None}
    skipped = reader.paused | {
        place
        for place, entry in found.manifest.items()
        if entry.dataset not in names and place not in reader.listing
    }
    if not skipped:
        return found
    return replace(
        found,
        manifest={place: entry for place, entry in found.manifest.items() if place not in skipped},
        rejected=_without(found.rejected, skipped),
        object_problems=_without(found.object_problems, skipped),
    )


def _without(problems: Counter[_Problem], skipped: set[ObjectPlace]) -> Counter[_Problem]:
    return Counter({item: n for item, n in problems.items() if item[:2] not in skipped})


def _compare_outputs(  # noqa: PLR0913, PLR0917
    settings: Settings,
    client: Minio,
    layout: ObjectColumns,
    expected: Expected,
    found: TableState,
    notice: Callable[[str], None] | None,
) -> list[Difference]:
    """Compare the output files of users; their rows are removed from both states."""
    differences: list[Difference] = []
    comparison = DatasetComparison(layout, layout.dataset.bucket or settings.source_bucket, found)
    held = comparison.held_identities(expected.datasets[USERS.name], found.datasets[USERS.name])
    found.datasets.clear()  # makes room for the rows of the files
    rows = take_output_rows(expected.datasets[USERS.name])
    for name, compare in _OUTPUTS.items():
        is_wanted = name in layout.dataset.publish or (
            name == "output.parquet" and settings.output_parquet
        )
        if not is_wanted:
            if name in found.published:
                differences += _find_obsolete_output(client, settings.processed_bucket, name)
        elif found.is_publish_pending:
            if notice is not None:
                notice(f"{name} was not compared, because its publication is pending.")
        else:
            output = store.fetch(client, settings.processed_bucket, name)
            content = None if output is None else output.content
            differences += compare(rows, content, f"{settings.processed_bucket}/{name}")
    return [replace(each, is_held=(each.name,) in held) for each in differences]


def _find_obsolete_output(client: Minio, bucket: str, name: str) -> list[Difference]:
    """Report an output file that is no longer published, but still in the bucket."""
    if store.fetch(client, bucket, name) is None:
        return []
    note = "It is no longer published, but still exists; the next publication removes it."
    return [Difference("output-surplus", f"{bucket}/{name}", None, None, note)]


def _expected_manifest(
    reader: BucketReader, expected: Expected
) -> dict[ObjectPlace, ManifestEntry]:
    """Compute the expected manifest."""
    quarantined = expected.quarantined()
    return {
        place: ManifestEntry(
            etag=listed.source.etag,
            size=listed.source.size,
            last_modified=to_millisecond(listed.source.last_modified),
            kind=listed.route.kind.value,
            dataset=listed.route.dataset.name,
            attachment=listed.route.attachment_column,
            attachment_id=listed.route.attachment_id,
            state="quarantined" if place in quarantined else "loaded",
            rows_read=expected.rows_read.get(place, 0),
            rows_rejected=expected.rows_rejected.get(place, 0),
        )
        for place, listed in reader.listing.items()
    }


def _ignore_progress(_done: int, _total: int) -> None:
    """The default progress callback."""

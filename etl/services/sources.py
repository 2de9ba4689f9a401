"""The source buckets of the declared datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db import events
from etl.db.engine import connect, translating
from etl.settings.datasets_file import read_datasets

if TYPE_CHECKING:
    from etl.settings import Settings


def source_buckets(settings: Settings) -> list[str]:
    """The buckets of the datasets file, sorted; without a file, those of the installed datasets.

    Raises:  ConfigurationError with each fault of the file.
    """
    path = settings.datasets_path
    if path is not None:
        own = settings.source_bucket
        return sorted({one.bucket or own for one in read_datasets(path, settings)})
    engine = connect(settings)
    try:
        with translating(), engine.connect() as connection:
            return events.source_buckets(connection, settings.source_bucket)
    finally:
        engine.dispose()

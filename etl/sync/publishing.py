"""Publish what a run committed, once it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db import runs
from etl.db.committed import last_committed
from etl.db.engine import translating
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DatasetRefused,
    ObjectStoreUnavailable,
)
from etl.runtime.logs import get_logger
from etl.sync import declared, publish
from etl.sync.outputs import outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.sync.outputs import Output
    from etl.sync.publish import Published
    from etl.sync.run import CurrentRun

log = get_logger("etl.run")


class Publishing:
    """Publishes the outputs of all datasets into the processed bucket."""

    def __init__(self, store: ObjectStore, settings: Settings, schema: str) -> None:
        self._store = store
        self._settings = settings
        self._schema = schema

    def publish(
        self,
        run: CurrentRun,
        datasets: Sequence[DatasetSql] | None = None,
        published: Published | None = None,
    ) -> bool:
        """Publish the outputs that are due. If the store is unavailable, a later call does it.

        `datasets` are the installed ones, and `published` is what was published before; None: they
        are read from the database.
        """
        connection = run.connection
        try:
            with run.stats.profile.step("publish"), translating():
                found = self._outputs_to_publish(run, datasets, published)
                if found is None:
                    return False
                bucket = self._settings.processed_bucket
                publish.publish(connection, self._store, bucket, run.id, found)
                if found or publish.pending_run(connection) is not None:
                    publish.mark_published(connection, run.id)
                    live = last_committed(connection).datasets
                    rows = (live[one.dataset].live for one in found if one.dataset in live)
                    run.stats.profile.count("publish", sum(rows))
        except DatabaseUnavailable:
            raise
        except (ObjectStoreUnavailable, ConfigurationError, DatasetRefused) as error:
            log.warning(
                "publishing failed; will retry", run=run.id, reason=error.message, hint=error.hint
            )
            runs.record_publish_error(connection, run.id, error)
            return False
        return bool(found)

    def _outputs_to_publish(
        self,
        run: CurrentRun,
        datasets: Sequence[DatasetSql] | None,
        published: Published | None,
    ) -> list[Output] | None:
        """The outputs of changed datasets, and those missing from the bucket; None: not yet due."""
        settings, connection = self._settings, run.connection
        published = published or publish.published(connection)
        if not publish.is_due(run.trigger, published.since_last, settings.publish_interval):
            connection.commit()
            return None
        if datasets is None:
            datasets = declared.load(connection, self._schema).datasets
        pending = publish.pending_datasets(connection)
        connection.commit()
        bucket, found = settings.processed_bucket, outputs(datasets, settings)
        publish.remove_unconfigured(connection, self._store, bucket, published, found)
        due = [one for one in found if one.dataset in pending]
        others = [one for one in found if one.dataset not in pending]
        return due + publish.missing_outputs(self._store, bucket, published, others)

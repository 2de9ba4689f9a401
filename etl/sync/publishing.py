"""Publish what a run committed, once it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db import runs
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
    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.sync.outputs import Output
    from etl.sync.run import CurrentRun

log = get_logger("etl.run")


class Publishing:
    """Publishes the outputs of all datasets into the processed bucket."""

    def __init__(self, store: ObjectStore, settings: Settings, schema: str) -> None:
        self._store = store
        self._settings = settings
        self._schema = schema

    def publish(self, run: CurrentRun) -> bool:
        """Publish the outputs that are due. If the store is unavailable, a later call does it."""
        connection = run.connection
        try:
            with run.stats.profile.step("publish"), translating():
                found = self._outputs_to_publish(run)
                if found is None:
                    return False
                bucket = self._settings.processed_bucket
                publish.publish(connection, self._store, bucket, run.id, found)
                if found or publish.pending_run(connection) is not None:
                    publish.mark_published(connection, run.id)
                    live = runs.last_committed(connection).datasets
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

    def _outputs_to_publish(self, run: CurrentRun) -> list[Output] | None:
        """The outputs of changed datasets, and those missing from the bucket; None: not yet due."""
        settings, connection = self._settings, run.connection
        since = publish.since_last(connection)
        known = declared.load(connection, self._schema)
        connection.commit()
        if not publish.is_due(run.trigger, since, settings.publish_interval):
            return None
        bucket, found = settings.processed_bucket, outputs(known.datasets, settings)
        publish.remove_unconfigured(connection, self._store, bucket, found)
        pending = publish.pending_datasets(connection)
        connection.commit()
        due = [one for one in found if one.dataset in pending]
        others = [one for one in found if one.dataset not in pending]
        due += publish.missing_outputs(connection, self._store, bucket, others)
        connection.commit()
        return due

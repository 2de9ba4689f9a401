"""Get a stack ready for use: migrated tables, buckets that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db.engine import check_migrated, connect, migrate

if TYPE_CHECKING:
    from etl.settings import Settings


def prepare(settings: Settings, *, make_tables: bool, make_buckets: bool) -> None:
    """Migrate the tables, or only check their version; create the buckets.

    Embedded services are prepared as needed. External ones are prepared by `migrate` only.

    Raises:  ConfigurationError when the tables are missing, or of another version.
    """
    engine = connect(settings)
    (migrate if make_tables else check_migrated)(engine)
    engine.dispose()
    if make_buckets:
        from etl.storage.client import ObjectStore

        store = ObjectStore(settings)
        for bucket in settings.buckets:
            store.ensure_bucket(bucket)

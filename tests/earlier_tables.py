"""Databases of version 0.1, whose tables are all in one schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from etl.db.engine import connect
from etl.db.schema import MIGRATIONS

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.settings import Settings

LAST = "0007"


def make(settings: Settings, *, version: str = LAST, schema: str = "public") -> None:
    """Create the tables of an earlier version."""
    engine = connect(settings)
    with engine.begin() as connection:
        connection.execute(text(f'SET LOCAL search_path = "{schema}"'))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    engine.dispose()


def fill(engine: Engine, *, users: int, retired: int, shadowed: int, bucket: str = "src") -> None:
    """Add users, of which the last ones are retired, and their objects as version 0.1 did.

    Each user has a CSV, and every third one an image; run 1 read all of them.
    """
    with engine.begin() as connection:
        for statement in _FILL:
            values = {"users": users, "live": users - retired, "shadowed": shadowed}
            connection.execute(text(statement), {**values, "bucket": bucket})


_FILL = (
    """
    INSERT INTO public.run (trigger, state, started_at, finished_at, counts, allow_mass_retirement)
    VALUES ('interval', 'succeeded', now(), now(), jsonb_build_object(
        'rows_read', CAST(:users AS int), 'users_live', CAST(:live AS int),
        'users_with_image', 5, 'objects_added', 7, 'objects_listed', 9, 'problems', 2), true)
    """,
    """
    INSERT INTO public.users (user_id, first_name, last_name, birthts, img_path, extra, source_key,
                              source_line, run_id, updated_at, retired_at)
    SELECT n, 'First ' || n, 'Last ' || n, CAST(n AS bigint) * 86400000,
           CASE WHEN n % 3 = 0 THEN :bucket || '/' || n || '.png' END,
           CASE WHEN n % 5 = 0 THEN jsonb_build_object('town', n) END,
           n || '.csv', 2, 1, now(), CASE WHEN n > :live THEN now() - interval '1 day' END
    FROM generate_series(1, :users) AS n
    """,
    """
    INSERT INTO public.shadowed_row (source_key, source_line, user_id, first_name, last_name,
                                     birthts, extra, run_id)
    SELECT 'more.csv', n + 1, n, 'Other', 'Name', n, NULL, 1
    FROM generate_series(1, :shadowed) AS n
    """,
    """
    INSERT INTO public.source_object
    SELECT :bucket, n || '.csv', 'csv', CAST(n AS text), 'e' || n, 9, now(), 'loaded', 1, 0,
           CAST(NULL AS date), 1
    FROM generate_series(1, :live) AS n
    UNION ALL
    SELECT :bucket, n || '.png', 'image', CAST(n AS text), 'e' || n, 9, now(), 'loaded', 0, 0,
           NULL, 1
    FROM generate_series(3, :live, 3) AS n
    UNION ALL
    SELECT :bucket, 'more.csv', 'csv', 'more', 'e', 9, now(), 'loaded', :shadowed, 0, NULL, 1
    UNION ALL
    SELECT :bucket, 'notes.txt', 'other', 'notes', 'e', 9, now(), 'loaded', 0, 0, NULL, 1
    """,
    """
    INSERT INTO public.image (key, etag, state, bytes, updated_at)
    SELECT key, etag, 'unsupported', 9, now() FROM public.source_object WHERE kind = 'image'
    """,
    """
    INSERT INTO public.announced_image (key, etag, sizes, updated_at)
    SELECT key, etag, '{}', now() FROM public.image
    """,
    """
    INSERT INTO public.problem (run_id, key, etag, code, severity, note) VALUES
        (1, '1.csv', 'e', 'missing-cell', 'error', ''),
        (1, 'notes.txt', 'e', 'unsupported-type', 'warning', '')
    """,
    """
    INSERT INTO public.publication (name, etag, run_id, published_at)
    VALUES ('output.csv', 'e', 1, now())
    """,
    """
    INSERT INTO public.bucket_event (bucket, key, mark, event_name, record)
    VALUES (:bucket, '1.csv', '1', 's3:ObjectCreated:Put', '{}')
    """,
)

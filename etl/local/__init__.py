"""The embedded object store and PostgreSQL: start them on first use, stop them after the last.

Every process that uses them holds a shared lock in LOCAL_DIR. The first one starts a detached
supervisor, which stops both servers when the last lock is released, even by a crash. May import
what `storage` may.
"""

from __future__ import annotations

from etl.local.stack import notes, recorded, running, unusable

__all__ = ["notes", "recorded", "running", "unusable"]

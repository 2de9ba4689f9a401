"""The embedded object store and PostgreSQL: found running or started, and held while in use.

Every process that uses them holds a shared lock in LOCAL_DIR. The first one starts a
detached supervisor; the supervisor stops both servers when the last lock is gone, however
its holder ended.
"""

from __future__ import annotations

from etl.local.stack import notes, recorded, running, unusable

__all__ = ["notes", "recorded", "running", "unusable"]

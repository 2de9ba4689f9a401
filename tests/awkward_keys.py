"""Awkward object keys, the same for every path by which an event names a key.

Each key is that of a CSV with a user of its own, and the embedded store accepts all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, text

from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket, wait_until

_STEMS = [
    *("a b", " lead", "trail ", "a+b", "+", "a%b", "%", "a%41", "a%2Fb", "a%2520b", "a%zz", "a%+"),
    *("a&b=c;d,e", "q?x", "h#x", "a'b", 'a"b', "a\\b", "a:b", "a*b", "a<b>", "a|b", "a^b`c"),
    *("{a}[b]", "$a@!", "a..b", "...a", "~a"),
    *("\u00e9", "e\u0301", "\U0001f600", "\u65e5\u672c", "\u2028x", "\ufeffx"),
    *("\ufffdx", "\ufffex"),
    *("\x01x", "\tx", "\nx", "\rx", "\x1fx", "\x7fx", "\x85x"),
    *("x/y z/1+1", "x/y%2Fz/1%", "/slash", "two//slashes", "//three///slashes+"),
]
KEYS = [f"{stem}.csv" for stem in _STEMS]


def check_awkward_keys(
    settings: Settings, engine: Engine, send_event: Callable[[str, str], object] = lambda *_: None
) -> None:
    """Upload a user under each key and remove it again: event runs alone must load and retire it.

    `send_event` sends an event, given its S3 name and its key, if the store itself does not.
    """
    bucket, manager = TestBucket(settings), DataManager(settings)
    for key in KEYS:
        bucket.user(key)
        send_event("s3:ObjectCreated:Put", key)
    _run_events(manager, engine, len(KEYS))
    assert _loaded(engine) == set(bucket.keys())
    assert len(_loaded(engine)) == len(KEYS)
    for key in KEYS:
        bucket.remove(key)
        send_event("s3:ObjectRemoved:Delete", key)
    _run_events(manager, engine, 2 * len(KEYS))
    assert bucket.keys() == []
    assert _loaded(engine) == set()
    assert manager.run(Trigger.INTERVAL).counts.found_by_reconcile == 0
    assert verify(settings, engine) == []


def _run_events(manager: DataManager, engine: Engine, count: int) -> None:
    """Wait for `count` events, then run."""
    query = "SELECT count(*) FROM bucket_event"
    wait_until(lambda: _scalars(engine, query) == [count])
    manager.run_events()


def _loaded(engine: Engine) -> set[object]:
    return set(_scalars(engine, "SELECT _source_key FROM users"))


def _scalars(engine: Engine, query: str) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())

"""The last check of the object store, shared by all pages, so that none waits for it long."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import current_app

from api.state.services import Probe, services
from etl.model.errors import EtlError, ObjectStoreUnavailable

if TYPE_CHECKING:
    from apiflask import APIFlask

FRESH_SECONDS = 5
WAIT_SECONDS = 2

_KEY = "bucketline-store-check"


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """How long the store took to answer, in seconds, or why it did not."""

    seconds: float | None
    error: EtlError | None = None


@dataclass
class _Shared:
    """The last check, and when it ended."""

    probe: Probe = field(default_factory=lambda: Probe(WAIT_SECONDS))
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: StoreCheck | None = None
    checked_at: float = float("-inf")


def register(app: APIFlask) -> None:
    """Prepare the checks of an app."""
    app.extensions[_KEY] = _Shared()


def check_store(fresh_seconds: float = FRESH_SECONDS) -> StoreCheck:
    """The last check, at most so old; a new one takes no longer than WAIT_SECONDS."""
    shared = cast("_Shared", current_app.extensions[_KEY])
    check = services().store_latency
    with shared.lock:
        if shared.found is None or time.monotonic() - shared.checked_at > fresh_seconds:
            try:
                shared.found = StoreCheck(shared.probe.run(check))
            except EtlError as error:
                shared.found = StoreCheck(None, error)
            except TimeoutError:
                text = f"It has not answered within {WAIT_SECONDS} s."
                shared.found = StoreCheck(None, ObjectStoreUnavailable(text))
            shared.checked_at = time.monotonic()
        return shared.found

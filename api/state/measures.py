"""What this process has measured: its requests, statements and calls of the store."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from etl.runtime.measures import Timings

if TYPE_CHECKING:
    from sqlalchemy import Engine

UNKNOWN_ROUTE = "none"  # of requests that no route serves
_STARTED = "bucketline_started"


class Measures:
    """The timings of one app.

    `requests` have the labels route and class of status, `statements` none; their errors are
    those of an unavailable database. The store has its own, see `ObjectStore.timings`.
    """

    def __init__(self) -> None:
        self.requests = Timings()
        self.statements = Timings()
        self.statements.expect()

    def add_request(self, route: str | None, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        is_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        self.requests.add(
            seconds, (route or UNKNOWN_ROUTE, f"{status // 100}xx"), is_error=is_error
        )

    def watch(self, engine: Engine) -> None:
        """Time the statements of an engine."""

        @event.listens_for(engine, "before_cursor_execute")
        def begin(_connection: object, _cursor: object, *rest: Any) -> None:  # noqa: ANN401
            setattr(rest[2], _STARTED, time.perf_counter())

        @event.listens_for(engine, "after_cursor_execute")
        def end(_connection: object, _cursor: object, *rest: Any) -> None:  # noqa: ANN401
            self.statements.add(time.perf_counter() - getattr(rest[2], _STARTED))

        @event.listens_for(engine, "handle_error")
        def fail(context: Any) -> None:  # noqa: ANN401
            if context.is_disconnect or context.connection is None:
                self.statements.fail()

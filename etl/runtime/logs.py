"""Logging, set up once per process: readable lines, or JSON for a log collector.

In JSON, each line of standard error is one object: our own events, records of libraries that use
`logging`, warnings, and uncaught exceptions. `log_lines` writes them with structlog, whose import
takes longer than the work of most commands. A command that only logs warnings therefore imports it
with the first warning.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from types import TracebackType

_MINUTE_SECONDS = 60


class Logger:
    """Writes the events of one part of the program."""

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **values: object) -> None:
        """Write an event, unless logs are quiet."""
        if not _set_up.is_postponed:
            self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Write something that the operator should check."""
        self._write("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """Write a failure."""
        self._write("error", event, values)

    def exception(self, event: str, **values: object) -> None:
        """Write a failure with the traceback of the exception that is being handled."""
        self._write("exception", event, values)

    def critical(self, event: str, **values: object) -> None:
        """Write a failure that ends the process or one of its threads."""
        self._write("critical", event, values)

    def _write(self, method: str, event: str, values: dict[str, Any]) -> None:
        import structlog

        _set_up.complete()
        getattr(structlog.get_logger(self._name), method)(event, **values)


class OncePerMinute:
    """Limits each kind of message to one per minute, as during an outage with many retries."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def is_due(self, kind: str) -> bool:
        """Whether a message of this kind is to be logged; if so, the next minute begins."""
        now = time.monotonic()
        if now - self._logged.get(kind, -_MINUTE_SECONDS) < _MINUTE_SECONDS:
            return False
        self._logged[kind] = now
        return True


def get_logger(name: str) -> Logger:
    """The logger of a part of the program, such as `etl.run`."""
    return Logger(name)


def set_up_logs(log_format: Literal["console", "json"], *, quiet: bool = False) -> None:
    """Send logs to standard error as lines or JSON, with times in UTC; `quiet`: only warnings.

    Libraries' own logs always start at level warning.
    """
    logging.getLogger().addHandler(_libraries)  # adding it again has no effect
    # urllib3 warns about each attempt; if all fail, our own error is logged.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    _set_up.choose(log_format, quiet=quiet)
    if log_format == "json":
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_of_thread


def wants_json() -> bool:
    """Whether output goes to a log collector: LOG_FORMAT is json and there is no terminal.

    Read from the environment, because invalid settings are reported in this format too.
    """
    return os.environ.get("LOG_FORMAT") == "json" and not sys.stderr.isatty()


def json_line(event: str) -> str:
    """An event as `set_up_logs("json")` would write it, for standard output."""
    from etl.runtime import log_lines

    return log_lines.json_line(event)


class _SetUp:
    """How logs are written. If they are quiet, the first line configures structlog."""

    def __init__(self) -> None:
        self.is_postponed = False

    def choose(self, log_format: Literal["console", "json"], *, quiet: bool) -> None:
        self._log_format, self._quiet = log_format, quiet
        self.is_postponed = True
        if not quiet or "structlog" in sys.modules:
            self.complete()

    def complete(self) -> None:
        """Configure structlog if that was postponed."""
        if self.is_postponed:
            from etl.runtime import log_lines

            _libraries.setFormatter(log_lines.configure(self._log_format, quiet=self._quiet))
            self.is_postponed = False


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current sys.stderr."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        """The record like one of our own events."""
        _set_up.complete()
        return super().format(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore write errors, such as a full disk, without a traceback."""


_set_up = _SetUp()
_libraries = _StandardError()


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get_logger("etl").critical("uncaught error", exc_info=(kind, error, trace))


def _log_uncaught_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)

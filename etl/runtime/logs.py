"""Logging, set up once per process: readable lines, or JSON for a log collector.

In JSON, each line of standard error is one object: our own events, records of libraries that use
`logging`, warnings, and uncaught exceptions.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog

from etl.runtime.program import naming

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

    from structlog.typing import Processor


def _name_commands(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> dict[str, Any]:
    """A processor that replaces commands in hints with the form the user has to enter."""
    return naming("hint", event)


_COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _name_commands,
]


def set_up_logs(log_format: Literal["console", "json"], *, quiet: bool = False) -> None:
    """Send logs to standard error as lines or JSON, with times in UTC; `quiet`: only warnings.

    Libraries' own logs always start at level warning.
    """
    renderer = _renderer(log_format)
    structlog.configure(
        processors=[*_COMMON, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=_to_standard_error,
    )
    _route_library_logs(renderer)
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
    logger = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[*_COMMON, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return str(logger.info(event))


def _renderer(log_format: Literal["console", "json"]) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _to_standard_error(*_: object) -> structlog.PrintLogger:
    """A logger for the current sys.stderr, which may have changed since logs were set up."""
    return _Lines(sys.stderr)


class _Lines(structlog.PrintLogger):
    """Prints lines, and ignores write errors, such as a full disk."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to the current sys.stderr."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore write errors, such as a full disk, without a traceback."""


_libraries = _StandardError()


def _route_library_logs(renderer: Processor) -> None:
    """Format libraries' log records like our own events."""
    _libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_COMMON,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.getLogger().addHandler(_libraries)  # adding it again has no effect
    # urllib3 warns about each attempt; if all fail, our own error is logged.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger("etl").critical("uncaught error", exc_info=(kind, error, trace))


def _log_uncaught_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)

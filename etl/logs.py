"""Logging, set up once by each process: readable lines, or JSON for a collector."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal

import structlog


def set_up_logs(log_format: Literal["console", "json"], *, quiet: bool = False) -> None:
    """Send structlog to standard error as lines or JSON, times in UTC; quiet: warnings only."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=_to_standard_error,
    )


def _to_standard_error(*_: object) -> structlog.PrintLogger:
    """A logger to what standard error is now, and not to what it was when logs were set up."""
    return _Lines(sys.stderr)


class _Lines(structlog.PrintLogger):
    """Prints lines, and lets nothing fail because the disk under the log is full."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg

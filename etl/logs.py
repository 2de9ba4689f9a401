"""Logging, set up once by each process: readable lines, or JSON for a collector."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import structlog

from etl.program import naming

if TYPE_CHECKING:
    from collections.abc import MutableMapping


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
            _name_commands,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=_to_standard_error,
    )


def _name_commands(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> dict[str, Any]:
    """A processor: hints name commands as the user has to enter them."""
    return naming("hint", event)


def _to_standard_error(*_: object) -> structlog.PrintLogger:
    """A logger to what standard error is now, and not to what it was when logs were set up."""
    return structlog.PrintLogger(sys.stderr)

"""The lines of the log, written with structlog; `logs` imports this module when it needs it."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import structlog

from etl.runtime.program import naming

if TYPE_CHECKING:
    from collections.abc import MutableMapping

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


def configure(log_format: Literal["console", "json"], *, quiet: bool) -> logging.Formatter:
    """Configure structlog; return the formatter that writes libraries' records the same way."""
    renderer = _renderer(log_format)
    structlog.configure(
        processors=[*_COMMON, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=_to_standard_error,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_COMMON,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def json_line(event: str) -> str:
    """An event as a line of JSON."""
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

"""OpenTelemetry traces, sent by OTLP over HTTP when OTEL_EXPORTER_OTLP_ENDPOINT is set.

Spans are recorded when what they describe has ended. Nothing of OpenTelemetry is imported before
`begin`, because it is an extra, `[otel]`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.runtime.otlp import SpanSender
    from etl.runtime.spans import TraceSpan

_sender: SpanSender | None = None  # one per process, as in OpenTelemetry


def begin(endpoint: str | None, version: str) -> None:
    """Send spans to this endpoint from now on; none if it is not set.

    Raises:  ConfigurationError when the extra is not installed.
    """
    global _sender  # noqa: PLW0603
    if endpoint is None or _sender is not None:
        return
    if find_spec("opentelemetry") is None:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed.",
            hint="With ./run.sh, the next start installs it. Elsewhere, install Bucketline with its"
            " extra: `pipx install 'bucketline[otel]'`.",
        )
    from etl.runtime.otlp import SpanSender  # noqa: PLC0415 - an extra

    _sender = SpanSender(endpoint, version)


def end() -> None:
    """Send what is left, and stop."""
    global _sender  # noqa: PLW0603
    if _sender is not None:
        _sender.end()
        _sender = None


def is_on() -> bool:
    """Whether spans are sent."""
    return _sender is not None


def record(span: TraceSpan, parts: Sequence[TraceSpan] = (), *, parent: str | None = None) -> None:
    """Send a span and its parts. `parent` is the header `traceparent` of a request to this process.

    Without `parent`, the span is the root of a new trace.
    """
    if _sender is not None:
        _sender.send(span, parts, parent)

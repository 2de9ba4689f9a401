"""The sender of spans. It needs the extra `[otel]`; use it through etl.runtime.traces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.runtime.spans import TraceSpan

TIMEOUT_SECONDS = 5
_SERVICE_NAME = "OTEL_SERVICE_NAME"


class SpanSender:
    """Sends spans in the background, to the path /v1/traces of an endpoint."""

    def __init__(self, endpoint: str, version: str) -> None:
        name = os.environ.get(_SERVICE_NAME, "bucketline")
        resource = Resource.create({"service.name": name, "service.version": version})
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT_SECONDS)
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bucketline", version)

    def send(self, span: TraceSpan, parts: Sequence[TraceSpan], parent: str | None) -> None:
        """Send a span and its parts; see `traces.record`."""
        context = Context()
        if parent is not None:
            context = TraceContextTextMapPropagator().extract({"traceparent": parent}, context)
        kind = SpanKind.SERVER if "http.route" in span.attributes else SpanKind.INTERNAL
        context = self._send(span, context, kind)
        for one in parts:
            self._send(one, context, SpanKind.INTERNAL)

    def _send(self, span: TraceSpan, context: Context, kind: SpanKind) -> Context:
        """Send a span; return the context of its parts."""
        sent = self._tracer.start_span(
            span.name,
            context,
            kind=kind,
            attributes=dict(span.attributes),
            start_time=span.began_at,
        )
        if span.error is not None:
            sent.set_status(Status(StatusCode.ERROR, span.error))
        sent.end(span.ended_at)
        return set_span_in_context(sent, context)

    def end(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

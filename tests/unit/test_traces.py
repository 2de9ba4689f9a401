"""Traces of runs and requests, received by a small collector; none without an endpoint."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received

from etl.model.errors import ConfigurationError
from etl.model.values import Trigger
from etl.runtime import traces
from etl.runtime.spans import TraceSpan
from etl.settings import Settings
from etl.sync import tracing
from etl.sync.run import CurrentRun
from tests.collector import collecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def attributes(span: Received) -> dict[str, Any]:
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }


def test_a_run_is_a_trace_with_a_span_for_each_step():
    run = CurrentRun(7, Trigger.INTERVAL, connection=None)  # type: ignore[arg-type]
    with collecting() as server:
        profile = run.stats.profile
        with profile.step("list"):
            pass
        with profile.step("merge"):
            pass
        profile.count("merge", 12)
        tracing.record(run)
        tracing.record(run, "ObjectStoreUnavailable")
        traces.end()
        ((path, message), *_) = server.requests
        assert path == "/v1/traces"
        resource = {one.key: one.value for one in message.resource_spans[0].resource.attributes}
        assert resource["service.name"].string_value == "bucketline"
        spans = server.spans
    first, listed, merged, failed = spans[:4]
    assert [one.name for one in spans] == ["run", "list", "merge"] * 2
    assert attributes(first) == {"bucketline.run.id": 7, "bucketline.run.trigger": "interval"}
    assert not first.parent_span_id
    for step in (listed, merged):
        assert step.trace_id == first.trace_id
        assert step.parent_span_id == first.span_id
        assert first.start_time_unix_nano <= step.start_time_unix_nano
        assert step.end_time_unix_nano <= first.end_time_unix_nano
    assert attributes(merged)["bucketline.step.rows"] == 12
    assert failed.trace_id != first.trace_id
    assert (failed.status.code, failed.status.message) == (2, "ObjectStoreUnavailable")


@pytest.mark.parametrize("parent", [None, PARENT, "nonsense"])
def test_a_request_belongs_to_the_trace_of_its_caller(parent: str | None):
    now = time.time_ns()
    span = TraceSpan("GET /data", now - 10**6, now, {"http.route": "/data"})
    with collecting() as server:
        traces.record(span, parent=parent)
        traces.end()
        (found,) = server.spans
    assert found.kind == Received.SPAN_KIND_SERVER
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (now - 10**6, now)
    is_child = parent == PARENT
    assert (found.trace_id.hex() == PARENT.split("-")[1]) == is_child
    assert (found.parent_span_id.hex() == PARENT.split("-")[2]) == is_child


def test_without_an_endpoint_nothing_is_imported():
    code = (
        "import sys, api, etl.sync.manager\n"
        "from etl.runtime import traces\n"
        "traces.begin(None, '1')\n"
        "from etl.runtime.spans import TraceSpan\n"
        "traces.record(TraceSpan('x', 0, 1, {}))\n"
        "assert not [one for one in sys.modules if one.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_endpoint_without_the_extra_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(traces, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match="not installed") as caught:
        traces.begin("http://127.0.0.1:4318", "1")
    assert "bucketline[otel]" in str(caught.value.hint)


@pytest.mark.parametrize("wrong", ["localhost:4318", "ftp://host", "http://", "http://h ost"])
def test_the_endpoint_is_a_url(wrong: str):
    with pytest.raises(ValueError, match="write a URL"):
        Settings(_env_file=None, otel_exporter_otlp_endpoint=wrong)

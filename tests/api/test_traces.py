"""Traces of a service, as an OpenTelemetry collector on this machine gets them."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from main import create_app
from product_search import tracing
from product_search.errors import StartError
from product_search.settings import ROOT, Settings
from tests.api.helpers import create

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, Span]]]]:
    """A collector's address, and what it has received: each span with its service's name."""
    spans: list[tuple[str, Span]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            assert self.path == "/v1/traces"
            for one in ExportTraceServiceRequest.FromString(content).resource_spans:
                named = {a.key: a.value.string_value for a in one.resource.attributes}
                for scope in one.scope_spans:
                    spans.extend((named["service.name"], span) for span in scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(span: Span) -> dict[str, object]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.fixture(scope="module")
def spans(open_settings: Callable[[], Settings]) -> list[Span]:
    """Of a product that is written and indexed, of a search for it, and of an answer that failed.

    All of them, since the service sends what is left as it ends.
    """
    with collector() as (address, received):
        settings = open_settings().model_copy(update={"otlp_endpoint": f"{address}/"})
        with TestClient(create_app(settings)) as api:
            api.headers["X-Request-ID"] = "written"
            create(api, wait=True)
            api.headers.update({"X-Request-ID": "sought", "traceparent": f"00-{TRACE}-{PARENT}-01"})
            assert api.post("/search", json={"text": "书包"}).json()["hits"]
            del api.headers["traceparent"]
            assert api.post("/generate", json={"prompt": "书包"}).status_code == 503
        assert tracing.current() is None
    assert {service for service, _ in received} == {"product-search-api"}
    return [span for _, span in received]


def named(spans: list[Span], name: str) -> Span:
    (span,) = (one for one in spans if one.name == name)
    return span


def test_a_search_is_a_trace_of_its_stages(spans: list[Span]) -> None:
    request = named(spans, "POST /search")
    assert request.kind == Span.SPAN_KIND_SERVER
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    told = attributes(request)
    assert told["request.id"] == "sought"
    assert (told["http.route"], told["http.response.status_code"]) == ("/search", 200)
    stages = [one for one in spans if one.parent_span_id == request.span_id]
    assert {"encode", "recall", "hydrate"} <= {one.name for one in stages}
    begun, ended = request.start_time_unix_nano, request.end_time_unix_nano
    for one in stages:
        assert one.trace_id == request.trace_id
        assert begun <= one.start_time_unix_nano <= one.end_time_unix_nano <= ended


def test_index_work_names_the_requests_that_wrote_what_it_indexes(spans: list[Span]) -> None:
    told = attributes(named(spans, "index"))
    assert told == {"products": 1, "request_ids": "written"}


def test_an_answer_that_failed_is_a_span_that_failed(spans: list[Span]) -> None:
    failed = named(spans, "POST /generate")
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert attributes(failed)["http.response.status_code"] == 503


OFF = """
import sys
from product_search import tracing
with tracing.sending_to(None, "api"), tracing.span("index", products=1) as one:
    assert one is None and tracing.current() is None and tracing.now() == 0
    tracing.record_intervals(None, [tracing.Interval("encode", 1, 2)])
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_a_collector_nothing_of_opentelemetry_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], cwd=ROOT, check=True, capture_output=True)
    assert done.stdout.strip() == b"[]"


def test_without_its_packages_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(StartError, match="PRODUCT_SEARCH_OTLP_ENDPOINT"),
        tracing.sending_to("http://127.0.0.1:1", "api"),
    ):
        pass

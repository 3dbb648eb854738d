"""Traces for an OpenTelemetry collector: spans of requests, of stages of searches, of index work.

Off until `sending_to` begins: then alone OpenTelemetry is imported, and spans cost anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from product_search.context import current_request_id
from product_search.errors import StartError

if TYPE_CHECKING:
    from opentelemetry.context import Context as Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_TIMEOUT_S = 5.0  # of sending a batch of spans; the end of the process waits as long at most
_REQUEST_ID = "request.id"
_tracer: Tracer | None = None
_OFF = nullcontext()


class Interval(NamedTuple):
    """A stage of some work, from when to when, in nanoseconds since 1970."""

    name: str
    begun: int
    ended: int


@contextmanager
def sending_to(endpoint: str | None, role: str) -> Iterator[None]:
    """Send spans to the collector while the block lasts; with None there are no spans.

    Args:
        endpoint: the collector's address for OTLP over HTTP, without `/v1/traces`.
        role: what the process is to the operator: api or worker.

    Raises:
        StartError: OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield
        return
    global _tracer  # one for the process: spans are asked for everywhere
    provider = _provider(f"{endpoint.rstrip('/')}/v1/traces", role)
    _tracer = provider.get_tracer("product_search")
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()  # sends what is left


def span(name: str, **attributes: str | int) -> AbstractContextManager[Span | None]:
    """Return the block of a span, for work that nobody else's span covers; None where it is off."""
    if _tracer is None:
        return _OFF
    return _tracer.start_as_current_span(name, attributes=attributes)


def request_span(headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[Span | None]:
    """Return the block of a request's span: of the trace that its `traceparent` names, or a new."""
    if _tracer is None:
        return _OFF
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return _tracer.start_as_current_span(
        "request",
        context=TraceContextTextMapPropagator().extract(given),
        kind=SpanKind.SERVER,
        attributes={_REQUEST_ID: current_request_id.get() or ""},
    )


def name_request(request: Span, method: str, route: str, status: int) -> None:
    """Name a request's span by its route, once both are known, and tell how it was answered."""
    request.update_name(f"{method} {route}")
    request.set_attributes(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    )
    if status >= 500:
        from opentelemetry.trace import StatusCode

        request.set_status(StatusCode.ERROR)


def current() -> Context | None:
    """Return where spans of what goes on in other threads belong; None where they are off."""
    if _tracer is None:
        return None
    from opentelemetry import context

    return context.get_current()


def now() -> int:
    """Return the time for an interval's end; 0 where spans are off."""
    return 0 if _tracer is None else time.time_ns()


def record_intervals(parent: Context | None, intervals: Iterable[Interval]) -> None:
    """Record spans of what has ended, also in other threads, under the span of `current`."""
    if _tracer is None or parent is None:
        return
    for one in intervals:
        _tracer.start_span(one.name, context=parent, start_time=one.begun).end(one.ended)


def _provider(address: str, role: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        packages = "opentelemetry-sdk 与 opentelemetry-exporter-otlp-proto-http"
        raise StartError(f"PRODUCT_SEARCH_OTLP_ENDPOINT 需要安装 {packages}") from error
    named = Resource({"service.name": f"product-search-{role}"})
    provider = TracerProvider(resource=named)
    exporter = OTLPSpanExporter(endpoint=address, timeout=_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider

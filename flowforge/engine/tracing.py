"""What a run and its attempts tell OpenTelemetry: one span each, in one trace, whatever processes they ran in.

    caller's span, if any ─▶ run <workflow> ─▶ step <id>, one per attempt ─▶ what the executor's libraries record

A run's trace context is stored with the run and travels in its dispatch messages: that of the caller's span, or one
made of the run's id, which is then the trace's id as well. The id of the run's span needs no place: it is the last
eight bytes of the run's id. So attempts anywhere are its children long before the process that ends the run exports
it. A run that an operator retried ends again, and its span is exported again under the same id. Whether a trace is
sampled is decided when its run starts and is part of the context.

While traces are off nothing of OpenTelemetry is imported and callers look at `Tracer.on` only. Attributes hold names,
numbers and the code and message of errors (from which secrets were taken out), never an input or output.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from flowforge.errors import UsageError
from flowforge.model.outcome import Deferred, Failed, Outcome
from flowforge.steps.base import Assignment
from flowforge.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Span, SpanContext

#: How long closing waits for the last spans to leave: a collector that is away must not keep a worker from stopping.
FLUSH = timedelta(seconds=5)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INACTIVE: AbstractContextManager[None] = nullcontext()
_OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class EndedRun(NamedTuple):
    """A run that has just ended, as its span tells it."""

    run_id: UUID
    workflow: str
    version: int
    status: str
    created_at: datetime
    finished_at: datetime
    traceparent: str | None
    #: The error's document, of which code and message are told.
    error: dict[str, Any] | None = None


class Tracer:
    """What the engine tells while traces are off: nothing. Calls are only worth making when it is `on`."""

    on = False

    def context_of(self, run_id: UUID) -> str | None:  # noqa: ARG002
        """Return the W3C trace context to store with a run that is started here and now."""
        return None

    def begin(self, assignment: Assignment, worker: str) -> Assignment:  # noqa: ARG002
        """Start an attempt's span; return the assignment with that span as its trace context."""
        return assignment

    def active(self, assignment: Assignment) -> AbstractContextManager[object]:  # noqa: ARG002
        """Make an attempt's span the parent of whatever is recorded inside."""
        return _INACTIVE

    def decided(self, assignment: Assignment, outcome: Outcome) -> None:
        """Note what an attempt came to, and when."""

    def dropped(self, assignment: Assignment, reason: str) -> None:
        """Note that an attempt's outcome did not count, because its lease was lost."""

    def end(self, assignment: Assignment) -> None:
        """End an attempt's span, at the time of its outcome."""

    def ended(self, runs: Iterable[EndedRun]) -> None:
        """Export the spans of runs whose end is committed."""

    def close(self) -> None:
        """Export what is left; blocks for a time that is bounded."""


OFF = Tracer()


def make(traces: Literal["off", "otlp", "console"]) -> Tracer:
    """Return the tracer that a setting asks for; UsageError when what it needs is not installed."""
    if traces == "off" or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OFF
    try:
        return SdkTracer(_exporter(traces))
    except ImportError as error:
        hint = "pip install 'flowforge[otel]', or set traces to off"
        raise UsageError(f"traces: {traces} needs a package that is not installed: {error.name}", hint=hint) from None


@dataclass(slots=True)
class _Open:
    """An attempt's span that has not ended."""

    span: Span
    decided_at: int | None = None


@dataclass(slots=True)
class _Ids:
    """The ids that the next run's span gets."""

    trace: int = 0
    span: int = 0


class SdkTracer(Tracer):
    """Spans through a provider of our own: the process's global one belongs to whoever embeds us.

    Used from one event loop. Exporting happens in a thread of the SDK.
    """

    on = True

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._propagator = TraceContextTextMapPropagator()
        self._processor = BatchSpanProcessor(exporter)
        self._ids = _Ids()
        resource = _resource()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        # Runs were sampled, or not, when they started: here every span is wanted, under the ids it was given then.
        runs = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=_run_ids(self._ids), shutdown_on_exit=False
        )
        for one in (provider, runs):
            one.add_span_processor(self._processor)
        self._sampler = provider.sampler
        self._attempts = provider.get_tracer("flowforge", __version__)
        self._runs = runs.get_tracer("flowforge", __version__)
        self._open: dict[tuple[UUID, int, int], _Open] = {}

    def context_of(self, run_id: UUID) -> str:
        """Return the caller's trace context, from its active span or TRACEPARENT, or one made of the run's id."""
        from opentelemetry import trace

        caller = trace.get_current_span().get_span_context()
        if not caller.is_valid:
            caller = self._parsed(os.environ.get("TRACEPARENT"))
        return _text(caller if caller.is_valid else self._derived(run_id))

    def begin(self, assignment: Assignment, worker: str) -> Assignment:
        """Start an attempt's span as a child of its run's, wherever that will come from."""
        run, _ = self._contexts(assignment.run_id, assignment.traceparent)
        from opentelemetry.trace import SpanKind

        span = self._attempts.start_span(
            f"step {assignment.step.id}",
            context=_within(run),
            kind=SpanKind.CONSUMER,
            attributes={
                "flowforge.run.id": str(assignment.run_id),
                "flowforge.workflow.name": assignment.workflow,
                "flowforge.workflow.version": assignment.version,
                "flowforge.step.id": assignment.step.id,
                "flowforge.step.type": assignment.step.type,
                "flowforge.step.attempt": assignment.attempt,
                "flowforge.step.token": assignment.token,
                "flowforge.worker": worker,
            },
        )
        self._open[_key(assignment)] = _Open(span)
        return replace(assignment, traceparent=_text(span.get_span_context()))

    def active(self, assignment: Assignment) -> AbstractContextManager[object]:
        """Make an attempt's span the current one; what comes out as an exception is judged by the engine."""
        from opentelemetry import trace

        found = self._open.get(_key(assignment))
        if found is None:
            return _INACTIVE
        return trace.use_span(found.span, record_exception=False, set_status_on_exception=False)

    def decided(self, assignment: Assignment, outcome: Outcome) -> None:
        """Note the outcome; only a failure makes the span an error."""
        found = self._open.get(_key(assignment))
        if found is None:
            return
        found.decided_at = time.time_ns()
        found.span.set_attribute("flowforge.outcome", type(outcome).__name__.lower())
        if isinstance(outcome, Failed | Deferred):
            _record(found.span, outcome.error.code, outcome.error.message, fails=isinstance(outcome, Failed))

    def dropped(self, assignment: Assignment, reason: str) -> None:
        """Note that somebody else decides about the step."""
        found = self._open.get(_key(assignment))
        if found is not None:
            found.span.add_event("outcome dropped", {"reason": reason})

    def end(self, assignment: Assignment) -> None:
        """End the span; one without an outcome was stopped because its lease was lost."""
        found = self._open.pop(_key(assignment), None)
        if found is None:
            return
        if found.decided_at is None:
            found.span.set_attribute("flowforge.outcome", "lost")
        found.span.end(found.decided_at)

    def ended(self, runs: Iterable[EndedRun]) -> None:
        """Make each run's span in retrospect, under the id its attempts know."""
        for run in runs:
            own, parent = self._contexts(run.run_id, run.traceparent)
            if own.trace_flags.sampled:
                self._export(run, own, parent)

    def _export(self, run: EndedRun, own: SpanContext, parent: SpanContext | None) -> None:
        self._ids.trace, self._ids.span = own.trace_id, own.span_id
        finished = _nanoseconds(run.finished_at)
        span = self._runs.start_span(
            f"run {run.workflow}",
            context=_within(parent),
            attributes={
                "flowforge.run.id": str(run.run_id),
                "flowforge.workflow.name": run.workflow,
                "flowforge.workflow.version": run.version,
                "flowforge.run.status": run.status,
            },
            start_time=_nanoseconds(run.created_at),
        )
        if run.error is not None:
            _record(span, str(run.error.get("code")), str(run.error.get("message")), fails=True, at=finished)
        span.end(finished)

    def close(self) -> None:
        """End what is left to its lease, and export, for a time."""
        while self._open:
            _, left = self._open.popitem()
            left.span.set_attribute("flowforge.outcome", "abandoned")
            left.span.end(left.decided_at)
        # The SDK would wait for half a minute, and longer when asked to flush.
        last = threading.Thread(target=self._processor.shutdown, name="flowforge-traces-close", daemon=True)
        last.start()
        last.join(FLUSH.total_seconds())

    def _contexts(self, run_id: UUID, traceparent: str | None) -> tuple[SpanContext, SpanContext | None]:
        """Return the context of a run's span, and of the caller's span when the run has one above it.

        A run that was started by a process without traces has no context stored: every process makes the same one.
        """
        from opentelemetry.trace import SpanContext

        stored = self._parsed(traceparent)
        if not stored.is_valid:
            stored = self._derived(run_id)
        own = SpanContext(stored.trace_id, _span_id(run_id), is_remote=True, trace_flags=stored.trace_flags)
        return own, None if stored.span_id == own.span_id else stored

    def _derived(self, run_id: UUID) -> SpanContext:
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import SpanContext, TraceFlags

        # Samplers by ratio compare the id's low 64 bits with a bound. In a UUID the upper two of them are fixed.
        spread = (run_id.int << 2) & ((1 << 128) - 1)
        decision = self._sampler.should_sample(Context(), spread, "run").decision
        flags = TraceFlags(TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
        return SpanContext(run_id.int, _span_id(run_id), is_remote=False, trace_flags=flags)

    def _parsed(self, traceparent: str | None) -> SpanContext:
        """Return the context that a text stands for; an invalid one for anything else."""
        from opentelemetry.context import Context
        from opentelemetry.trace import get_current_span

        carrier = {} if traceparent is None else {"traceparent": traceparent}
        return get_current_span(self._propagator.extract(carrier, Context())).get_span_context()


def _exporter(traces: Literal["otlp", "console"]) -> SpanExporter:
    if traces == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    from importlib import import_module

    # By name: the type checker must not mind whether the extra is installed.
    exporter: SpanExporter = import_module(_OTLP).OTLPSpanExporter()
    return exporter


def _resource() -> Resource:
    """Return who we are; what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes first."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource({"service.name": "flowforge", "service.version": __version__})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def _run_ids(ids: _Ids) -> IdGenerator:
    """Return a generator that gives what *ids* holds."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class RunIds(IdGenerator):
        def generate_trace_id(self) -> int:
            return ids.trace

        def generate_span_id(self) -> int:
            return ids.span

    return RunIds()


def _within(parent: SpanContext | None) -> Any:
    """Return an OpenTelemetry context that holds a parent, or nothing: not what happens to be current here."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


def _record(span: Span, code: str, message: str, *, fails: bool, at: int | None = None) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.add_event("exception", {"exception.type": code, "exception.message": message}, timestamp=at)
    span.set_attribute("error.type", code)
    if fails:
        span.set_status(Status(StatusCode.ERROR, f"{code}: {message}"))


def _key(assignment: Assignment) -> tuple[UUID, int, int]:
    return assignment.run_id, assignment.step.no, assignment.token


def _span_id(run_id: UUID) -> int:
    return run_id.int & ((1 << 64) - 1)


def _text(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000

"""Spans: one tree for a run whatever processes it ran in, errors told, payloads not."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from flowforge.engine import tracing
from flowforge.engine.tracing import OFF, EndedRun, SdkTracer
from flowforge.errors import UsageError
from flowforge.model.outcome import Completed, Deferred, Failed, StepError
from flowforge.steps.base import Assignment
from flowforge.steps.secrets import Secrets
from tests.factories import chain

RUN = UUID("0190b6f2-7a00-7c3d-9e5f-8a1b2c3d4e5f")
CREATED = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
FINISHED = CREATED + timedelta(seconds=9)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HIDDEN = "tr0ub4dor"


class Process:
    """A tracer with an exporter of its own, as every process has."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer = SdkTracer(self.exporter)

    def spans(self):
        self.tracer.close()
        return self.exporter.get_finished_spans()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("TRACEPARENT", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


def assignment(no=0, attempt=1, traceparent=None):
    plan = chain(3)
    context = {"input": {"card": HIDDEN}, "steps": {}, "secrets": Secrets({"FLOWFORGE_SECRET_KEY": HIDDEN})}
    return Assignment(RUN, plan.name, 4, plan.steps[no], attempt, attempt, context, CREATED, traceparent)


def execute(process, given, outcome):
    """Make an attempt as a worker does; return what its executor gets."""
    held = process.tracer.begin(given, "w-1")
    with process.tracer.active(held):
        pass
    process.tracer.decided(held, outcome)
    process.tracer.end(held)
    return held


def ended(traceparent=None, status="completed", error=None):
    return EndedRun(RUN, "test-workflow", 4, status, CREATED, FINISHED, traceparent, error)


def failure(**changes):
    error = StepError("HTTP_503", "the service is away", hint=HIDDEN, details={"body": HIDDEN})
    return Failed(replace(error, **changes))


def test_a_run_and_its_attempts_in_two_processes_are_one_tree():
    client, first, second = Process(), Process(), Process()
    traceparent = client.tracer.context_of(RUN)
    execute(first, assignment(0, traceparent=traceparent), Completed({}))
    execute(second, assignment(1, traceparent=traceparent), Completed({}))
    second.tracer.ended([ended(traceparent)])
    assert client.spans() == ()
    (a0,), (a1, run) = first.spans(), second.spans()
    assert [span.name for span in (a0, a1, run)] == ["step a0", "step a1", "run test-workflow"]
    assert {span.context.trace_id for span in (a0, a1, run)} == {RUN.int}
    assert run.parent is None
    assert run.context.span_id == int(RUN.hex[16:], 16)
    assert a0.parent.span_id == a1.parent.span_id == run.context.span_id
    assert a0.context.span_id != a1.context.span_id


def test_a_run_started_under_a_span_continues_its_trace():
    client, worker = Process(), Process()
    with TracerProvider().get_tracer("caller").start_as_current_span("order") as caller:
        traceparent = client.tracer.context_of(RUN)
    execute(worker, assignment(traceparent=traceparent), Completed({}))
    worker.tracer.ended([ended(traceparent)])
    attempt, run = worker.spans()
    assert run.parent.span_id == caller.get_span_context().span_id
    assert attempt.parent.span_id == run.context.span_id
    assert {run.context.trace_id, attempt.context.trace_id} == {caller.get_span_context().trace_id}


def test_a_run_started_by_a_traced_command_continues_its_trace(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", CALLER)
    assert Process().tracer.context_of(RUN) == CALLER


@pytest.mark.parametrize("stored", [None, "", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_run_without_a_usable_context_has_the_same_trace_everywhere(stored):
    worker = Process()
    execute(worker, assignment(traceparent=stored), Completed({}))
    worker.tracer.ended([ended(stored)])
    attempt, run = worker.spans()
    assert run.context.trace_id == attempt.context.trace_id == RUN.int
    assert attempt.parent.span_id == run.context.span_id


def test_a_caller_that_is_not_sampled_is_the_end_of_it():
    worker = Process()
    held = execute(worker, assignment(traceparent=CALLER[:-1] + "0"), Completed({}))
    worker.tracer.ended([ended(CALLER[:-1] + "0")])
    assert worker.spans() == ()
    assert held.traceparent.endswith("-00")


def test_a_ratio_samples_that_part_of_all_runs(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    tracer = Process().tracer
    runs = [UUID(int=(RUN.int & ~((1 << 62) - 1)) | (no << 52)) for no in range(1024)]
    assert sum(tracer.context_of(run).endswith("-01") for run in runs) == 256


def test_what_was_sampled_at_the_start_is_exported_whatever_the_ending_process_would_sample(monkeypatch):
    traceparent = Process().tracer.context_of(RUN)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    worker = Process()
    execute(worker, assignment(traceparent=traceparent), Completed({}))
    worker.tracer.ended([ended(traceparent)])
    assert len(worker.spans()) == 2


def test_every_attempt_has_a_span_and_a_failed_one_its_error():
    worker = Process()
    execute(worker, assignment(attempt=1), failure())
    execute(worker, assignment(attempt=2), Completed({}))
    failed, completed = worker.spans()
    assert [span.attributes["flowforge.step.attempt"] for span in (failed, completed)] == [1, 2]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "HTTP_503: the service is away"
    (event,) = failed.events
    assert event.name == "exception"
    assert event.attributes == {"exception.type": "HTTP_503", "exception.message": "the service is away"}
    assert failed.attributes["error.type"] == "HTTP_503"
    assert (completed.status.status_code, completed.events) == (StatusCode.UNSET, ())
    assert dict(completed.attributes) == {
        "flowforge.run.id": str(RUN),
        "flowforge.workflow.name": "test-workflow",
        "flowforge.workflow.version": 4,
        "flowforge.step.id": "a0",
        "flowforge.step.type": "transform",
        "flowforge.step.attempt": 2,
        "flowforge.step.token": 2,
        "flowforge.worker": "w-1",
        "flowforge.outcome": "completed",
    }


def test_a_run_is_told_from_its_creation_to_its_end_with_its_error():
    worker = Process()
    error = {"code": "RUN_TIMEOUT", "message": "too late", "details": {"body": HIDDEN}}
    worker.tracer.ended([ended(status="failed", error=error)])
    (run,) = worker.spans()
    assert run.end_time - run.start_time == 9_000_000_000
    assert run.start_time % 1_000_000_000 == 678_901_000
    assert run.status.description == "RUN_TIMEOUT: too late"
    assert run.events[0].timestamp == run.end_time
    assert run.attributes["flowforge.run.status"] == "failed"


def test_no_payload_and_no_secret_is_told():
    worker = Process()
    execute(worker, assignment(attempt=1), failure())
    execute(worker, assignment(attempt=2), Completed({"secret": HIDDEN}))
    worker.tracer.ended([ended(status="failed", error=failure().error.document())])
    spans = worker.spans()
    assert len(spans) == 3
    assert HIDDEN not in "".join(span.to_json() for span in spans)


def test_a_step_that_is_put_off_is_not_an_error():
    worker = Process()
    execute(worker, assignment(), Deferred(StepError("STEP_TYPE_NOT_INSTALLED", "waits"), timedelta(seconds=5)))
    (span,) = worker.spans()
    assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in span.events] == ["exception"]


def test_an_attempt_that_lost_its_lease_says_so():
    worker = Process()
    stopped = worker.tracer.begin(assignment(0), "w-1")
    worker.tracer.end(stopped)
    late = worker.tracer.begin(assignment(1), "w-1")
    worker.tracer.decided(late, Completed({}))
    worker.tracer.dropped(late, "stale")
    worker.tracer.end(late)
    worker.tracer.begin(assignment(2), "w-1")
    spans = worker.spans()
    assert [span.attributes["flowforge.outcome"] for span in spans] == ["lost", "completed", "abandoned"]
    assert [event.name for event in spans[1].events] == ["outcome dropped"]


def test_the_attempts_span_is_current_inside_and_handed_to_the_executor():
    worker = Process()
    held = worker.tracer.begin(assignment(traceparent=CALLER), "w-1")
    with worker.tracer.active(held):
        current = trace.get_current_span().get_span_context()
        nested = TracerProvider().get_tracer("library").start_span("request")
    assert not trace.get_current_span().get_span_context().is_valid
    assert held.traceparent == f"00-{CALLER[3:35]}-{current.span_id:016x}-01"
    assert isinstance(nested, ReadableSpan)
    assert nested.parent == current


def test_the_global_provider_is_left_alone():
    before = trace.get_tracer_provider()
    Process().spans()
    assert trace.get_tracer_provider() is before


@pytest.mark.parametrize(("variable", "name"), [(None, "flowforge"), ("billing", "billing")])
def test_the_service_is_flowforge_unless_the_environment_names_it(monkeypatch, variable, name):
    if variable is not None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", variable)
    worker = Process()
    execute(worker, assignment(), Completed({}))
    assert worker.spans()[0].resource.attributes["service.name"] == name


def test_console_spans_go_to_stderr(capsys):
    tracer = tracing.make("console")
    tracer.ended([ended()])
    tracer.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert '"name": "run test-workflow"' in err


def test_a_collector_that_is_away_does_not_keep_a_process_from_closing(monkeypatch):
    monkeypatch.setattr(tracing, "FLUSH", timedelta(milliseconds=20))
    back = threading.Event()

    class Away(InMemorySpanExporter):
        def export(self, spans):
            back.wait(60)
            return super().export(spans)

    exporter = Away()
    tracer = SdkTracer(exporter)
    tracer.ended([ended()])
    tracer.close()
    assert exporter.get_finished_spans() == ()
    back.set()


def test_otlp_without_the_exporter_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    with pytest.raises(UsageError, match="traces: otlp needs a package that is not installed") as caught:
        tracing.make("otlp")
    assert "flowforge[otel]" in str(caught.value.hint)
    assert "\n" not in caught.value.message


def test_the_sdk_can_be_disabled_by_its_own_variable(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.make("otlp") is OFF

"""Rehearsals: a run that happens again with what it recorded comes to the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flowforge.client.rehearsing import rehearse
from flowforge.engine.plans import PlannedVersion
from flowforge.model.documents import Rehearsal, Run, Step
from flowforge.model.outcome import StepError
from flowforge.model.plan import Plan
from flowforge.model.status import RunStatus, StepStatus
from tests.factories import foreach, plan, step

RUN = UUID(int=7)
AT = datetime(2026, 1, 1, tzinfo=UTC)
TWICE = {"max_attempts": 2, "initial_delay": "1s"}


def http(step_id: str, *after: str, **settings: Any) -> dict[str, Any]:
    """Return a step with an effect."""
    return step(step_id, *after, type="http", config={"url": "https://shop.example/"}, **settings)


def done(step_id: str, output: Any, kind: str = "transform") -> Step:
    """Return a step that did its work."""
    return Step(step_id, step_id, kind, StepStatus.COMPLETED, 1, output=output)


def failed(step_id: str, attempts: int) -> Step:
    """Return a step that failed for good."""
    error = StepError("HTTP_503", "away", ("http_5xx",)).document(step_id, attempts)
    return Step(step_id, step_id, "http", StepStatus.FAILED, attempts, error=error)


def again(version: Plan, *steps: Step, output: Any, status: RunStatus = RunStatus.COMPLETED) -> Rehearsal:
    """Rehearse a run that came to this."""
    run = Run(RUN, "test", 1, status, {}, output, None, "api", AT, steps=steps)
    return rehearse(run, PlannedVersion(1, 1, 1, version), {})


def test_a_failure_has_the_error_that_it_had():
    """With the attempt that was the last, for whoever reads it."""
    reads = step("b", "a", config={"expression": "steps.a.error.attempt"})
    version = plan(http("a", on_error="continue", retry=TWICE), reads)
    assert again(version, failed("a", 2), done("b", {"result": 2}), output={"b": {"result": 2}}).same


def test_items_that_failed_fail_again():
    """Their errors are part of what the foreach gives."""
    version = plan(foreach("lines", children=[http("one", on_error="continue", retry=TWICE)]))
    error = failed("lines[1]", 2).error
    output = {"results": [7, None, 7], "errors": {"1": error}, "count": 3}
    items = [done("lines[0]", 7, "http"), failed("lines[1]", 2), done("lines[2]", 7, "http")]
    found = again(version, done("lines", output, "foreach"), *items, output={"lines": output})
    assert [one.id for one in found.steps if not one.same] == []


def test_a_failure_that_may_be_tried_more_often_now_is_not_guessed_to_succeed():
    """Nobody knows what another attempt would have come to."""
    more = {"max_attempts": 5, "initial_delay": "1s"}
    found = again(plan(http("a", retry=more)), failed("a", 2), output=None, status=RunStatus.FAILED)
    assert (found.status_after, found.steps[0].after) == ("failed", "failed")


def test_the_run_is_itself_to_its_expressions():
    """Its id and its time are those that it had."""
    version = plan(step("a", config={"expression": "[run.id, run.created_at]"}))
    result = {"result": [str(RUN), AT.isoformat()]}
    assert again(version, done("a", result), output={"a": result}).same
